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

#endif
