/* The depthwise kernels: convolve_any and gradient_any over kernels, strides, dilations and paddings of every
 * kind; the stencil3 kernels over widths around their tiles and rows in the padding. */
#include <stdio.h>

#include "check.h"
#include "support.h"

#include "../kernels/simd/depthwise/kernels.h"

CHECK_COPIES(convolve_any);
CHECK_COPIES(gradient_any);
CHECK_COPIES(stencil3_convolve);
CHECK_COPIES(stencil3_gradient2);
CHECK_COPIES(stencil3_gradient4);
CHECK_COPIES(axis_sweeps_build);
CHECK_COPIES(axis_sweeps_free);

typedef struct {
    __typeof__(&convolve_any) convolve_any;
    __typeof__(&gradient_any) gradient_any;
    __typeof__(&stencil3_convolve) stencil3_convolve;
    __typeof__(&stencil3_gradient2) stencil3_gradient2;
    __typeof__(&stencil3_gradient4) stencil3_gradient4;
    __typeof__(&axis_sweeps_build) build;
    __typeof__(&axis_sweeps_free) release;
} depthwise_functions;

/* ---- rows of images and kernels, and what they make of each other */

enum { MOST_ROWS = 14, GAP = 5 };

/* A block of channels of rows: row r of `count`, pixel or tap i, channel c at row[r][i*step + c]. */
typedef struct {
    const float *row[MOST_ROWS]; /* NULL: padding */
    int64_t count, step;
} rows;

static rows make_rows(int64_t count, int64_t length, int64_t step)
{
    rows r = {.count = count, .step = step};
    const float *data = check_reals(count * length * step);
    for (int64_t i = 0; i < count; i++) r.row[i] = data + i * length * step;
    return r;
}

/* Whether tap k is between source pixel s and output pixel d of an axis. */
static bool tap_joins(const conv_axis *a, int64_t s, int64_t d, int64_t k)
{
    return s == d * a->stride - a->pad_before + k * a->dilation;
}

/* One row of outputs [x][dst_pixel] from input rows and the kernel rows that meet them. */
typedef struct {
    const conv_axis *axis;
    bool backward;
    const rows *in, *weights;
    int64_t first, count; /* input rows; the first of them meets the first kernel row */
    int64_t channels, pixel;
    const float *bias;
    float clip;
} convolution;

static void expect_row(const convolution *v, check_output *out, int64_t at)
{
    int64_t inputs = axis_inputs(v->axis, v->backward), outputs = axis_outputs(v->axis, v->backward);
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t c = 0; c < v->channels; c++) {
            check_sum sum = check_start(out, at + o * v->pixel + c, false);
            if (v->bias != NULL) check_add(&sum, (double)v->bias[c]);
            for (int64_t r = 0; r < v->count; r++) {
                const float *in = v->in->row[v->first + r], *w = v->weights->row[r];
                for (int64_t i = 0; in != NULL && i < inputs; i++)
                    for (int64_t k = 0; k < v->axis->kernel; k++)
                        if (tap_joins(v->axis, v->backward ? o : i, v->backward ? i : o, k))
                            check_add(&sum, (double)in[i * v->in->step + c] * w[k * v->weights->step + c]);
            }
            check_expect(out, at + o * v->pixel + c, &sum, v->clip, 1);
        }
}

/* One kernel row's gradient [tap][w_tap], over `count` rows of outputs and the source row that each meets. */
static void expect_gradient(const conv_axis *a, const rows *src, int64_t first_src, const rows *diff,
                            int64_t first_diff, int64_t count, int64_t channels, check_output *sums, int64_t at,
                            int64_t w_tap)
{
    for (int64_t k = 0; k < a->kernel; k++)
        for (int64_t c = 0; c < channels; c++) {
            check_sum sum = check_start(sums, at + k * w_tap + c, true);
            for (int64_t r = 0; r < count; r++) {
                const float *in = src->row[first_src + r], *d = diff->row[first_diff + r];
                for (int64_t s = 0; in != NULL && s < a->in; s++)
                    for (int64_t o = 0; o < conv_out(a); o++)
                        if (tap_joins(a, s, o, k))
                            check_add(&sum, (double)in[s * src->step + c] * d[o * diff->step + c]);
            }
            check_expect(sums, at + k * w_tap + c, &sum, false, 1);
        }
}

/* Multiply-adds of a row: taps that fall on inputs. */
static double row_flops(const conv_axis *a, int64_t rows_met, int64_t channels)
{
    return 2.0 * (double)(conv_real_taps(a) * rows_met * channels);
}

/* ---- calls */

typedef struct {
    const depthwise_functions *functions;
    axis_sweeps x;
    const void *args;
} row_call;

#define ROW_CALL(kernel)                                                                                       \
    static void call_##kernel(const void *args)                                                                \
    {                                                                                                          \
        const row_call *call = args;                                                                           \
        call->functions->kernel(&call->x, call->args);                                                         \
    }
ROW_CALL(convolve_any)
ROW_CALL(gradient_any)
ROW_CALL(stencil3_convolve)
ROW_CALL(stencil3_gradient2)
ROW_CALL(stencil3_gradient4)

static row_call make_call(const check_kernel *k, const conv_axis *a, bool backward, const void *args)
{
    row_call call = {.functions = k->functions, .args = args};
    assert_true(call.functions->build(a, backward, &call.x));
    return call;
}

typedef void each_axis(const check_kernel *k, const conv_axis *a, int variant);

/* ---- any kernel, one row */

static int64_t channel_count(const check_kernel *k, int variant)
{
    const int64_t counts[] = {k->lanes + 1, 1, k->lanes, 2 * k->lanes + 3, k->lanes - 1};
    return counts[variant % COUNT(counts)];
}

/* Every kernel, stride, dilation and padding, over widths around a tile. */
static void any_axes(const check_kernel *k, each_axis *check)
{
    static const int64_t kernels[] = {1, 2, 3, 5, 7, 9};
    int variant = 0;
    for (int64_t i = 0; i < COUNT(kernels); i++)
        for (int64_t stride = 1; stride <= 3; stride++)
            for (int64_t dilation = 1; dilation <= 2; dilation++)
                for (int64_t in = 1; in <= 26; in += in < 18 ? 1 : 4) {
                    conv_axis a = {.in = in, .kernel = kernels[i], .stride = stride, .dilation = dilation};
                    a.pad_before = variant % (kernels[i] + 1);
                    a.pad_after = kernels[i] / 2 - variant % 2;
                    if (conv_out(&a) > 0) check(k, &a, variant++);
                }
    check(k, &(conv_axis){.in = 28, .kernel = 3, .stride = 1, .dilation = 1, .pad_before = 1, .pad_after = 1},
          -1);
    check(k, &(conv_axis){.in = 28, .kernel = 5, .stride = 2, .dilation = 1, .pad_before = 2, .pad_after = 2},
          -1);
}

static const char *axis_words(const conv_axis *a)
{
    static char text[96];
    snprintf(text, sizeof text, "i%lld k%lld s%lld d%lld p%lld,%lld", (long long)a->in, (long long)a->kernel,
             (long long)a->stride, (long long)a->dilation - 1, (long long)a->pad_before,
             (long long)a->pad_after);
    return text;
}

static void check_convolve_any_axis(const check_kernel *k, const conv_axis *a, int variant)
{
    bool timed = variant < 0, backward = variant % 2 == 1;
    if (timed) variant = 2;
    int64_t channels = timed ? 64 : channel_count(k, variant), count = timed ? a->kernel : variant % 4;
    rows in = make_rows(count + 1, axis_inputs(a, backward), channels + GAP);
    rows weights = make_rows(count + 1, a->kernel, channels + 2 * GAP);
    convolution v = {.axis = a,
                     .backward = backward,
                     .in = &in,
                     .weights = &weights,
                     .count = count,
                     .channels = channels,
                     .pixel = channels + 1,
                     .bias = variant % 3 == 0 ? check_reals(channels) : NULL,
                     .clip = check_clip(variant)};
    check_output out = check_untouched(axis_outputs(a, backward) * v.pixel);
    expect_row(&v, &out, 0);
    convolve_any_args args = {.src = in.row,
                              .weights = weights.row,
                              .rows = count,
                              .src_pixel = in.step,
                              .w_tap = weights.step,
                              .dst_pixel = v.pixel,
                              .dst = out.got,
                              .channels = channels,
                              .x1 = axis_outputs(a, backward),
                              .bias = v.bias,
                              .clip = v.clip};
    row_call call = make_call(k, a, backward, &args);
    check_case c = {k, call_convolve_any, &call, &out, row_flops(a, count, channels), timed};
    check_call(&c, "%s%s, %lld rows, %lld channels", backward ? "backward " : "", axis_words(a),
               (long long)count, (long long)channels);
    call.functions->release(&call.x);
}

static void check_gradient_any_axis(const check_kernel *k, const conv_axis *a, int variant)
{
    bool timed = variant < 0;
    if (timed) variant = 2;
    int64_t channels = timed ? 64 : channel_count(k, variant), count = timed ? a->kernel : variant % 5;
    int64_t w_tap = channels + GAP;
    rows src = make_rows(count + 1, a->in, channels + 1), diff = make_rows(1, conv_out(a), channels + 2);
    check_output sums = check_untouched((count + 1) * a->kernel * w_tap);
    float *kernel_rows[MOST_ROWS];
    for (int64_t r = 0; r < count; r++) {
        kernel_rows[r] = sums.got + r * a->kernel * w_tap;
        expect_gradient(a, &src, r, &diff, 0, 1, channels, &sums, r * a->kernel * w_tap, w_tap);
    }
    gradient_any_args args = {.src = src.row,
                              .sums = kernel_rows,
                              .rows = count,
                              .diff_dst = diff.row[0],
                              .src_pixel = src.step,
                              .w_tap = w_tap,
                              .dst_pixel = diff.step,
                              .channels = channels,
                              .x1 = conv_out(a)};
    row_call call = make_call(k, a, false, &args);
    check_case c = {k, call_gradient_any, &call, &sums, row_flops(a, count, channels), timed};
    check_call(&c, "%s, %lld rows, %lld channels", axis_words(a), (long long)count, (long long)channels);
    call.functions->release(&call.x);
}

static void check_convolve_any(const check_kernel *k) { any_axes(k, check_convolve_any_axis); }
static void check_gradient_any(const check_kernel *k) { any_axes(k, check_gradient_any_axis); }

/* ---- stencil3: several rows of outputs */

/* Widths around two tiles of any instruction set, with every padding that leaves an output; a variant's bits
 * say which rows are padding. */
static void stencil3_axes(const check_kernel *k, each_axis *check)
{
    int variant = 0;
    for (int64_t in = 1; in <= 17; in++)
        for (int64_t before = 0; before <= 2; before++)
            for (int64_t after = 0; after <= 2; after++)
                for (int row = 0; row < 9; row++) {
                    conv_axis a = {in, 3, 1, 1, before, after};
                    if (conv_out(&a) > 0) check(k, &a, variant++);
                }
    check(k, &(conv_axis){28, 3, 1, 1, 1, 1}, -1);
}

/* Of four source rows those that are padding, a bit each. */
static int padding_rows(int variant)
{
    static const int rows[] = {0, 0, 1, 8, 9, 3, 12, 7, 14};
    return rows[variant % COUNT(rows)];
}

static void check_stencil3_convolve_axis(const check_kernel *k, const conv_axis *a, int variant)
{
    bool timed = variant < 0, backward = !timed && variant / 2 % 2 == 1, ahead = variant % 7 == 6;
    if (timed) variant = 0;
    int64_t counts[] = {k->lanes, 2 * k->lanes, 3 * k->lanes - 1, k->lanes + 1};
    int64_t channels = timed ? 64 : counts[variant % COUNT(counts)];
    bool stream = ahead && channels % k->lanes == 0, row_options = !timed && variant % 3 != 0;
    int64_t outputs = axis_outputs(a, backward), gap = ahead ? 0 : GAP;
    rows in = make_rows(4, axis_inputs(a, backward), channels + gap), weights = make_rows(3, 3, channels + 1);
    for (int r = 0; r < 4; r++)
        if (padding_rows(variant) >> r & 1) in.row[r] = NULL;
    convolution v = {.axis = a,
                     .backward = backward,
                     .in = &in,
                     .weights = &weights,
                     .count = 3,
                     .channels = channels,
                     .pixel = channels + gap,
                     .bias = row_options ? check_reals(channels) : NULL,
                     .clip = row_options ? check_clip(variant) : 0};
    check_output out = check_untouched(2 * outputs * v.pixel);
    for (v.first = 0; v.first < 2; v.first++) expect_row(&v, &out, v.first * outputs * v.pixel);
    stencil3_convolve_args args = {.src = {in.row[0], in.row[1], in.row[2], in.row[3]},
                                   .weights = {weights.row[0], weights.row[1], weights.row[2]},
                                   .src_pixel = in.step,
                                   .w_tap = weights.step,
                                   .dst_pixel = v.pixel,
                                   .dst = {out.got, out.got + outputs * v.pixel},
                                   .channels = channels,
                                   .bias = v.bias,
                                   .clip = v.clip,
                                   .ahead = ahead,
                                   .stream = stream};
    row_call call = make_call(k, a, backward, &args);
    check_case c = {k, call_stencil3_convolve, &call, &out, 2 * row_flops(a, 3, channels), timed};
    check_call(&c, "%s%s, padding rows %x, %lld channels", backward ? "backward " : "", axis_words(a),
               (unsigned)padding_rows(variant), (long long)channels);
    call.functions->release(&call.x);
}

/* The gradient of all three kernel rows from `count` rows of diff_dst. */
static check_output expect_stencil3(const conv_axis *a, const rows *src, const rows *diff, int64_t channels,
                                    int64_t w_tap)
{
    check_output sums = check_untouched(9 * w_tap);
    for (int64_t r = 0; r < 3; r++)
        expect_gradient(a, src, r, diff, 0, diff->count, channels, &sums, 3 * r * w_tap, w_tap);
    return sums;
}

static void check_gradient2_axis(const check_kernel *k, const conv_axis *a, int variant)
{
    bool timed = variant < 0, ahead = variant % 7 == 6;
    if (timed) variant = 0;
    int64_t counts[] = {k->lanes, 2 * k->lanes + 3, k->lanes - 1, 2 * k->lanes};
    int64_t channels = timed ? 64 : counts[variant % COUNT(counts)], gap = ahead ? 0 : GAP,
            w_tap = channels + 2;
    rows src = make_rows(4, a->in, variant % 5 == 4 ? 512 : channels + gap);
    rows diff = make_rows(2, conv_out(a), channels + gap);
    for (int r = 0; r < 4; r++)
        if (padding_rows(variant) >> r & 1) src.row[r] = NULL;
    check_output sums = expect_stencil3(a, &src, &diff, channels, w_tap);
    stencil3_gradient2_args args = {.src = {src.row[0], src.row[1], src.row[2], src.row[3]},
                                    .sums = {sums.got, sums.got + 3 * w_tap, sums.got + 6 * w_tap},
                                    .diff_dst = {diff.row[0], diff.row[1]},
                                    .src_pixel = src.step,
                                    .w_tap = w_tap,
                                    .dst_pixel = diff.step,
                                    .channels = channels,
                                    .by_tile = ahead || variant % 2 == 1,
                                    .ahead = ahead};
    row_call call = make_call(k, a, false, &args);
    check_case c = {k, call_stencil3_gradient2, &call, &sums, 2 * row_flops(a, 3, channels), timed};
    check_call(&c, "%s, padding rows %x, %lld channels", axis_words(a), (unsigned)padding_rows(variant),
               (long long)channels);
    call.functions->release(&call.x);
}

static void check_gradient4_axis(const check_kernel *k, const conv_axis *a, int variant)
{
    bool timed = variant < 0, head = !timed && variant % 2 == 1, tail = !timed && variant / 2 % 2 == 1;
    if (timed) variant = 1;
    int64_t channels = timed ? 64 : (1 + variant % 3) * k->lanes, bands = 1 + variant % 3, w_tap = channels + 2;
    rows src = make_rows(bands * BAND_ROWS + 2, a->in, channels + variant % 2);
    rows diff = make_rows(bands * BAND_ROWS, conv_out(a), channels + variant % 2);
    if (head) src.row[0] = NULL;
    if (tail) src.row[src.count - 1] = NULL;
    check_output sums = expect_stencil3(a, &src, &diff, channels, w_tap);
    stencil3_gradient4_args args = {.sums = {sums.got, sums.got + 3 * w_tap, sums.got + 6 * w_tap},
                                    .src_pixel = src.step,
                                    .w_tap = w_tap,
                                    .dst_pixel = diff.step,
                                    .channels = channels,
                                    .bands = bands,
                                    .src_row = a->in * src.step,
                                    .dst_row = conv_out(a) * diff.step,
                                    .head = head,
                                    .tail = tail,
                                    .ahead = variant % 5 == 4};
    for (int i = 0; i < BAND_ROWS + 2; i++) args.src[i] = src.row[i];
    for (int i = 0; i < BAND_ROWS; i++) args.diff_dst[i] = diff.row[i];
    row_call call = make_call(k, a, false, &args);
    check_case c = {
        k,    call_stencil3_gradient4, &call, &sums, (double)(bands * BAND_ROWS) * row_flops(a, 3, channels),
        timed};
    check_call(&c, "%s, %lld bands%s%s, %lld channels", axis_words(a), (long long)bands,
               head ? ", padding above" : "", tail ? ", padding below" : "", (long long)channels);
    call.functions->release(&call.x);
}

static void check_stencil3_convolve(const check_kernel *k) { stencil3_axes(k, check_stencil3_convolve_axis); }
static void check_stencil3_gradient2(const check_kernel *k) { stencil3_axes(k, check_gradient2_axis); }
static void check_stencil3_gradient4(const check_kernel *k) { stencil3_axes(k, check_gradient4_axis); }

/* ---- the family */

#define FUNCTIONS(isa)                                                                                         \
    {                                                                                                          \
        convolve_any##isa, gradient_any##isa, stencil3_convolve##isa, stencil3_gradient2##isa,                 \
            stencil3_gradient4##isa, axis_sweeps_build##isa, axis_sweeps_free##isa                             \
    }
static const depthwise_functions avx2 = FUNCTIONS(_avx2), avx512 = FUNCTIONS(_avx512);

static const check_entry entries[] = {{"convolve_any", check_convolve_any},
                                      {"gradient_any", check_gradient_any},
                                      {"stencil3_convolve", check_stencil3_convolve},
                                      {"stencil3_gradient2", check_stencil3_gradient2},
                                      {"stencil3_gradient4", check_stencil3_gradient4}};
const check_family check_depthwise = {entries,
                                      COUNT(entries),
                                      {[CPU_AVX2] = {&avx2, (void (*)(void))convolve_any_avx2},
                                       [CPU_AVX512] = {&avx512, (void (*)(void))convolve_any_avx512}}};
