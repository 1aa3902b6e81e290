/* What workers and those who ask them (the gate, a run) say to each other. `sepbench worker` reads requests
 * from stdin and writes replies to stdout, one JSON object a line; it ends at the end of its input. What a
 * later version adds are new members and new requests, so a newer gate can run an older worker; only a change
 * that breaks this raises WORKER_PROTOCOL.
 *
 *   the worker's first line
 *       {"sepbench_worker": WORKER_PROTOCOL, "schema", "build", "commit", "dirty", "kernels", "compiler",
 *        "inject", "cpu", "host", "threads", "isa"}
 *   every other reply
 *       {"status": "ok" | "refused" | "skipped" | "wrong" | "failed", "reason": words, ...}
 *
 *   {"do": "verify", CASE}
 *       against the oracle; "ok" comes with "call_ns" of one call, "wrong" with "repro"
 *   {"do": "check", CASE, "kind": "integers" | "reals", "seed", "flops", "accumulate": bool}
 *       once, with so much work of the oracle (harness/measure/verify.h) -> "values", "max_abs_error"
 *
 * A row that is measured for a run, by harness/measure's own steps (served.c):
 *   {"do": "open", "id": N, CASE, "cache": "warm" | "cold", "verify": bool, "seed", "min_time", "call_seconds"}
 *       plan and verification -> "version" of the library, "plan_ns", "scratch_bytes", "max_abs_error",
 *       "error_bound", "call_seconds"; once also "overhead_ns", what a call costs that computes nothing
 *   {"do": "ready", "id": N}
 *       tensors, packed weights -> "note": words of the plan, "pack_ns", "call_seconds"
 *   {"do": "repeat", "id": N, "iterations": I}
 *       one repetition -> "ns" of one call, "handover_ns", "marks" (MARK_ of record.h)
 *   {"do": "close", "id": N}
 *
 * The gate's:
 *   {"do": "prepare", "id": N, CASE}
 *       -> "plan": words, "call_ns": of one call; id is any small number
 *   {"do": "sample", "id": N, "batches": B, "iterations": I, "warm_ns": W}
 *       -> "ns": of one call, the lower quartile of B loops of I calls, after untimed calls that take W;
 *       "waited": share of the time that threads lacked a core
 *   {"do": "drop", "id": N}
 *   {"do": "quit"}
 *
 *   CASE: "problem": "separable:mb1ic64ih28...", "pass", "impl", "threads", "layout", "bias": bool,
 *       "relu": bool, or instead "relu6": true, which for an older worker is no whole case
 *
 * The gate's plans follow the cost model's pick of strategies (kernels/conv.h), never what was found to be
 * fastest.
 *
 * A request that makes no sense to the worker gets "failed". */
#ifndef SEPBENCH_PROTOCOL_H
#define SEPBENCH_PROTOCOL_H

#include <jansson.h>

#include "../record/record.h"

enum { WORKER_PROTOCOL = 1, WORKER_PROTOCOL_OLDEST = 1, WORKER_CASES_MAX = 4096 };

/* A request that names a case, to be completed; and back. Another status than CONV_OK with words, when a
 * request names none or one that cannot be run. */
json_t *protocol_case(const record_row *row);
conv_status protocol_read_case(const json_t *request, record_row *row, conv_error *err);

/* The status of a reply; failed where it has none. */
case_status protocol_status(const json_t *reply);

#endif
