/* A scalar loop that nobody may touch: what the gate holds against the machine, not against the code. */
#ifndef SEPBENCH_CONTROL_H
#define SEPBENCH_CONTROL_H

/* Nanoseconds that a fixed chain of dependent multiply-adds takes, about a millisecond in all. */
double control_ns(void);

#endif
