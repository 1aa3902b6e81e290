/* Kernels checked by themselves, as dav1d's checkasm does: each is called through its header, with random input
 * at sizes below, at and above its tiles, apart from every threshold of the drivers above it, and compared with
 * a few lines of loops in double. What lies beside its outputs must stay as it was, and what lies beside its
 * inputs is NaN. The same calls are timed with --bench.
 *
 * A check makes its inputs and outputs, says what it expects with plain loops, then calls check_call. */
#ifndef SEPBENCH_TESTS_CHECK_H
#define SEPBENCH_TESTS_CHECK_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "../kernels/cpu.h"
#include "../kernels/util.h"

#define COUNT(a) (int64_t)(sizeof(a) / sizeof *(a))

/* A kernel of one instruction set. */
typedef struct {
    const char *name; /* "gemm_rows" */
    cpu_isa isa;
    int lanes;             /* floats of a vector */
    const void *functions; /* of its copy, a type of the family's own */
} check_kernel;

/* Kernels with one table of functions per instruction set. Each family has a file of its own. */
typedef struct {
    const char *name;
    void (*check)(const check_kernel *k);
} check_entry;
typedef struct {
    const check_entry *entries;
    int64_t count;
    struct {
        const void *functions;
        void (*one)(void); /* one of them: NULL in a build without this copy */
    } copies[CPU_ISA_COUNT];
} check_family;
extern const check_family check_gemm, check_fip, check_im2col, check_depthwise, check_winograd;

/* Declares the copies of a function that a header declares; absent ones are NULL. */
#define CHECK_COPIES(function)                                                                                 \
    extern __typeof__(function) function##_avx2 __attribute__((weak));                                         \
    extern __typeof__(function) function##_avx512 __attribute__((weak))

/* What the command line asks for. */
typedef struct {
    uint64_t seed; /* of the random numbers */
    bool bench;
    const char *filter; /* kernels whose name holds it; NULL: all */
} check_options;
extern check_options check_the_options;

/* ---- data; all of it is freed by check_call */

/* `count` random numbers in [-1, 1), on a cache line, NaN before and after. */
float *check_reals(int64_t count);
/* The same of whole numbers from -7 to 7, of whose products sums are exact. */
float *check_integers(int64_t count);

/* What a kernel writes, and what is expected of it. */
typedef struct {
    float *got;
    double *want, *slack; /* the difference allowed */
    int64_t count;
} check_output;
/* `count` floats on a cache line that nobody may touch, until check_expect says otherwise. */
check_output check_untouched(int64_t count);

/* A sum as it should be, and what bounds the error of one in fp32. */
typedef struct {
    double sum, size; /* size: the sum of magnitudes */
    int64_t terms;
} check_sum;
static inline void check_add(check_sum *s, double term)
{
    s->sum += term;
    s->size += fabs(term);
    s->terms++;
}

/* The sum that element `at` starts from: a number if the kernel adds to it, else nothing; then the element is
 * NaN, which it must not read. */
check_sum check_start(check_output *o, int64_t at, bool accumulate);
/* Element `at` must become the sum, clipped to [0, clip] unless clip is 0, within `factor` times the error of
 * summing in any order. */
void check_expect(check_output *o, int64_t at, const check_sum *s, float clip, double factor);
/* A clip that some sums of reals reach, every fifth time, ReLU's, another fifth, or none. */
static inline float check_clip(int variant)
{
    return variant % 5 == 0 ? 0.5F : variant % 5 == 3 ? INFINITY : 0;
}

/* ---- the call */

typedef struct {
    const check_kernel *kernel;
    void (*call)(const void *args);
    const void *args;
    check_output *output;
    double flops; /* of a call */
    bool timed;   /* a size worth a line with --bench */
} check_case;
/* With --bench prints what a call takes; for parts of what check_call has verified. */
void check_time(const check_case *c, const char *shape);
/* Calls the kernel, compares, and fails the test with the shape in words; times it where that is wanted. */
void check_call(const check_case *c, const char *shape, ...) __attribute__((format(printf, 2, 3)));

#endif
