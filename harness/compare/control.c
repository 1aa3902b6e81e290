/* FROZEN: neither this source nor its flags (-O1, in the Makefile) change, so that a change of its time is the
 * machine's. A chain of dependent multiplications and additions touches no memory and fills one core's latency,
 * which only the clock frequency and somebody else on the core can change. */
#include "control.h"

#include <time.h>

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

double control_ns(void)
{
    static volatile double factor = 0.999999, addend = 1e-6;
    volatile double result;
    const double a = factor, b = addend;
    double x = 1, start = now_ns();
    for (int i = 0; i < 400000; i++) x = x * a + b;
    result = x;
    (void)result;
    return now_ns() - start;
}
