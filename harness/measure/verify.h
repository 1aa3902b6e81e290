/* Is what an implementation computes right? Every output, or a random sample where the whole would take too
 * long, against a double-precision oracle. Every case passes through here once before it is timed. */
#ifndef SEPBENCH_VERIFY_H
#define SEPBENCH_VERIFY_H

#include "job.h"

typedef struct {
    bool ok;
    double max_abs_error;   /* over the outputs checked */
    double error_bound;     /* the bound at the element that came closest to (or passed) its bound */
    int64_t checked;        /* output elements compared */
    double execute_seconds; /* the one call verified, by CLOCK_MONOTONIC: a first guess for calibration */
    char where[256];        /* first failure: tensor, index, got, expected; or "guard overwritten: diff_src" */
} verify_result;

typedef struct {
    fill_kind kind; /* FILL_INTEGERS: exact implementations must match bit for bit */
    uint64_t seed;
    double budget_flops; /* oracle work allowed, about; beyond it outputs are sampled. 0: check every element */
    bool accumulate;     /* check adding into the gradients instead of overwriting */
} verify_options;

/* The bound of an exact implementation on reals, per element, follows from rounding each of K terms once and
 * each partial sum once, errors of random sign: |err| <= VERIFY_FACTOR * u * sqrt(K) * sum|x*w|, u = 2^-24;
 * bias and what is accumulated into are terms; a separable has both stages' roots added and the sum taken
 * through the intermediate's own sum of magnitudes. K = 1 needs 2: a product and an addition. Whole numbers
 * must match exactly while sum|x*w| < 2^24. An inexact implementation has its error_factor instead of
 * VERIFY_FACTOR, and, as its error spreads over a tile (to outputs that have no terms of their own, even), the
 * largest sqrt(K) and sum|x*w| of the checked outputs of that tensor instead of the element's. */
#define VERIFY_FACTOR 2.0

/* The tensors of one problem and pass with what the oracle says of their outputs: made once, checked against by
 * any number of implementations. */
typedef struct verify_reference verify_reference;

/* CONV_NO_MEMORY when memory is short, CONV_FAILED after an interruption, which is looked for between rows. */
conv_status verify_prepare(const conv_problem *p, conv_pass pass, const verify_options *options,
                           verify_reference **reference, conv_error *err);
/* Plans, packs, poisons, runs once (for a backward pass that needs a workspace: its forward first) and
 * compares: the chosen outputs by value, all outputs for being finite, every buffer's guards, inputs for being
 * untouched. CONV_OK with *result filled (result->ok may be false), else why it could not be run. Not for two
 * threads at once with one reference. */
conv_status verify_against(verify_reference *reference, const conv_impl *impl, const conv_context *ctx,
                           verify_result *result, conv_error *err);
/* The same of a job that was made ready with these args: for callers that go on to time it. */
conv_args verify_args(const verify_reference *reference);
conv_status verify_job(verify_reference *reference, conv_job *job, verify_result *result, conv_error *err);
void verify_release(verify_reference *reference); /* NULL is fine */

/* The three in one, for a single implementation; result->where says why it could not be run. */
conv_status verify_case(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        const verify_options *options, verify_result *result);

#endif
