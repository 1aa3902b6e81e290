/* What the tests of implementations share: a context, every present implementation checked against one
 * reference, and what came of it per implementation. */
#ifndef SEPBENCH_TESTS_SUPPORT_H
#define SEPBENCH_TESTS_SUPPORT_H

#include "../harness/measure/verify.h"
#include "../kernels/problem.h"
#include "unit.h"

/* True in a build with a sanitizer: ten times slower, so tests do less. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* Small caches, so that blocked loops block at test sizes. */
conv_context test_context(int threads);
/* The same with caches so small that every tensor comes from memory. */
conv_context test_far_context(int threads);
/* One whose caches hold nearly everything, as those of many threads together do. */
conv_context test_wide_context(int threads);

/* Parses, fails the test when it cannot. */
conv_problem test_problem(const char *text, conv_layout layout, bool bias, conv_post_op post_op);

/* "separable:mb1ic3ih9oc8kh3 nchw +bias +relu6 backward", for messages. Returns text. */
char *test_describe(const conv_problem *p, conv_pass pass, char *text, size_t size);

enum { OUTCOME_REASONS = 8 };

/* Of one entry of the registry. */
typedef struct {
    const conv_entry *entry;
    int64_t ran, failed, refused, checked; /* checked: output elements */
    struct {
        const char *text;
        int64_t count;
    } reasons[OUTCOME_REASONS]; /* of refusals */
    bool must_run;
} outcome;

/* One per entry; *count of them. Freed by the caller. */
outcome *outcomes_create(size_t *count);

/* Checks every present implementation of the problem's variant; prints each failure (the first few per
 * implementation) with a line to reproduce it. */
void outcomes_check(outcome *outcomes, size_t count, const conv_problem *p, conv_pass pass,
                    const verify_options *options, const conv_context *ctx);

/* One entry's implementation of those checked so, against a reference of the same problem, pass and options. */
void outcome_check(outcome *o, verify_reference *reference, const conv_problem *p, conv_pass pass,
                   const verify_options *options, const conv_context *ctx);

/* Runs a cmocka group with one test per entry, which fails when a check failed or, with must_run, when a
 * present implementation refused everything; then lists the refusals by reason. Frees outcomes. Returns what
 * main returns. */
int outcomes_report(const char *group, outcome *outcomes, size_t count, bool must_run);

#endif
