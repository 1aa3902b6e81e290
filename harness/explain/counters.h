/* Hardware counters of one thread (perf_event_open), where the system allows them; nothing depends on them. */
#ifndef SEPBENCH_EXPLAIN_COUNTERS_H
#define SEPBENCH_EXPLAIN_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    COUNT_CYCLES,
    COUNT_INSTRUCTIONS,
    COUNT_L1_MISSES,
    COUNT_CACHE_MISSES, /* of the last level */
    COUNT_STALLS,       /* cycles in which the back end could take nothing */
    COUNTERS
} counter_kind;
const char *counter_name(counter_kind kind);

typedef struct {
    int file[COUNTERS];     /* negative: this one is not to be had */
    double value[COUNTERS]; /* after counters_stop; NaN where there is none */
    char why[96];           /* why there are none; "" when there are some */
} counters;

/* Starts counting in the calling thread. False when there is no counter at all: why says why. */
bool counters_start(counters *c);
void counters_stop(counters *c);

#endif
