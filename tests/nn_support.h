/* What the tests of kernels/nn share: numbers, and a check of every instruction set's copy. */
#ifndef SEPBENCH_TESTS_NN_SUPPORT_H
#define SEPBENCH_TESTS_NN_SUPPORT_H

#include <math.h>
#include <stdlib.h>

#include "../kernels/nn/nn.h"
#include "train_support.h"

/* cmocka's assert_float_equal passes what is not a number. */
static inline void close_to(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.9g, expected %.9g", got, want);
}

static inline float *filled(int64_t count, uint32_t stream, double scale)
{
    float *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = (float)(scale * noise(stream, (uint32_t)i));
    return x;
}

static inline void each_copy(void (*check)(const nn_kernels *nn))
{
    int ran = 0;
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
        const nn_kernels *nn = nn_kernels_at((cpu_isa)isa);
        if (nn == NULL) continue;
        assert_int_equal(nn->isa, isa);
        check(nn);
        ran++;
    }
    assert_true(ran > 0);
    assert_int_equal(nn_kernels_get()->isa, cpu_allowed());
}

/* A test of every copy by check_NAME. */
#define TEST(name)                                                                                             \
    static void name(void **state) { each_copy(check_##name); }

#endif
