/* A convolution and the pooling behind it as one operation: every instruction set's copy against plain
 * double-precision loops, and the article's networks with and without it. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train_support.h"

static float *filled(int64_t count, uint32_t stream)
{
    float *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = (float)noise(stream, (uint32_t)i);
    return x;
}

/* Winners of every place, and every fourth output without a gradient. */
static uint8_t *winners(int64_t count)
{
    uint8_t *argmax = malloc((size_t)count);
    for (int64_t i = 0; i < count; i++) {
        uint32_t draw = (uint32_t)((noise(5, (uint32_t)i) + 0.5) * 1e6);
        argmax[i] = draw % 4 == 0 ? NN_POOL_NONE : (uint8_t)(draw / 4 % 4);
    }
    return argmax;
}

typedef struct {
    int64_t images, in, out, taps; /* floats of an image, of its pooled output, of one channel's weights */
    float *x, *dy, *weights;       /* weights [taps][channels] */
    uint8_t *argmax;
    double *dx, *dw, *db;
} expected;

static void expect(const nn_pooled *p, float scale, expected *e)
{
    for (int64_t i = 0; i < e->images * e->out; i++) {
        if (e->argmax[i] == NN_POOL_NONE) continue;
        int64_t n = i / e->out, c = i % p->channels, w = i % e->out / p->channels;
        int64_t h0 = w / p->out_w * 2 + e->argmax[i] / 2, w0 = w % p->out_w * 2 + e->argmax[i] % 2;
        double d = (double)e->dy[i] * (double)scale;
        e->db[c] += d;
        for (int64_t t = 0; t < e->taps; t++) {
            int64_t kh = t / p->in_channels / p->kernel_w, kw = t / p->in_channels % p->kernel_w;
            int64_t at = ((n * p->in_h + h0 + kh) * p->in_w + w0 + kw) * p->in_channels + t % p->in_channels;
            e->dw[t * p->channels + c] += d * (double)e->x[at];
            e->dx[at] += d * (double)e->weights[t * p->channels + c];
        }
    }
}

static void near(const char *what, const float *got, const double *want, int64_t count, double times)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - times * want[i]) <= 2e-4 * (1 + fabs(want[i]))))
            fail_msg("%s[%lld] is %.9g, expected %.9g", what, (long long)i, (double)got[i], times * want[i]);
}

static void check_backward(const nn_kernels *nn, const nn_pooled *p)
{
    const float scale = 4.0f / 3;
    expected e = {.images = 3,
                  .in = p->in_h * p->in_w * p->in_channels,
                  .out = p->out_h * p->out_w * p->channels,
                  .taps = p->kernel_h * p->kernel_w * p->in_channels};
    int64_t weights = e.taps * p->channels;
    e.x = filled(e.images * e.in, 1);
    e.dy = filled(e.images * e.out, 2);
    e.weights = filled(weights, 3);
    e.argmax = winners(e.images * e.out);
    e.dx = calloc((size_t)(e.images * e.in), sizeof *e.dx);
    e.dw = calloc((size_t)weights, sizeof *e.dw);
    e.db = calloc((size_t)p->channels, sizeof *e.db);
    expect(p, scale, &e);

    float *turned = malloc((size_t)weights * sizeof *turned),
          *dx = malloc((size_t)(e.images * e.in) * sizeof *dx), *dw = malloc((size_t)weights * sizeof *dw),
          *db = malloc((size_t)p->channels * sizeof *db);
    void *scratch = malloc(nn_pooled_scratch(p));
    memset(scratch, 0xff, nn_pooled_scratch(p));
    for (int64_t i = 0; i < e.images * e.in; i++) dx[i] = NAN;
    for (int64_t i = 0; i < weights; i++) dw[i] = NAN;
    for (int64_t i = 0; i < p->channels; i++) db[i] = NAN;
    nn->transpose(e.taps, p->channels, e.weights, turned);
    nn_pool_diff diff = {e.dy, e.argmax, scale};
    nn_pooled_gradients to = {.dw = dw, .db = db, .dx = dx, .weights = turned, .scratch = scratch};
    nn->pooled_backward(p, e.images, e.x, &diff, &to);
    near("dx", dx, e.dx, e.images * e.in, 1);
    near("dw", dw, e.dw, weights, 1);
    near("db", db, e.db, p->channels, 1);
    to.accumulate = true;
    to.dx = NULL;
    nn->pooled_backward(p, e.images, e.x, &diff, &to);
    near("dw, added to", dw, e.dw, weights, 2);
    near("db, added to", db, e.db, p->channels, 2);
    to = (nn_pooled_gradients){.dw = dw, .dx = dx, .weights = turned, .scratch = scratch};
    nn->pooled_backward(p, e.images, e.x, &diff, &to);
    near("dw without bias", dw, e.dw, weights, 1);

    void *all[] = {e.x, e.dy, e.weights, e.argmax, e.dx, e.dw, e.db, turned, dx, dw, db, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* One output of the convolution. */
static double output(const nn_pooled *p, const float *x, const float *weights, double bias, int64_t h0,
                     int64_t w0, int64_t c)
{
    int64_t taps = p->kernel_h * p->kernel_w * p->in_channels;
    for (int64_t t = 0; t < taps; t++) {
        int64_t kh = t / p->in_channels / p->kernel_w, kw = t / p->in_channels % p->kernel_w;
        bias += (double)x[((h0 + kh) * p->in_w + w0 + kw) * p->in_channels + t % p->in_channels] *
                (double)weights[t * p->channels + c];
    }
    return bias;
}

/* dropout: with bits and bias, and the winners wanted; or without any of them. */
static void check_forward(const nn_kernels *nn, const nn_pooled *p, bool dropout)
{
    enum { IMAGES = 2 };
    const float scale = 4.0f / 3;
    int64_t in = p->in_h * p->in_w * p->in_channels, out = p->out_h * p->out_w * p->channels,
            words = nn_dropout_words(out);
    float *x = filled(IMAGES * in, 1), *y = malloc((size_t)(IMAGES * out) * sizeof *y),
          *weights = filled(p->kernel_h * p->kernel_w * p->in_channels * p->channels, 3),
          *bias = filled(p->channels, 4);
    uint8_t *argmax = malloc((size_t)(IMAGES * out));
    uint64_t *bits = malloc((size_t)(IMAGES * words) * sizeof *bits);
    nn->dropout_bits(&(nn_dropout){.key = 1, .tag = 2, .rate = 16384}, 0, IMAGES, out, bits);
    nn_pool_output to = {dropout ? bits : NULL, scale, y, dropout ? argmax : NULL};
    nn->pooled_forward(p, IMAGES, x, weights, dropout ? bias : NULL, &to);
    int64_t clipped = 0, dropped = 0;
    for (int64_t i = 0; i < IMAGES * out; i++) {
        int64_t n = i / out, w = i % out / p->channels, c = i % p->channels, at = i % out;
        double best = -INFINITY, value[4];
        for (int k = 0; k < 4; k++) {
            value[k] = output(p, x + n * in, weights, dropout ? (double)bias[c] : 0, w / p->out_w * 2 + k / 2,
                              w % p->out_w * 2 + k % 2, c);
            best = fmax(best, value[k]);
        }
        bool kept = !dropout || (bits[n * words + at / 64] >> (at % 64) & 1);
        double want = kept && best > 0 ? best * (dropout ? (double)scale : 1) : 0;
        if (!(fabs(y[i] - want) <= 1e-4))
            fail_msg("y[%lld] is %.9g, expected %.9g", (long long)i, (double)y[i], want);
        clipped += best <= 0;
        dropped += !kept;
        if (dropout && fabs(best) > 1e-4 && (want == 0) != (argmax[i] == NN_POOL_NONE))
            fail_msg("argmax[%lld] is %d for %g", (long long)i, argmax[i], want);
        if (dropout && argmax[i] != NN_POOL_NONE && !(value[argmax[i] & 3] >= best - 1e-4))
            fail_msg("argmax[%lld] is %d", (long long)i, argmax[i]);
    }
    assert_true(clipped > 0 && (!dropout || dropped > 0));
    void *all[] = {x, y, weights, bias, argmax, bits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void agrees_with_plain_loops(void **state)
{
    static const nn_pooled shapes[] = {
        {13, 13, 32, 3, 3, 64, 5, 5}, /* the article's; a row and a column that no window reads */
        {11, 11, 32, 1, 1, 64, 5, 5}, /* its separable twin's pointwise half */
        {16, 18, 16, 3, 3, 48, 7, 8}, /* more windows than a word has bits */
        {9, 8, 48, 2, 3, 16, 4, 2},   /* another kernel; fewer windows than there is room for */
        {12, 12, 64, 5, 5, 32, 4, 4}, /* several blocks a row */
        {6, 6, 80, 1, 1, 16, 3, 3},   {8, 9, 16, 1, 1, 32, 4, 4},
    };
    int ran = 0;
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
        const nn_kernels *nn = nn_kernels_at((cpu_isa)isa);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes && nn != NULL; i++, ran++) {
            assert_null(nn_pooled_refuse(&shapes[i]));
            check_forward(nn, &shapes[i], true);
            check_forward(nn, &shapes[i], false);
            check_backward(nn, &shapes[i]);
        }
    }
    assert_true(ran > 0);
    assert_non_null(nn_pooled_refuse(&(nn_pooled){9, 9, 12, 3, 3, 16, 3, 3}));
}

/* The gradient of one step of a model, dropout included. malloc'ed. */
static float *gradient(const model *m, const net_options *options, bool pooled)
{
    enum { PIXELS = 784 };
    net *n = test_net_with(m, options);
    bool says = false;
    for (int i = 0; i < m->layer_count; i++)
        says = says || strstr(net_fusion(n, i), "in the convolution") != NULL;
    assert_int_equal(says, pooled);
    float *x = filled(options->batch * PIXELS, 7), *g = malloc((size_t)m->total * sizeof *g);
    uint8_t labels[64];
    for (int64_t i = 0; i < options->batch; i++) labels[i] = (uint8_t)(i % 10);
    noise_weights(m, net_weights(n));
    net_weights_changed(n);
    net_batch b = {.values = x, .labels = labels, .count = options->batch};
    net_result r;
    conv_error err;
    assert_int_equal(net_train(n, &b, 3, &r, &err), CONV_OK);
    net_reduce(n);
    memcpy(g, net_gradient(n), (size_t)m->total * sizeof *g);
    free(x);
    net_destroy(n);
    return g;
}

static void network_agrees(const char *name)
{
    model *m = test_network(name);
    net_options o = {.threads = 2, .batch = 37, .impls = "best", .seed = 1};
    net_options plain = o;
    plain.unfused = true;
    float *fast = gradient(m, &o, true), *slow = gradient(m, &plain, false);
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        double largest = 0;
        for (int64_t k = 0; k < p->count; k++) largest = fmax(largest, fabs((double)slow[p->offset + k]));
        assert_true(largest > 0);
        for (int64_t k = p->offset; k < p->offset + p->count; k++)
            if (!(fabs((double)fast[k] - (double)slow[k]) <= 1e-4 * largest))
                fail_msg("%s[%lld] is %.9g, unfused %.9g", p->name, (long long)(k - p->offset), (double)fast[k],
                         (double)slow[k]);
    }
    free(fast);
    free(slow);
    free(m);
}

static void networks_agree_with_unfused(void **state)
{
    network_agrees("conv");
    network_agrees("separable");
}

/* The same choices on one to three threads: the same bits. */
static void threads_agree(const char *name)
{
    model *m = test_network(name);
    net_options o = {.threads = 1, .batch = 53, .impls = "best", .seed = 1};
    net *n = test_net_with(m, &o);
    o.choices = net_choices(n);
    net_destroy(n);
    float *one = gradient(m, &o, true);
    for (o.threads = 2; o.threads <= 3; o.threads++) {
        float *more = gradient(m, &o, true);
        assert_memory_equal(one, more, (size_t)m->total * sizeof *one);
        free(more);
    }
    free(one);
    json_decref(o.choices);
    free(m);
}

static void threads_do_not_matter(void **state)
{
    threads_agree("conv");
    threads_agree("separable");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_plain_loops),
        cmocka_unit_test(networks_agree_with_unfused),
        cmocka_unit_test(threads_do_not_matter),
    };
    return cmocka_run_group_tests_name("train_pooled", tests, NULL, NULL);
}
