/* Is anybody else on our cores? */
#ifndef SEPBENCH_QUIET_H
#define SEPBENCH_QUIET_H

#include <stdbool.h>

/* Waits, 50 ms at most, until every other thread of this process sleeps: a pool's workers spin for some
 * milliseconds after their last work. By state, not by CPU time: the kernel adds up the time of a running
 * thread only at its ticks. False when one still runs. */
bool quiet_settle(void);

/* Seconds that all threads so far were ready to run but had no core; 0 where the kernel does not tell. */
double quiet_waited(void);

/* What tells of others, read before a repetition and compared after it. */
typedef struct {
    double waited;    /* quiet_waited */
    double stolen;    /* seconds the hypervisor kept from all cores: /proc/stat, proc(5) */
    long switches;    /* times that a thread was taken off its core: getrusage(2) */
    double loop_cost; /* seconds of a loop of known length, of the thread that took longest */
    double handover; /* nanoseconds of a barrier of all threads, the last time that several ran; NaN: not yet */
    double began;    /* machine_now() */
} quiet_reading;

/* Runs the loop on `threads` threads of OpenMP's pool, 1: on the caller's alone, as an engine's own pool must
 * find its cores idle. */
quiet_reading quiet_before(int threads);
/* The marks (MARK_ of record.h) of a repetition that ran on so many threads since that reading. loose: threads
 * that are not bound (conv_impl's loose_threads), whose waiting and switching tell nothing of other programs.
 * The loop runs again. Counts towards measure_session_so_far. */
unsigned quiet_after(const quiet_reading *before, int threads, int loop_threads, bool loose);

/* Counts a repetition with these marks, one that a worker took, towards measure_session_so_far. */
void quiet_count(unsigned marks);

#endif
