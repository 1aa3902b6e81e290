/* Where the error factors of the Winograd implementations come from, and that they hold. Winograd computes
 * A' ((G g) . (B' d)) per dimension; with data of one magnitude, |A'| (|G| 1 . |B'| 1) over what the direct sum
 * holds says how much larger the numbers are whose roundings reach an output (Barabasz et al., ACM TOMS 46(4),
 * 2020). The matrices follow from the points by Toom-Cook; a factor is the worst over the problems that the
 * implementation takes. Then ours run at the edges of their tiles and blocks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/measure/job.h"
#include "support.h"

enum { TILE = 6, OUT = 4, TAPS = 3 };

/* F(4x4): oneDNN 2.6, src/cpu/x64/jit_avx512_core_f32_wino_conv_4x3.cpp, and ours, winograd/transform.h: 0.625,
 * 1.5 and their negatives, 0; infinity last. F(2x2), ours: 0, 1, -1, infinity. */
static const double points_4[] = {0, 0.625, -0.625, 1.5, -1.5}, points_2[] = {0, 1, -1};

/* The roundings of G g G', B' d B and A' m A on the way to one output, besides the accumulation's: two stages
 * each of at most 4 (a constant is rounded too), 3 and 5, and 3 to spare. */
static const double transform_roundings = 27;

/* Of F(out x out, 3x3), tile = out + 2. */
typedef struct {
    int out, tile;
    double at[OUT][TILE], g[TILE][TAPS], bt[TILE][TILE];
} matrices;

/* Coefficients, lowest first, of the product of (x - point) over all points but `skip` (count: none). */
static void product(const double *points, int count, int skip, double coefficient[TILE])
{
    memset(coefficient, 0, TILE * sizeof *coefficient);
    coefficient[0] = 1;
    for (int p = 0, degree = 0; p < count; p++) {
        if (p == skip) continue;
        degree++;
        for (int i = degree; i >= 0; i--)
            coefficient[i] = (i > 0 ? coefficient[i - 1] : 0) - points[p] * coefficient[i];
    }
}

static matrices toom_cook(int out)
{
    const double *points = out == 4 ? points_4 : points_2;
    const int finite = out + 1;
    matrices m = {.out = out, .tile = out + 2};
    for (int p = 0; p < finite; p++) {
        double divisor = 1;
        for (int q = 0; q < finite; q++)
            if (q != p) divisor *= points[p] - points[q];
        product(points, finite, p, m.bt[p]);
        for (int k = 0; k < TAPS; k++) m.g[p][k] = pow(points[p], k) / divisor;
        for (int i = 0; i < out; i++) m.at[i][p] = pow(points[p], i);
    }
    product(points, finite, finite, m.bt[finite]);
    m.g[finite][TAPS - 1] = 1;
    m.at[out - 1][finite] = 1;
    return m;
}

/* The matrices do compute a correlation, or the rest means nothing. */
static void test_matrices(void **state)
{
    for (int out = 2; out <= 4; out += 2) {
        const matrices m = toom_cook(out);
        const double g[TAPS] = {3, -2, 5}, d[TILE] = {1, 4, -7, 2, 6, -3};
        double product_of[TILE];
        for (int p = 0; p < m.tile; p++) {
            double x = 0, w = 0;
            for (int i = 0; i < m.tile; i++) x += m.bt[p][i] * d[i];
            for (int k = 0; k < TAPS; k++) w += m.g[p][k] * g[k];
            product_of[p] = x * w;
        }
        for (int i = 0; i < out; i++) {
            double got = 0, expected = 0;
            for (int p = 0; p < m.tile; p++) got += m.at[i][p] * product_of[p];
            for (int k = 0; k < TAPS; k++) expected += g[k] * d[i + k];
            assert_true(fabs(got - expected) < 1e-12);
        }
    }
}

static double sum_abs(const double *row, int count, const int *mask)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        if (mask == NULL || mask[i]) sum += fabs(row[i]);
    return sum;
}

/* Forward and backward_data: the worst, over images narrower than a tile and over a tile at either border, of
 * what reaches an output divided by the tile's largest direct sum and the root of this output's taps. */
static double worst_output(const matrices *m)
{
    double worst = 0;
    for (int before = 0; before <= 1; before++)
        for (int width = 1; before + width <= TILE; width++) {
            int mask[TILE] = {0}, taps[OUT], most = 0;
            for (int i = before; i < before + width; i++) mask[i] = 1;
            for (int i = 0; i < OUT; i++) {
                taps[i] = mask[i] + mask[i + 1] + mask[i + 2];
                if (i + TAPS <= before + width + 1 && taps[i] > most)
                    most = taps[i]; /* padding after: at most 1 */
            }
            for (int i = 0; i < OUT && i + TAPS <= before + width + 1; i++) {
                double reach = 0;
                for (int p = 0; p < TILE; p++)
                    reach += fabs(m->at[i][p]) * sum_abs(m->g[p], TAPS, NULL) * sum_abs(m->bt[p], TILE, mask);
                if (taps[i] > 0) worst = fmax(worst, reach / most / sqrt(taps[i]));
            }
        }
    return worst;
}

/* backward_weights of `same` padding: the same for a tap's gradient, summed over the tiles of `outputs`. */
static double weight_factor(const matrices *m, int outputs)
{
    double reach[TAPS] = {0}, worst = 0;
    int tiles = (outputs + OUT - 1) / OUT;
    for (int t = 0; t < tiles; t++) {
        int x[TILE], y[OUT];
        for (int j = 0; j < TILE; j++) x[j] = OUT * t + j - 1 >= 0 && OUT * t + j - 1 < outputs;
        for (int j = 0; j < OUT; j++) y[j] = OUT * t + j < outputs;
        for (int k = 0; k < TAPS; k++)
            for (int p = 0; p < TILE; p++) {
                double column = 0;
                for (int j = 0; j < OUT; j++) column += y[j] * fabs(m->at[j][p]);
                reach[k] += fabs(m->g[p][k]) * sum_abs(m->bt[p], TILE, x) * column;
            }
    }
    const double taps[TAPS] = {outputs - 1, outputs, outputs - 1};
    for (int i = 0; i < TAPS; i++)
        for (int j = 0; j < TAPS; j++)
            worst = fmax(worst, reach[i] * reach[j] / ((double)outputs * outputs) / sqrt(taps[i] * taps[j]));
    return worst * sqrt((double)tiles * tiles + transform_roundings);
}

static void test_onednn_factor(void **state)
{
    const conv_impl *impl = conv_find("onednn-winograd", CONV_DENSE);
    if (impl == NULL) skip();
    const matrices m = toom_cook(OUT);
    const double channels = 16; /* the fewest it takes; outputs: 5x5 */
    double one = worst_output(&m);
    double factor = one * one * sqrt((channels + transform_roundings) / channels);
    for (int outputs = 5; outputs <= 256; outputs++) factor = fmax(factor, weight_factor(&m, outputs));
    factor *= VERIFY_FACTOR;
    print_message("# error factor %.1f, stated %.1f\n", factor, impl->error_factor);
    assert_true(factor <= impl->error_factor);
    assert_true(impl->error_factor <= 1.05 * factor);
}

/* ---- ours: any image, any padding */

enum { SIDES = 16, PADS = 3 };

/* One axis of a convolution of `in` pixels. */
typedef struct {
    int64_t in, before, after, out;
} side;

/* Of one axis: how far the worst output's (tap's gradient's) numbers reach, over the 3/2 power of the most
 * terms that any output (tap) has: the verdict takes the tensor's largest sum and largest root. */
typedef struct {
    double output, gradient;
    int64_t tiles;
} reach;

static reach reach_of(const matrices *m, const side *s)
{
    double output = 0, gradient[TAPS] = {0}, most = 0, most_pixels = 0;
    reach r = {.tiles = (s->out + m->out - 1) / m->out};
    for (int64_t t = 0; t < r.tiles; t++) {
        int x[TILE], first = (int)(t * m->out), outputs = (int)fmin(m->out, (double)(s->out - first));
        for (int i = 0; i < m->tile; i++) x[i] = first + i >= s->before && first + i < s->before + s->in;
        for (int p = 0; p < m->tile; p++) {
            double column = 0, b = sum_abs(m->bt[p], m->tile, x);
            for (int i = 0; i < outputs; i++) column += fabs(m->at[i][p]);
            for (int k = 0; k < TAPS; k++) gradient[k] += fabs(m->g[p][k]) * b * column;
        }
        for (int i = 0; i < outputs; i++) {
            double sum = 0;
            for (int p = 0; p < m->tile; p++)
                sum += fabs(m->at[i][p]) * sum_abs(m->g[p], TAPS, NULL) * sum_abs(m->bt[p], m->tile, x);
            output = fmax(output, sum);
            most = fmax(most, x[i] + x[i + 1] + x[i + 2]);
        }
    }
    for (int k = 0; k < TAPS; k++) {
        int64_t low = s->before - k > 0 ? s->before - k : 0, high = s->in + s->before - k;
        most_pixels = fmax(most_pixels, (double)((high < s->out ? high : s->out) - low));
    }
    r.output = output / pow(most, 1.5);
    r.gradient = fmax(fmax(gradient[0], gradient[1]), gradient[2]) / pow(most_pixels, 1.5);
    return r;
}

/* All sides with an output, at most SIDES pixels. */
static int list_sides(side *sides)
{
    int count = 0;
    for (int64_t in = 1; in <= SIDES; in++)
        for (int64_t before = 0; before < PADS; before++)
            for (int64_t after = 0; after < PADS; after++)
                if (in + before + after >= TAPS)
                    sides[count++] = (side){in, before, after, in + before + after - 2};
    return count;
}

/* Which F a plan says it takes; 0: refused. */
static int tile_of(const conv_impl *impl, const conv_problem *p, conv_pass pass)
{
    const conv_context ctx = test_context(1);
    conv_plan *plan = NULL;
    conv_error err = {""};
    int out = 0;
    if (conv_refuse(impl, p, pass) != NULL) return 0;
    if (conv_plan_create(impl, p, pass, &ctx, &plan, &err) != CONV_OK) fail_msg("%s", err.text);
    assert_int_equal(sscanf(plan->note, "F(%d", &out), 1);
    conv_plan_destroy(plan);
    return out;
}

static const conv_impl *own_winograd(void)
{
    const conv_impl *impl = conv_find("winograd-avx512", CONV_DENSE);
    return impl != NULL ? impl : conv_find("winograd-avx2", CONV_DENSE);
}

/* The fewest channels it takes; a gradient sums over pixels alone, of one image at least. */
static void test_own_factor(void **state)
{
    enum { CHANNELS = 16 };
    const conv_impl *impl = own_winograd();
    static side sides[SIDES * PADS * PADS];
    static reach reaches[OUT + 1][SIDES * PADS * PADS];
    if (impl == NULL) skip();
    int count = list_sides(sides);
    for (int out = 2; out <= OUT; out += 2) {
        const matrices m = toom_cook(out);
        for (int i = 0; i < count; i++) reaches[out][i] = reach_of(&m, &sides[i]);
    }
    double output = 0, gradient = 0;
    conv_problem p = test_problem("dense:mb1ic16ih12oc16kh3ph1", CONV_NHWC, false, CONV_POST_NONE);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++) {
            conv_axis *h = &p.axis[CONV_H], *w = &p.axis[CONV_W];
            h->in = sides[i].in, h->pad_before = sides[i].before, h->pad_after = sides[i].after;
            w->in = sides[j].in, w->pad_before = sides[j].before, w->pad_after = sides[j].after;
            int forward = tile_of(impl, &p, CONV_FORWARD), weights = tile_of(impl, &p, CONV_BACKWARD_WEIGHTS);
            const reach *f = reaches[forward], *g = reaches[weights];
            output =
                fmax(output, f[i].output * f[j].output * sqrt((CHANNELS + transform_roundings) / CHANNELS));
            if (weights == 0) continue;
            double roundings = (double)(g[i].tiles * g[j].tiles) + transform_roundings;
            gradient = fmax(gradient, g[i].gradient * g[j].gradient * sqrt(roundings));
        }
    double factor = VERIFY_FACTOR * fmax(output, gradient);
    print_message("# error factor: outputs %.1f, weight gradients %.1f, stated %.1f\n", VERIFY_FACTOR * output,
                  VERIFY_FACTOR * gradient, impl->error_factor);
    assert_true(factor <= impl->error_factor);
    assert_true(impl->error_factor <= 1.05 * factor);
}

/* Widths at the edges of F(4x4)'s and F(2x2)'s tiles, paddings from none to full, channels around vectors,
 * strips and panels, and enough tiles for every way of dividing the work (with test_context's small caches):
 * together in one and several chunks, by units, by parts. */
static const char *const shapes[] = {
    "dense:mb1ic16ih6oc16kh3ph1",
    "dense:mb1ic16ih7iw9oc17kh3kw3ph1pw1",
    "dense:mb2ic17ih8iw6oc16kh3kw3ph1pw1",
    "dense:mb1ic33ih9iw10oc31kh3kw3",
    "dense:mb1ic16ih11iw8oc48kh3kw3ph2pw0",
    "dense:mb1ic16ih3oc16kh3ph1",
    "dense:mb2ic20ih2iw5oc18kh3kw3ph1pw2",
    "dense:mb1ic16ih5iw4oc16kh3kw3pw1",
    "dense:mb3ic40ih13iw5oc100kh3kw3ph1pw1",
    "dense:mb1ic130ih8oc260kh3ph1",
    "dense:mb2ic64ih28iw29oc96kh3kw3ph1pw1",
    "dense:mb5ic16ih60oc16kh3ph1",
};

static void test_edges(void **state)
{
    static const char *const names[] = {"winograd-avx2", "winograd-avx512"};
    int checked = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const conv_impl *impl = conv_find(names[i], CONV_DENSE);
        for (size_t s = 0; impl != NULL && s < sizeof shapes / sizeof *shapes; s++)
            for (int pass = 0; pass < CONV_PASS_COUNT; pass++)
                for (int way = 0; way < 2; way++) {
                    conv_problem p = test_problem(shapes[s], CONV_NHWC, way == 1,
                                                  way == 1 ? CONV_POST_RELU6 : CONV_POST_NONE);
                    const verify_options options = {
                        .kind = FILL_REALS, .seed = s + 1, .accumulate = way == 1 && pass != CONV_FORWARD};
                    const conv_context ctx = test_context(1 + (int)s % 3);
                    char text[PROBLEM_STRING_MAX + 128];
                    verify_result result;
                    if (verify_case(impl, &p, (conv_pass)pass, &ctx, &options, &result) != CONV_OK)
                        fail_msg("%s: %s", names[i], result.where);
                    if (!result.ok)
                        fail_msg("%s %s: %s", names[i], test_describe(&p, (conv_pass)pass, text, sizeof text),
                                 result.where);
                    checked++;
                }
    }
    if (checked == 0) skip();
}

/* Every way of dividing the weights' gradient gives one thread's bits on three. */
static void test_threads(void **state)
{
    const conv_impl *impl = own_winograd();
    if (impl == NULL) skip();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        conv_problem p = test_problem(shapes[s], CONV_NHWC, true, CONV_POST_RELU);
        conv_tensors t;
        assert_true(conv_tensors_create(&p, CONV_BACKWARD, FILL_REALS, 3, &t));
        conv_sizes n = conv_problem_sizes(&p);
        size_t bytes = (size_t)n.weights * sizeof(float), src_bytes = (size_t)n.src * sizeof(float);
        float *weights = malloc(bytes), *src = malloc(src_bytes);
        assert_true(weights != NULL && src != NULL);
        for (int threads = 1; threads <= 3; threads += 2) {
            conv_job job;
            conv_error err = {""};
            conv_context ctx = test_context(threads);
            conv_args args = conv_tensors_args(&t);
            conv_tensors_poison(&p, CONV_BACKWARD, &t);
            assert_int_equal(job_plan(&job, impl, &p, CONV_BACKWARD, &ctx, &err), CONV_OK);
            assert_int_equal(job_ready(&job, &args, NULL, &err), CONV_OK);
            assert_int_equal(job_run(&job, &err), CONV_OK);
            job_finish(&job);
            if (threads == 1) {
                memcpy(weights, t.diff_weights, bytes);
                memcpy(src, t.diff_src, src_bytes);
            }
            assert_memory_equal(weights, t.diff_weights, bytes);
            assert_memory_equal(src, t.diff_src, src_bytes);
        }
        free(weights);
        free(src);
        conv_tensors_destroy(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrices), cmocka_unit_test(test_onednn_factor),
                                       cmocka_unit_test(test_own_factor), cmocka_unit_test(test_edges),
                                       cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
