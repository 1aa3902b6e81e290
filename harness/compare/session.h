/* A session of the gate: session.c says what is done when, pairs.c how a pair is taken. */
#ifndef SEPBENCH_GATE_INTERNAL_H
#define SEPBENCH_GATE_INTERNAL_H

#include "../progress.h"
#include "../worker/process.h"
#include "gate.h"

/* Two workers of the base program: what they differ by is noise, and head meets both in turn. */
typedef enum { GATE_BASE, GATE_BASE_TOO, GATE_HEAD, GATE_WORKERS } gate_role;

enum { GATE_TIMES_MAX = 8 * COMPARE_PAIRS_MAX };

/* All samples of one case, for the medians. */
typedef struct {
    double base[GATE_TIMES_MAX], head[GATE_TIMES_MAX];
    size_t base_count, head_count;
    double call_seconds; /* verification's single call: a cautious guess */
} gate_times;

typedef struct {
    const gate_options *options;
    compare_result *r;
    gate_times *times; /* one per case */
    worker_process workers[GATE_WORKERS];
    progress progress;
    uint64_t random;
    double started, seconds_left;
    double stolen;    /* by the hypervisor since it started, when the session began */
    size_t turns;     /* pairs taken, of any kind */
    size_t steps;     /* rounds done, of progress.total */
    conv_error error; /* of the session */
    int code;         /* EXIT_FINE as long as it goes on */
} gate_session;

bool gate_live(const compare_case *c);
/* Ends the session: false, with the exit code and why. */
bool gate_fail(gate_session *s, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* One request about a case to one worker. The session ends when the worker died. */
json_t *gate_ask(gate_session *s, gate_role role, const char *what, size_t index, json_t *request);

/* A case is made ready in all workers, and forgotten. A case that one side cannot do ends with its reason. */
bool gate_prepare(gate_session *s, size_t index);
bool gate_drop(gate_session *s, size_t index);

/* One turn of a case: d of head against one of the bases into list[*count], now and then one of base against
 * base, now and then the control. */
bool gate_turn(gate_session *s, size_t index, double *list, size_t *count);

#endif
