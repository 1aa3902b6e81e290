/* Is what an implementation computes right? Every output, or a random sample where the whole would take too
 * long, against a double-precision oracle. Every case passes through here once before it is timed. */
#ifndef SEPBENCH_VERIFY_H
#define SEPBENCH_VERIFY_H

#include "tensors.h"

typedef struct {
    bool ok;
    double max_abs_error;   /* over the outputs checked */
    double error_bound;     /* the bound at the element that came closest to (or passed) its bound */
    int64_t checked;        /* output elements compared */
    double execute_seconds; /* the one call verified, by CLOCK_MONOTONIC: a first guess for calibration */
    char where[160];        /* first failure: tensor, index, got, expected; or "guard overwritten: diff_src" */
} verify_result;

typedef struct {
    fill_kind kind; /* FILL_INTEGERS: exact implementations must match bit for bit */
    uint64_t seed;
    double budget_flops; /* oracle work allowed; beyond it outputs are sampled. 0: check every element */
    bool accumulate;     /* check adding into the gradients instead of overwriting */
} verify_options;

/* Plans, packs, poisons, runs once (for a backward pass that needs a workspace: its forward first) and
 * compares. CONV_OK with *result filled (result->ok may be false), else why it could not be run. */
conv_status verify_case(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        const verify_options *options, verify_result *result, conv_error *err);

#endif
