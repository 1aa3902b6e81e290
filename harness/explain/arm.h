/* One arm of an experiment: an implementation ready to run in one setting, timed a sample at a time, so that
 * the samples of two arms can alternate. */
#ifndef SEPBENCH_EXPLAIN_ARM_H
#define SEPBENCH_EXPLAIN_ARM_H

#include "../measure/measure.h"

typedef struct {
    const conv_impl *impl;
    conv_problem problem;
    conv_pass pass;
    int threads;
    cache_mode cache;
    bool small_pages;    /* buffers of ordinary pages, where they would be huge ones */
    bool pack_each_call; /* weights are laid out anew before each execute */
} arm_setting;

typedef struct arm arm;

/* Tensors, plan and buffers. NULL with err. */
arm *arm_create(const arm_setting *setting, conv_error *err);
void arm_destroy(arm *a); /* NULL is fine */
const conv_plan *arm_plan(const arm *a);
/* One call, on the arm's threads. False when it failed. */
bool arm_call(arm *a);
/* Nanoseconds per call over about that many seconds, one call at least; negative when a call failed. */
double arm_sample(arm *a, double seconds, measure_runner *run, void *runner, int repetition);

#endif
