/* Winograd's transforms and products. A transform by itself is only as good as what it makes with the others:
 * so those of the input, the weights and the output are checked by one tile's convolution of every channel, and
 * those of the gradients by its gradient; then whole products, forward, backward_data and backward_weights. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "support.h"

#include "../kernels/simd/winograd/winograd.h"

CHECK_COPIES(winograd_cut);
CHECK_COPIES(winograd_input);
CHECK_COPIES(winograd_diff);
CHECK_COPIES(winograd_output);
CHECK_COPIES(winograd_gradient);
CHECK_COPIES(winograd_product_plan);
CHECK_COPIES(winograd_wgrad_plan);

typedef struct {
    __typeof__(&winograd_cut) cut;
    __typeof__(&winograd_input) input;
    __typeof__(&winograd_diff) diff;
    __typeof__(&winograd_output) output;
    __typeof__(&winograd_gradient) gradient;
    __typeof__(&winograd_product_plan) plan;
    __typeof__(&winograd_wgrad_plan) wgrad_plan;
} winograd_functions;

/* Roundings reach an output enlarged: by less than the factor that winograd.c states for all of them. */
enum { FACTOR = 104, MOST_XI = 36, TAPS = 9 };

/* ---- problems and plans */

static conv_problem make_problem(int64_t mb, int64_t ic, int64_t size, int64_t oc)
{
    conv_axis side = {size, 3, 1, 1, 1, 1};
    return (conv_problem){.variant = CONV_DENSE,
                          .rank = 2,
                          .mb = mb,
                          .ic = ic,
                          .oc = oc,
                          .groups = 1,
                          .depth_multiplier = 1,
                          .axis = {{1, 1, 1, 1, 0, 0}, side, side}};
}

static matrix_product *plan_product(const winograd_functions *f, const conv_problem *p, bool backward)
{
    matrix_product *product;
    conv_context ctx = {.threads = 1, .l2 = 256 << 10, .l3 = 1 << 30};
    assert_int_equal(f->plan(p, backward, NULL, &ctx, &product, NULL), CONV_OK);
    return product;
}

/* ---- one convolution of every channel with weights of its own */

typedef struct {
    const winograd_functions *f;
    winograd_grid grid;
    int64_t channels, padded;        /* padded: to whole vectors */
    const float *src, *diff_dst, *u; /* u: transformed weights [xi][padded] */
    float *v, *z;                    /* transformed tiles [xi][padded] */
    winograd_outputs out;
    winograd_taps taps;
} channelwise;

static float source(const channelwise *w, int64_t image, int64_t y, int64_t x, int64_t c)
{
    const winograd_grid *g = &w->grid;
    if (y < 0 || y >= g->in_h || x < 0 || x >= g->in_w) return 0;
    return w->src[((image * g->in_h + y) * g->in_w + x) * w->channels + c];
}

/* An image of a few tiles in both directions, the last ones cut off, for F(m x m). */
static channelwise make_images(const check_kernel *k, int m, int64_t channels, int64_t pad)
{
    channelwise w = {.f = k->functions, .channels = channels, .padded = round_up(channels, k->lanes)};
    winograd_grid *g = &w.grid;
    *g = (winograd_grid){.in_h = 9 + 2 - 2 * pad, .in_w = 11 + 2 - 2 * pad, .out_h = 9, .out_w = 11};
    g->pad_h = g->pad_w = pad;
    g->ahead = channels % 3 == 0;
    w.f->cut(g, m, 2);
    w.src = check_reals(2 * g->in_h * g->in_w * channels);
    w.v = check_reals(MOST_XI * w.padded);
    w.z = check_reals(MOST_XI * w.padded);
    return w;
}

/* Transformed weights of one input channel, as forward packs them: [xi][channels]. */
static const float *pack_weights(const channelwise *w, const float *weights)
{
    conv_problem p = make_problem(1, 1, w->grid.m == 4 ? 8 : 2, w->channels);
    matrix_product *product = plan_product(w->f, &p, false);
    float *packed = check_reals((int64_t)product->packed_floats);
    assert_int_equal(product->packed_floats, w->grid.alpha * w->grid.alpha * w->padded);
    product->pack(product, weights, packed, 1);
    product->release(product);
    return packed;
}

static winograd_place place_of(const channelwise *w, float *at)
{
    return (winograd_place){.at = at, .xi_stride = w->padded, .width = w->padded};
}

static void transform_input(const channelwise *w, int64_t tile)
{
    winograd_channels in = {w->src, w->channels, 0, w->channels};
    winograd_place to = place_of(w, w->v);
    w->f->input(&w->grid, tile, &in, &to);
}

static void call_input(const void *call) { transform_input(call, 0); }

static void call_output_alone(const void *call)
{
    const channelwise *w = call;
    winograd_place from = place_of(w, w->v);
    w->f->output(&w->grid, 0, &from, &w->out);
}

static void call_output(const void *call)
{
    const channelwise *w = call;
    winograd_place from = place_of(w, w->v);
    for (int64_t tile = 0; tile < w->grid.tiles; tile++) {
        transform_input(w, tile);
        for (int64_t i = 0; i < w->grid.alpha * w->grid.alpha * w->padded; i++) w->v[i] *= w->u[i];
        w->f->output(&w->grid, tile, &from, &w->out);
    }
}

/* A tile's transforms alone: how many GFLOP/s of the direct convolution they would allow. */
static void time_parts(const check_kernel *k, const channelwise *w, void (*first)(const void *),
                       const char *first_name, void (*second)(const void *), const char *second_name)
{
    double flops = 18.0 * (double)(w->grid.m * w->grid.m * w->channels);
    check_case parts[] = {{k, first, w, NULL, flops, true}, {k, second, w, NULL, flops, true}};
    const char *const names[] = {first_name, second_name};
    for (int i = 0; i < 2 && w->channels == 64; i++) {
        char shape[64];
        snprintf(shape, sizeof shape, "F(%dx%d), %s alone, 64 channels", w->grid.m, w->grid.m, names[i]);
        check_time(&parts[i], shape);
    }
}

static void check_output_tiles(const check_kernel *k, int m, int64_t channels, int variant)
{
    channelwise w = make_images(k, m, channels, variant % 3);
    const winograd_grid *g = &w.grid;
    const float *weights = check_reals(TAPS * channels);
    w.u = pack_weights(&w, weights);
    w.out = (winograd_outputs){.channels = channels,
                               .bias = variant % 2 ? check_reals(channels) : NULL,
                               .clip = check_clip(variant),
                               .stream = channels % k->lanes == 0 && channels != 64};
    check_output dst = check_untouched(2 * g->out_h * g->out_w * channels);
    w.out.data = dst.got;
    time_parts(k, &w, call_input, "input", call_output_alone, "output");
    for (int64_t i = 0; i < dst.count; i++) {
        int64_t c = i % channels, x = i / channels % g->out_w, y = i / channels / g->out_w % g->out_h;
        check_sum sum = check_start(&dst, i, false);
        if (w.out.bias != NULL) check_add(&sum, (double)w.out.bias[c]);
        for (int t = 0; t < TAPS; t++)
            check_add(&sum, (double)weights[t * channels + c] * source(&w, i / channels / g->out_w / g->out_h,
                                                                       y + t / 3 - g->pad_h,
                                                                       x + t % 3 - g->pad_w, c));
        sum.size = fmax(sum.size, 1); /* a tile's other numbers reach every output of it */
        check_expect(&dst, i, &sum, w.out.clip, FACTOR);
    }
    check_case c = {k, call_output, &w, &dst, 18.0 * (double)dst.count, channels == 64};
    check_call(&c, "F(%dx%d), padding %d, %d channels, input, product and output", m, m, variant % 3,
               (int)channels);
}

static void call_diff(const void *call)
{
    const channelwise *w = call;
    winograd_channels diff = {w->diff_dst, w->channels, 0, w->channels};
    winograd_place to = place_of(w, w->z);
    w->f->diff(&w->grid, 0, &diff, &to);
}

static void call_gradient_alone(const void *call)
{
    const channelwise *w = call;
    w->f->gradient(w->grid.alpha, w->u, w->padded, w->channels, &w->taps);
}

static void call_gradient(const void *call)
{
    const channelwise *w = call;
    const winograd_grid *g = &w->grid;
    int64_t count = g->alpha * g->alpha * w->padded;
    float *sums = (float *)w->u;
    for (int64_t i = 0; i < count; i++) sums[i] = 0;
    for (int64_t tile = 0; tile < g->tiles; tile++) {
        winograd_channels diff = {w->diff_dst, w->channels, 0, w->channels};
        winograd_place to = place_of(w, w->z);
        transform_input(w, tile);
        w->f->diff(g, tile, &diff, &to);
        for (int64_t i = 0; i < count; i++) sums[i] += w->v[i] * w->z[i];
    }
    w->f->gradient(g->alpha, sums, w->padded, w->channels, &w->taps);
}

static void check_gradient_tiles(const check_kernel *k, int m, int64_t channels, int variant)
{
    channelwise w = make_images(k, m, channels, variant % 3);
    const winograd_grid *g = &w.grid;
    int64_t pixels = g->out_h * g->out_w;
    w.diff_dst = check_reals(2 * pixels * channels);
    w.u = check_reals(MOST_XI * w.padded);
    check_output taps = check_untouched(TAPS * (channels + 1));
    w.taps = (winograd_taps){taps.got, channels + 1, variant % 2 == 1};
    time_parts(k, &w, call_diff, "diff", call_gradient_alone, "gradient");
    for (int t = 0; t < TAPS; t++)
        for (int64_t c = 0; c < channels; c++) {
            int64_t at = t * (channels + 1) + c;
            check_sum sum = check_start(&taps, at, w.taps.accumulate);
            for (int64_t i = 0; i < 2 * pixels; i++)
                check_add(&sum, (double)w.diff_dst[i * channels + c] *
                                    source(&w, i / pixels, i % pixels / g->out_w + t / 3 - g->pad_h,
                                           i % g->out_w + t % 3 - g->pad_w, c));
            check_expect(&taps, at, &sum, false, FACTOR);
        }
    check_case c = {k, call_gradient, &w, &taps, 18.0 * (double)(2 * pixels * channels), channels == 64};
    check_call(&c, "F(%dx%d), padding %d, %d channels, input, diff and gradient", m, m, variant % 3,
               (int)channels);
}

static void every_channelwise(const check_kernel *k,
                              void (*check)(const check_kernel *k, int m, int64_t channels, int variant))
{
    const int64_t channels[] = {1, k->lanes - 1, k->lanes, k->lanes + 1, 3 * k->lanes, 64};
    int variant = 0;
    for (int m = 2; m <= 4; m += 2)
        for (int64_t c = 0; c < COUNT(channels); c++)
            for (int i = 0; i < (channels[c] == 64 ? 1 : 12); i++) check(k, m, channels[c], variant++);
}

static void check_winograd_tiles(const check_kernel *k) { every_channelwise(k, check_output_tiles); }
static void check_winograd_gradients(const check_kernel *k) { every_channelwise(k, check_gradient_tiles); }

/* ---- whole products */

/* The input pixel that tap t of an output pixel reads, of `same` padding; -1 in the padding. */
static int64_t pixel_read(const conv_problem *p, int64_t pixel, int t)
{
    int64_t size = p->axis[CONV_H].in, y = pixel / size % size + t / 3 - 1, x = pixel % size + t % 3 - 1;
    return y < 0 || y >= size || x < 0 || x >= size ? -1 : (pixel / size / size * size + y) * size + x;
}

typedef struct {
    const matrix_product *product;
    product_share share;
} product_call;

static void call_product(const void *call)
{
    const product_call *c = call;
    c->product->run(c->product, &c->share);
}

typedef struct {
    const wgrad *wgrad;
    wgrad_share share;
} wgrad_call;

static void call_wgrad(const void *call)
{
    const wgrad_call *c = call;
    c->wgrad->run(c->wgrad, &c->share);
}

static void check_product(const check_kernel *k, const conv_problem *p, bool backward, bool timed)
{
    matrix_product *product = plan_product(k->functions, p, backward);
    int64_t pixels = p->mb * p->axis[CONV_H].in * p->axis[CONV_W].in;
    int64_t inputs = backward ? p->oc : p->ic, outputs = backward ? p->ic : p->oc;
    const float *weights = check_reals(TAPS * p->ic * p->oc), *in = check_reals(pixels * inputs);
    float *packed = check_reals((int64_t)product->packed_floats);
    product->pack(product, weights, packed, 1);
    check_output out = check_untouched(pixels * outputs);
    product_call call = {product,
                         {.in = in,
                          .packed = packed,
                          .bias = backward ? NULL : check_reals(outputs),
                          .clip = backward || p->ic % 2 == 0 ? 0
                                  : p->ic % 3 == 0           ? INFINITY
                                                             : 0.5F,
                          .out = out.got,
                          .scratch = check_reals((int64_t)product->common_floats),
                          .threads = 1}};
    for (int64_t i = 0; i < out.count; i++) {
        check_sum sum = check_start(&out, i, false);
        int64_t n = i % outputs;
        if (!backward) check_add(&sum, (double)call.share.bias[n]);
        for (int t = 0; t < TAPS; t++) {
            int64_t pixel = pixel_read(p, i / outputs, backward ? TAPS - 1 - t : t);
            for (int64_t c = 0; pixel >= 0 && c < inputs; c++)
                check_add(&sum,
                          (double)in[pixel * inputs + c] *
                              weights[backward ? (t * p->ic + n) * p->oc + c : (t * p->ic + c) * p->oc + n]);
        }
        check_expect(&out, i, &sum, call.share.clip, FACTOR);
    }
    check_case c = {k, call_product, &call, &out, 18.0 * (double)(pixels * p->ic * p->oc), timed};
    check_call(&c, "%s, %d images %dx%d, %d x %d channels", backward ? "backward_data" : "forward", (int)p->mb,
               (int)p->axis[CONV_H].in, (int)p->axis[CONV_W].in, (int)p->ic, (int)p->oc);
    product->release(product);
}

static void check_wgrad(const check_kernel *k, const conv_problem *p, bool timed)
{
    const winograd_functions *f = k->functions;
    wgrad *w = f->wgrad_plan(p, &(conv_context){.threads = 1, .l2 = 256 << 10, .l3 = 1 << 30});
    assert_non_null(w);
    int64_t pixels = p->mb * p->axis[CONV_H].in * p->axis[CONV_W].in;
    const float *src = check_reals(pixels * p->ic), *diff_dst = check_reals(pixels * p->oc);
    check_output sums = check_untouched(TAPS * p->ic * p->oc);
    wgrad_call call = {w,
                       {.src = src,
                        .diff_dst = diff_dst,
                        .diff_weights = sums.got,
                        .accumulate = p->ic % 2 == 1,
                        .scratch = check_reals((int64_t)w->common_floats),
                        .threads = 1}};
    for (int64_t i = 0; i < sums.count; i++) {
        check_sum sum = check_start(&sums, i, call.share.accumulate);
        for (int64_t o = 0; o < pixels; o++) {
            int64_t pixel = pixel_read(p, o, (int)(i / p->oc / p->ic));
            if (pixel >= 0)
                check_add(&sum,
                          (double)src[pixel * p->ic + i / p->oc % p->ic] * diff_dst[o * p->oc + i % p->oc]);
        }
        check_expect(&sums, i, &sum, false, FACTOR);
    }
    check_case c = {k, call_wgrad, &call, &sums, 18.0 * (double)(pixels * p->ic * p->oc), timed};
    check_call(&c, "backward_weights, %d images %dx%d, %d x %d channels", (int)p->mb, (int)p->axis[CONV_H].in,
               (int)p->axis[CONV_W].in, (int)p->ic, (int)p->oc);
    free(w);
}

static void check_winograd_products(const check_kernel *k)
{
    static const int64_t shapes[][4] = {{2, 16, 5, 17}, {1, 17, 7, 40}, {3, 33, 8, 16}, {1, 64, 14, 64}};
    for (int64_t i = 0; i < COUNT(shapes); i++) {
        conv_problem p = make_problem(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3]);
        bool timed = i == COUNT(shapes) - 1;
        check_product(k, &p, false, timed);
        check_product(k, &p, true, timed);
        check_wgrad(k, &p, timed);
    }
}

/* ---- the family */

#define FUNCTIONS(isa)                                                                                         \
    {                                                                                                          \
        winograd_cut##isa, winograd_input##isa, winograd_diff##isa, winograd_output##isa,                      \
            winograd_gradient##isa, winograd_product_plan##isa, winograd_wgrad_plan##isa                       \
    }
static const winograd_functions avx2 = FUNCTIONS(_avx2), avx512 = FUNCTIONS(_avx512);

static const check_entry entries[] = {{"winograd_tiles", check_winograd_tiles},
                                      {"winograd_gradients", check_winograd_gradients},
                                      {"winograd_products", check_winograd_products}};
const check_family check_winograd = {entries,
                                     COUNT(entries),
                                     {[CPU_AVX2] = {&avx2, (void (*)(void))winograd_cut_avx2},
                                      [CPU_AVX512] = {&avx512, (void (*)(void))winograd_cut_avx512}}};
