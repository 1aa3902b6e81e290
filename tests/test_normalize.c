/* kernels/nn/normalize.c and combine.c: every instruction set's copy against plain loops in double. */
#include "train_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/nn/nn.h"

enum { IMAGES = 3, MOST = 4096, CHANNELS = 40 };

static void close_to(const char *what, double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

static void fill(float *x, int64_t count, uint32_t stream, double scale, double middle)
{
    for (int64_t i = 0; i < count; i++) x[i] = (float)(middle + scale * noise(stream, (uint32_t)i));
}

typedef struct {
    float x[MOST], dy[MOST], mean[CHANNELS], scale[CHANNELS], offset[CHANNELS], each[CHANNELS], slope[CHANNELS];
} data;

/* The largest gap that float's rounding may leave, of numbers up to a few tens. */
static const double TOLERANCE = 2e-5;

static void check_shape(const nn_kernels *nn, const nn_norm *p, const data *d)
{
    float y[MOST], dx[MOST];
    double sums[2 * CHANNELS] = {0}, back[2 * CHANNELS] = {0}, want[2 * CHANNELS] = {0},
                    want_back[2 * CHANNELS] = {0};
    const nn_norm_map m = {d->mean, d->scale, d->offset};
    const int64_t count = IMAGES * p->outer * p->channels * p->inner;
    for (int pass = 0; pass < 2; pass++) { /* sums are added to */
        nn->norm_moments(p, IMAGES, d->x, d->mean, sums);
        nn->norm_sums(p, IMAGES, d->x, d->dy, &m, back);
    }
    nn->norm_apply(p, IMAGES, d->x, &m, y);
    nn->norm_backward(p, IMAGES, &(nn_norm_diff){d->x, d->dy, d->each, d->slope, dx}, &m);
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i / p->inner % p->channels;
        double a = (double)d->x[i] - (double)d->mean[c], z = a * (double)d->scale[c] + (double)d->offset[c];
        double most = p->post_op == CONV_POST_RELU6 ? 6 : INFINITY;
        bool linear = p->post_op == CONV_POST_NONE, passes = linear || (z > 0 && z < most);
        double dz = passes ? (double)d->dy[i] : 0;
        want[c] += 2 * a;
        want[p->channels + c] += 2 * a * a;
        want_back[c] += 2 * dz;
        want_back[p->channels + c] += 2 * dz * a;
        close_to("y", (double)y[i], linear ? z : fmin(fmax(z, 0), most), TOLERANCE);
        close_to("dx", (double)dx[i], (double)d->scale[c] * (dz - (double)d->each[c] - a * (double)d->slope[c]),
                 TOLERANCE);
    }
    for (int64_t i = 0; i < 2 * p->channels; i++) {
        close_to("moments", sums[i], want[i], 1e-9 * (1 + fabs(want[i])));
        close_to("sums", back[i], want_back[i], 1e-4);
    }
}

static void check_copy(const nn_kernels *nn, const data *d)
{
    static const nn_norm shapes[] = {{7, 1, 1, 0}, {9, 3, 1, 0},  {5, 16, 1, 0}, {6, 17, 1, 0}, {2, 40, 1, 0},
                                     {1, 3, 1, 0}, {1, 5, 20, 0}, {2, 3, 33, 0}, {3, 1, 16, 0}, {1, 40, 2, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int op = 0; op < CONV_POST_COUNT; op++) {
            nn_norm p = shapes[i];
            p.post_op = (conv_post_op)op;
            assert_true(IMAGES * p.outer * p.channels * p.inner <= MOST && p.channels <= CHANNELS);
            check_shape(nn, &p, d);
        }
}

static void check_combinations(const nn_kernels *nn, const data *d)
{
    for (int64_t count = 1; count < 70; count++)
        for (int f = NN_COPY; f <= NN_MINIMUM; f++) {
            float y[71];
            memcpy(y, d->dy, sizeof y);
            nn->combine((nn_combination)f, count, d->x, y);
            for (int64_t i = 0; i < count; i++) {
                const float a = d->dy[i], b = d->x[i];
                const float want[] = {b, a + b, a - b, a * b, fmaxf(a, b), fminf(a, b)};
                close_to("combine", (double)y[i], (double)want[f], 0);
            }
            assert_memory_equal(y + count, d->dy + count, (size_t)(71 - count) * sizeof *y);
        }
}

static void every_copy(void **state)
{
    data *d = malloc(sizeof *d);
    int ran = 0;
    fill(d->x, MOST, 1, 8, 3);
    fill(d->dy, MOST, 2, 2, 0);
    fill(d->mean, CHANNELS, 3, 1, 3);
    fill(d->scale, CHANNELS, 4, 1, 1.5);
    fill(d->offset, CHANNELS, 5, 2, 0);
    fill(d->each, CHANNELS, 6, 1, 0);
    fill(d->slope, CHANNELS, 7, 0.2, 0);
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
        const nn_kernels *nn = nn_kernels_at((cpu_isa)isa);
        if (nn == NULL) continue;
        check_copy(nn, d);
        check_combinations(nn, d);
        ran++;
    }
    assert_true(ran > 0);
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_copy)};
    return cmocka_run_group_tests_name("normalize", tests, NULL, NULL);
}
