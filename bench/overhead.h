/* What the harness adds to a call: the same kernel in a bare loop and through Google Benchmark, in pairs. */
#ifndef SEPBENCH_OVERHEAD_H
#define SEPBENCH_OVERHEAD_H

/* Prints one line per kernel; returns the program's exit code. Takes about ten seconds. */
int overhead_run(int threads);

#endif
