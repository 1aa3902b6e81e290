/* kernels/nn, but for activations and normalization: every instruction set's copy against plain double-precision
 * loops. */
#include "nn_support.h"

#include <stdio.h>
#include <string.h>

/* ---- global pooling, views, PReLU */

static void check_global_of(const nn_kernels *nn, const nn_global *g)
{
    enum { IMAGES = 2 };
    int64_t n = g->positions * g->channels, step = g->channels_first ? 1 : g->channels;
    float *x = filled(IMAGES * n, 31, 2), *dy = filled(IMAGES * g->channels, 32, 2);
    float *y = malloc((size_t)(IMAGES * g->channels) * 4), *dx = malloc((size_t)(IMAGES * n) * 4);
    for (int64_t i = 0; i < IMAGES * n; i += 3) x[i] = 0.5f; /* ties */
    for (int64_t i = 0; i < IMAGES * n; i++) x[i] = fminf(x[i], 0.5f);
    for (int average = 0; average < 2; average++) {
        (average ? nn->global_average : nn->global_max)(g, IMAGES, x, y);
        if (average)
            nn->global_average_backward(g, IMAGES, dy, dx);
        else
            nn->global_max_backward(g, IMAGES, &(nn_global_diff){x, y, dy}, dx);
        for (int64_t i = 0; i < IMAGES * g->channels; i++) {
            int64_t first = i / g->channels * n + i % g->channels * (g->channels_first ? g->positions : 1);
            double sum = 0, most = -INFINITY, ties = 0;
            for (int64_t p = 0; p < g->positions; p++) {
                sum += x[first + p * step];
                most = fmax(most, x[first + p * step]);
            }
            for (int64_t p = 0; p < g->positions; p++) ties += x[first + p * step] == most;
            close_to(y[i], average ? sum / (double)g->positions : most, 1e-6);
            for (int64_t p = 0; p < g->positions; p++) {
                double share = average ? 1 / (double)g->positions : x[first + p * step] == most ? 1 / ties : 0;
                close_to(dx[first + p * step], dy[i] * share, 1e-6);
            }
        }
    }
    free(x), free(dy), free(y), free(dx);
}

static void check_global(const nn_kernels *nn)
{
    static const int64_t channels[] = {1, 3, 16, 63, 64, 65, 130}, positions[] = {1, 7, 49};
    for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
        for (size_t p = 0; p < sizeof positions / sizeof *positions; p++)
            for (int first = 0; first < 2; first++)
                check_global_of(nn, &(nn_global){positions[p], channels[c], first});
}

/* Every element by itself; a place of y shows nothing where an axis says so. */
static void check_view_of(const nn_kernels *nn, const nn_view *plain)
{
    enum { IMAGES = 2 };
    nn_view v = *plain;
    int64_t out = 1;
    for (int i = 0; i < NN_VIEW_AXES; i++) out *= plain->axis[i].out;
    float *x = filled(IMAGES * v.in, 41, 2), *dy = filled(IMAGES * out, 42, 2);
    float *y = malloc((size_t)(IMAGES * out) * 4), *dx = malloc((size_t)(IMAGES * v.in) * 4);
    double *want = calloc((size_t)(IMAGES * v.in), sizeof *want);
    memset(y, 0xff, (size_t)(IMAGES * out) * 4);
    memset(dx, 0xff, (size_t)(IMAGES * v.in) * 4);
    nn_view_simplify(&v);
    nn->view(&v, IMAGES, x, y);
    nn->view_backward(&v, IMAGES, dy, dx);
    for (int64_t i = 0; i < IMAGES * out; i++) {
        int64_t from = i / out * v.in, left = i % out;
        bool there = true;
        for (int a = NN_VIEW_AXES - 1; a >= 0; left /= plain->axis[a--].out) {
            const nn_view_axis *axis = &plain->axis[a];
            int64_t at = left % axis->out - axis->before;
            there = there && at >= 0 && at < axis->in * axis->repeat;
            from += at / axis->repeat * axis->stride;
        }
        assert_true(y[i] == (there ? x[from] : 0));
        if (there) want[from] += dy[i];
    }
    for (int64_t i = 0; i < IMAGES * v.in; i++) close_to(dx[i], want[i], 1e-5);
    free(x), free(dy), free(y), free(dx), free(want);
}

static void check_views(const nn_kernels *nn)
{
    static const nn_view views[] = {
        {{{2, 2, 0, 1, 60}, {3, 3, 0, 1, 20}, {4, 4, 0, 1, 5}, {5, 5, 0, 1, 1}}, 120},   /* the same */
        {{{2, 4, 1, 1, 60}, {3, 6, 1, 1, 20}, {4, 7, 3, 1, 5}, {5, 5, 0, 1, 1}}, 120},   /* padded */
        {{{2, 2, 0, 1, 60}, {3, 4, 0, 1, 20}, {4, 4, 0, 1, 5}, {5, 8, 2, 1, 1}}, 120},   /* the last as well */
        {{{2, 1, -1, 1, 60}, {3, 2, 0, 1, 20}, {4, 1, -2, 1, 5}, {5, 5, 0, 1, 1}}, 120}, /* cropped */
        {{{2, 2, 0, 1, 60}, {3, 3, 0, 1, 20}, {4, 4, 0, 1, 5}, {5, 2, -2, 1, 1}}, 120},
        {{{2, 2, 0, 1, 60}, {3, 4, -1, 1, 20}, {4, 2, 1, 1, 5}, {5, 3, 1, 1, 1}}, 120}, /* both */
        {{{2, 4, 0, 2, 60}, {3, 3, 0, 1, 20}, {4, 12, 0, 3, 5}, {5, 5, 0, 1, 1}}, 120}, /* repeated */
        {{{2, 2, 0, 1, 60}, {3, 6, 0, 2, 20}, {4, 4, 0, 1, 5}, {5, 15, 0, 3, 1}}, 120},
        {{{5, 5, 0, 1, 1}, {2, 2, 0, 1, 60}, {4, 4, 0, 1, 5}, {3, 3, 0, 1, 20}}, 120}, /* permuted */
        {{{1, 1, 0, 1, 0}, {1, 1, 0, 1, 0}, {12, 12, 0, 1, 1}, {10, 10, 0, 1, 12}}, 120},
    };
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) check_view_of(nn, &views[i]);
}

static void check_prelu_of(const nn_kernels *nn, const nn_prelu *p)
{
    enum { IMAGES = 3 };
    int64_t n = p->size[0] * p->size[1] * p->size[2] * p->size[3];
    float *x = filled(IMAGES * n, 51, 2), *dy = filled(IMAGES * n, 52, 2), *alpha = filled(p->slopes, 53, 2);
    float *y = malloc((size_t)(IMAGES * n) * 4), *dx = malloc((size_t)(IMAGES * n) * 4);
    float *da = malloc((size_t)p->slopes * 4);
    double *want = calloc((size_t)p->slopes, sizeof *want);
    x[n / 2] = 0;
    nn->prelu(p, IMAGES, x, alpha, y);
    nn->prelu_backward(p, IMAGES, &(nn_prelu_diff){x, dy, alpha}, dx, da, false);
    nn->prelu_backward(p, IMAGES, &(nn_prelu_diff){x, dy, alpha}, NULL, da, true);
    for (int64_t i = 0; i < IMAGES * n; i++) {
        int64_t at = 0, left = i % n;
        for (int a = NN_PRELU_AXES - 1; a >= 0; left /= p->size[a--]) at += left % p->size[a] * p->stride[a];
        assert_true(at < p->slopes);
        assert_true(y[i] == (x[i] > 0 ? x[i] : alpha[at] * x[i]));
        close_to(dx[i], x[i] > 0 ? dy[i] : x[i] < 0 ? dy[i] * alpha[at] : 0, 1e-6);
        if (x[i] < 0) want[at] += 2.0 * dy[i] * x[i];
    }
    for (int64_t i = 0; i < p->slopes; i++) close_to(da[i], want[i], 1e-5 * (1 + fabs(want[i])));
    free(x), free(dy), free(alpha), free(y), free(dx), free(da), free(want);
}

static void check_prelu(const nn_kernels *nn)
{
    static const nn_prelu kinds[] = {
        {{1, 5, 4, 37}, {0, 0, 0, 1}, 37},   {{1, 5, 4, 37}, {0, 148, 37, 1}, 740},
        {{1, 3, 5, 19}, {0, 1, 0, 0}, 3},    {{2, 3, 4, 5}, {15, 5, 0, 1}, 30},
        {{1, 1, 1, 130}, {0, 0, 0, 1}, 130}, {{1, 1, 1, 9}, {0, 0, 0, 0}, 1},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) check_prelu_of(nn, &kinds[i]);
}

/* ---- pooling */

/* Everything max and average pooling promise, one element at a time. */
static void check_pool(const nn_kernels *nn, const nn_pool *p, bool drop)
{
    enum { IMAGES = 2 };
    const conv_axis *ad = &p->axis[CONV_D], *ah = &p->axis[CONV_H], *aw = &p->axis[CONV_W];
    int64_t c = p->channels, in = ad->in * ah->in * aw->in * c, out = p->out[0] * p->out[1] * p->out[2] * c,
            words = nn_dropout_words(out);
    float *x = filled(IMAGES * in, 4, 2), *dy = filled(IMAGES * out, 5, 2);
    float *y = malloc((size_t)(IMAGES * out) * 4), *a = malloc((size_t)(IMAGES * out) * 4);
    float *dx = malloc((size_t)(IMAGES * in) * 4), *da = malloc((size_t)(IMAGES * in) * 4);
    double *want = calloc((size_t)(IMAGES * in), sizeof *want),
           *want_a = calloc((size_t)(IMAGES * in), sizeof *want_a);
    uint8_t *argmax = malloc((size_t)(IMAGES * out));
    uint64_t *bits = malloc((size_t)(IMAGES * words) * 8);
    nn_dropout d = {.key = 7, .tag = 1, .step = 2, .rate = 16384};
    float scale = drop ? nn_dropout_scale(&d) : 1;
    nn->dropout_bits(&d, 0, IMAGES, out, bits);
    memset(dx, 0xff, (size_t)(IMAGES * in) * 4);
    memset(da, 0xff, (size_t)(IMAGES * in) * 4);
    bool has_max = ad->kernel * ah->kernel * aw->kernel <= NN_POOL_WINDOW_MAX;
    if (has_max) {
        nn->max_pool(p, IMAGES, x, &(nn_pool_output){drop ? bits : NULL, scale, y, argmax});
        nn->max_pool_backward(p, IMAGES, &(nn_pool_diff){dy, argmax, scale}, dx);
    }
    nn->average_pool(p, IMAGES, x, a);
    nn->average_pool_backward(p, IMAGES, dy, da);
    for (int64_t i = 0; i < IMAGES * out; i++) {
        int64_t n = i / out, ch = i % c, ow = i / c % p->out[2], oh = i / c / p->out[2] % p->out[1],
                od = i / c / p->out[2] / p->out[1] % p->out[0], taps = 0, at = -1;
        double best = -INFINITY, sum = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t tap = 0; tap < ad->kernel * ah->kernel * aw->kernel; tap++) {
                int64_t d = od * ad->stride - ad->pad_before + tap / aw->kernel / ah->kernel,
                        h = oh * ah->stride - ah->pad_before + tap / aw->kernel % ah->kernel,
                        w = ow * aw->stride - aw->pad_before + tap % aw->kernel;
                if (d < 0 || d >= ad->in || h < 0 || h >= ah->in || w < 0 || w >= aw->in) continue;
                int64_t k = n * in + ((d * ah->in + h) * aw->in + w) * c + ch;
                if (pass == 1) {
                    want_a[k] += (double)dy[i] / (double)taps;
                    continue;
                }
                taps++;
                sum += x[k];
                if (x[k] > best) {
                    best = x[k];
                    at = k;
                }
            }
        bool keep =
            !(p->relu && best <= 0) && (!drop || (bits[n * words + i % out / 64] >> (i % out % 64) & 1));
        if (has_max) close_to(y[i], keep ? best * scale : 0, 1e-6);
        close_to(a[i], sum / (double)taps, 1e-6);
        if (keep) want[at] += (double)dy[i] * scale;
    }
    for (int64_t i = 0; i < IMAGES * in; i++) {
        if (has_max) close_to(dx[i], want[i], 1e-5);
        close_to(da[i], want_a[i], 1e-5);
    }
    free(x), free(dy), free(y), free(a), free(dx), free(da), free(want), free(want_a), free(argmax), free(bits);
}

static void check_pooling(const nn_kernels *nn)
{
    static const int64_t channels[] = {1, 3, 4, 8, 15, 16, 17, 32, 37};
    static const struct {
        int64_t in[CONV_AXES], window[CONV_AXES], stride[CONV_AXES], before[CONV_AXES], after[CONV_AXES];
    } shapes[] = {
        {{1, 6, 8}, {1, 2, 2}, {1, 2, 2}, {0}, {0}},
        {{1, 7, 5}, {1, 2, 2}, {1, 2, 2}, {0}, {0}},
        {{1, 7, 5}, {1, 2, 2}, {1, 2, 2}, {0}, {0, 1, 1}},
        {{1, 7, 6}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}},
        {{1, 9, 7}, {1, 2, 1}, {1, 3, 3}, {0}, {0}},
        {{1, 5, 5}, {1, 3, 4}, {1, 2, 2}, {0, 0, 1}, {0, 0, 2}},
        {{1, 1, 9}, {1, 1, 2}, {1, 1, 2}, {0}, {0}},
        {{4, 2, 6}, {2, 2, 2}, {2, 2, 2}, {0}, {0}},
        {{5, 3, 3}, {2, 2, 2}, {2, 2, 2}, {0}, {0}},             /* the last along each axis uncovered */
        {{5, 3, 4}, {2, 2, 2}, {2, 2, 2}, {0}, {1, 1, 0}},       /* windows that stand over the edge */
        {{4, 3, 5}, {3, 2, 3}, {1, 1, 2}, {1, 0, 1}, {1, 1, 1}}, /* overlapping */
        {{6, 5, 7}, {2, 1, 2}, {3, 2, 4}, {0}, {0}},             /* with gaps */
        {{3, 4, 4}, {3, 1, 1}, {3, 1, 1}, {0}, {0}},
        {{15, 17, 1}, {15, 17, 1}, {1, 1, 1}, {0}, {0}},   /* as many taps as a byte tells apart */
        {{3, 12, 11}, {3, 12, 11}, {3, 12, 11}, {0}, {0}}, /* averages of more */
        {{4, 13, 12}, {3, 10, 9}, {1, 3, 3}, {1, 1, 1}, {0, 2, 2}},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t k = 0; k < sizeof channels / sizeof *channels; k++)
            for (int flags = 0; flags < 4; flags++) {
                nn_pool p = {.channels = channels[k], .relu = flags & 1};
                for (int i = 0; i < CONV_AXES; i++) {
                    p.axis[i] = (conv_axis){shapes[s].in[i],     shapes[s].window[i], shapes[s].stride[i], 1,
                                            shapes[s].before[i], shapes[s].after[i]};
                    p.out[i] = conv_out(&p.axis[i]);
                }
                check_pool(nn, &p, flags & 2);
            }
}

/* ---- dropout */

static void check_dropout(const nn_kernels *nn)
{
    static const double rates[] = {0.25, 0.5, 0.1, 0.75, 0.3333, 0.9};
    enum { ROWS = 40, COLUMNS = 1000 };
    int64_t words = nn_dropout_words(COLUMNS);
    uint64_t *bits = malloc((size_t)(ROWS * words) * 8), *other = malloc((size_t)(ROWS * words) * 8);
    float *x = filled(ROWS * COLUMNS, 6, 2), *y = malloc((size_t)(ROWS * COLUMNS) * 4);
    for (size_t k = 0; k < sizeof rates / sizeof *rates; k++) {
        nn_dropout d = {.key = 5, .tag = 3, .step = 9, .rate = (uint32_t)lround(rates[k] * 65536)};
        nn->dropout_bits(&d, 0, ROWS, COLUMNS, bits);
        nn_kernels_at(CPU_BASE)->dropout_bits(&d, 0, ROWS, COLUMNS, other);
        assert_memory_equal(bits, other, (size_t)(ROWS * words) * 8); /* the same for any instruction set */
        nn->dropout_bits(&d, 17, 3, COLUMNS, other);
        assert_memory_equal(bits + 17 * words, other, (size_t)(3 * words) * 8); /* and any slicing */
        nn->dropout(ROWS, COLUMNS, bits, nn_dropout_scale(&d), x, y);
        int64_t kept = 0, together = 0, again = 0;
        for (int i = 0; i < ROWS * COLUMNS; i++) {
            bool keep = bits[i / COLUMNS * words + i % COLUMNS / 64] >> (i % COLUMNS % 64) & 1;
            bool next = i % COLUMNS + 1 < COLUMNS &&
                        (bits[i / COLUMNS * words + (i % COLUMNS + 1) / 64] >> ((i % COLUMNS + 1) % 64) & 1);
            close_to(y[i], keep ? x[i] / (1 - rates[k]) : 0, 1e-3);
            kept += keep;
            together += keep && next;
        }
        double n = ROWS * COLUMNS, q = 1 - rates[k];
        assert_true(fabs((double)kept - n * q) < 5 * sqrt(n * q * rates[k]));
        assert_true(fabs((double)together - n * q * q) < 6 * sqrt(n * q * q) + ROWS);
        d.step++;
        nn->dropout_bits(&d, 0, ROWS, COLUMNS, other);
        for (int64_t i = 0; i < ROWS * words; i++) again += bits[i] == other[i];
        assert_true(again < ROWS * words / 10);
    }
    free(bits), free(other), free(x), free(y);
}

/* ---- optimizers, sums, pixels */

static void check_optimizers(const nn_kernels *nn)
{
    enum { COUNT = 133, STEPS = 3 };
    const nn_rates r = {.learning_rate = 0.01f,
                        .beta_1 = 0.9f,
                        .beta_2 = 0.999f,
                        .epsilon = 1e-7f,
                        .momentum = 0.9f,
                        .nesterov = true,
                        .rho = 0.9f};
    float *start = filled(COUNT, 7, 2);
    for (int kind = 0; kind < 4; kind++) {
        nn_rates rates = r;
        rates.nesterov = kind == 1;
        if (kind == 3) rates.epsilon = 0.1f; /* large enough to tell sqrt(v + epsilon) from sqrt(v) + epsilon */
        float w[COUNT], m[COUNT] = {0}, v[COUNT] = {0};
        double dw[COUNT], dm[COUNT] = {0}, dv[COUNT] = {0};
        memcpy(w, start, sizeof w);
        for (int i = 0; i < COUNT; i++) dw[i] = w[i];
        for (int t = 0; t < STEPS; t++) {
            float *g = filled(COUNT, (uint32_t)(10 + t), 1);
            if (kind == 0) nn->adam(COUNT, &rates, g, w, m, v);
            if (kind == 1 || kind == 2) nn->sgd(COUNT, &rates, g, w, m);
            if (kind == 3) nn->rmsprop(COUNT, &rates, g, w, m);
            for (int i = 0; i < COUNT; i++) {
                if (kind == 0) {
                    dm[i] = 0.9 * dm[i] + 0.1 * g[i];
                    dv[i] = 0.999 * dv[i] + 0.001 * g[i] * g[i];
                    dw[i] -= 0.01 * dm[i] / (sqrt(dv[i]) + 1e-7);
                } else if (kind == 3) {
                    dm[i] = 0.9 * dm[i] + 0.1 * g[i] * g[i];
                    dw[i] -= 0.01 * g[i] / sqrt(dm[i] + rates.epsilon);
                } else {
                    dm[i] = 0.9 * dm[i] - 0.01 * g[i];
                    dw[i] += kind == 1 ? 0.9 * dm[i] - 0.01 * g[i] : dm[i];
                }
            }
            free(g);
        }
        for (int i = 0; i < COUNT; i++) close_to(w[i], dw[i], 2e-5 * (1 + fabs(dw[i])));
    }
    free(start);
}

static void check_sums(const nn_kernels *nn)
{
    enum { COUNT = 131, CHUNKS = 5, STRIDE = 160 };
    float *parts = filled(CHUNKS * STRIDE, 8, 1), g[COUNT], y[256];
    nn->sum_chunks(COUNT, CHUNKS, STRIDE, parts, g);
    double absolute = 0, square = 0;
    for (int i = 0; i < COUNT; i++) {
        double sum = 0;
        for (int c = 0; c < CHUNKS; c++) sum += parts[c * STRIDE + i];
        close_to(g[i], sum, 1e-6);
        absolute += fabs(parts[i]);
        square += (double)parts[i] * parts[i];
    }
    float before = g[3];
    close_to(nn->penalty(COUNT, 0.5f, 0.25f, 2, parts, g), 2 * (0.5 * absolute + 0.25 * square), 1e-3);
    close_to(g[3] - before, 2 * (0.5 * (parts[3] > 0 ? 1 : -1) + 2 * 0.25 * parts[3]), 1e-6);
    uint8_t pixels[256];
    for (int i = 0; i < 256; i++) pixels[i] = (uint8_t)i;
    nn->scale_pixels(256, pixels, y);
    for (int i = 0; i < 256; i++) assert_true(y[i] == (float)i / 255.0f);
    free(parts);
}

TEST(global)
TEST(views)
TEST(prelu)
TEST(pooling)
TEST(dropout)
TEST(optimizers)
TEST(sums)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(global),  cmocka_unit_test(views),   cmocka_unit_test(prelu),
        cmocka_unit_test(pooling), cmocka_unit_test(dropout), cmocka_unit_test(optimizers),
        cmocka_unit_test(sums),
    };
    return cmocka_run_group_tests_name("nn", tests, NULL, NULL);
}
