/* Implementations that run in a process of their own (conv_impl.own_process): engines with a pool or symbols
 * that must not be in this one, and second versions that `--engine` names. Each engine has one worker at a time
 * (`sepbench worker`), for one number of threads, since an engine's pool keeps the size it had first. It is
 * started when it is first asked, stopped by SIGSTOP whenever it is not asked (some pools spin for 40 ms after
 * their last work), and ended with the program. Tensors are the worker's own, made from the same seed: only
 * requests and figures travel, and what is timed lies on large pages, which memory shared between processes
 * does not. */
#ifndef SEPBENCH_ENGINES_H
#define SEPBENCH_ENGINES_H

#include <jansson.h>

#include "../../kernels/conv.h"

/* "NAME=KIND:PATH": a second copy of an engine, whose library lies at PATH (kernels/peers/engine.h);
 * "NAME=KIND": of an implementation or of a library that is linked. In a worker PATH is also the one library
 * that is opened. CONV_INVALID with err, in words. The same words again change nothing. */
conv_status engines_add(const char *words, conv_error *err);
/* Whether these words have been added. */
bool engines_named(const char *words);

/* This program is a worker: whatever it is asked to run, it runs itself. */
void engines_serve(void);
/* Whether a worker runs impl and this process must not. */
bool engines_elsewhere(const conv_impl *impl);

/* What impl's worker for so many threads replies (the caller's); request is released. What it says of "version"
 * and "overhead_ns" is remembered. NULL with err: it could not be started, died, or has not answered within so
 * many seconds. The next call starts another. */
json_t *engines_ask(const conv_impl *impl, int threads, json_t *request, double seconds, conv_error *err);
/* Changes whenever impl's worker is started: what an earlier one had prepared is gone. */
int engines_generation(const conv_impl *impl);

/* Adds to versions, by implementation, what the workers so far said of their libraries. */
void engines_versions(json_t *versions);
/* For run.json (the caller's): {name: {"kind", "path", "overhead_ns": {threads: ns}}}; kind and path are those
 * of a second copy, overhead_ns is there where the engine tells what a call costs that computes nothing. */
json_t *engines_json(void);

/* Another program than the running one, which must be sepbench: for tests. */
void engines_program(const char *path);
/* Ends all workers. */
void engines_stop(void);

#endif
