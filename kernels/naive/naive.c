/* The specification in code: plain loops, one thread, nothing blocked, refuses nothing.
 *
 * Every convolution is a sum over (output position, tap, input channel, output channel) of products; the three
 * passes walk the same triples (x, w, y) and differ in which of the three accumulates:
 *
 *   forward            dst[y]          += src[x]      * weights[w]
 *   backward_data      diff_src[x]     += diff_dst[y] * weights[w]
 *   backward_weights   diff_weights[w] += diff_dst[y] * src[x]
 *
 * In Keras's weight order a depthwise convolution is a dense one with as many groups as channels, and a
 * pointwise one has a single tap, so one set of loops is all three. */
#include <string.h>

#include "../compose.h"
#include "../plan.h"
#include "../work.h"

/* How far apart neighbours along an axis lie in an activation tensor, in floats. */
typedef struct {
    int64_t image, d, h, w, channel;
} strides;

static strides strides_of(const conv_problem *p, int64_t channels, int64_t depth, int64_t height, int64_t width)
{
    if (p->layout == CONV_NHWC)
        return (strides){depth * height * width * channels, height * width * channels, width * channels,
                         channels, 1};
    int64_t plane = height * width;
    return (strides){channels * depth * plane, plane, width, 1, depth * plane};
}

static strides src_strides(const conv_problem *p)
{
    return strides_of(p, p->ic, p->axis[CONV_D].in, p->axis[CONV_H].in, p->axis[CONV_W].in);
}

static strides dst_strides(const conv_problem *p)
{
    return strides_of(p, p->oc, conv_out(&p->axis[CONV_D]), conv_out(&p->axis[CONV_H]),
                      conv_out(&p->axis[CONV_W]));
}

/* One output position and one tap that meet on a real source element (padding contributes nothing). */
typedef struct {
    int64_t src, dst; /* offset of channel 0 of both positions */
    int64_t weights;  /* offset of [tap][0][0] */
} meeting;

/* The source index that tap reads for output position out; false in the padding. */
static bool source(const conv_axis *a, int64_t out, int64_t tap, int64_t *in)
{
    *in = out * a->stride - a->pad_before + tap * a->dilation;
    return *in >= 0 && *in < a->in;
}

typedef void at_meeting(const conv_problem *p, const conv_args *args, meeting m, int64_t src_channel,
                        int64_t dst_channel);

/* Calls visit for every output position and tap that meet, with the distances between channels. */
static void for_each_meeting(const conv_problem *p, const conv_args *args, at_meeting *visit)
{
    const conv_axis *ad = &p->axis[CONV_D], *ah = &p->axis[CONV_H], *aw = &p->axis[CONV_W];
    strides s = src_strides(p), t = dst_strides(p);
    int64_t per_tap = p->ic / p->groups * p->oc, id, ih, iw;
    for (int64_t n = 0; n < p->mb; n++)
        for (int64_t od = 0; od < conv_out(ad); od++)
            for (int64_t oh = 0; oh < conv_out(ah); oh++)
                for (int64_t ow = 0; ow < conv_out(aw); ow++)
                    for (int64_t kd = 0; kd < ad->kernel; kd++)
                        for (int64_t kh = 0; kh < ah->kernel; kh++)
                            for (int64_t kw = 0; kw < aw->kernel; kw++) {
                                if (!source(ad, od, kd, &id) || !source(ah, oh, kh, &ih) ||
                                    !source(aw, ow, kw, &iw))
                                    continue;
                                meeting m = {n * s.image + id * s.d + ih * s.h + iw * s.w,
                                             n * t.image + od * t.d + oh * t.h + ow * t.w,
                                             ((kd * ah->kernel + kh) * aw->kernel + kw) * per_tap};
                                visit(p, args, m, s.channel, t.channel);
                            }
}

/* ---- what happens where a position and a tap meet: every input channel with every output channel */

static void add_to_dst(const conv_problem *p, const conv_args *args, meeting m, int64_t src_channel,
                       int64_t dst_channel)
{
    int64_t inputs = p->ic / p->groups, outputs = p->oc / p->groups;
    for (int64_t g = 0; g < p->groups; g++)
        for (int64_t c = 0; c < inputs; c++) {
            float x = args->src[m.src + (g * inputs + c) * src_channel];
            const float *w = args->weights + m.weights + c * p->oc + g * outputs;
            float *y = args->dst + m.dst + g * outputs * dst_channel;
            for (int64_t o = 0; o < outputs; o++) y[o * dst_channel] += x * w[o];
        }
}

/* diff_dst before the post-op, which passes a gradient on only where it has not clipped. */
static float gradient(const conv_problem *p, const conv_args *args, int64_t y)
{
    return p->post_op == CONV_POST_NONE || conv_passes(p->post_op, args->dst[y]) ? args->diff_dst[y] : 0;
}

static void add_to_diff_src(const conv_problem *p, const conv_args *args, meeting m, int64_t src_channel,
                            int64_t dst_channel)
{
    int64_t inputs = p->ic / p->groups, outputs = p->oc / p->groups;
    for (int64_t g = 0; g < p->groups; g++)
        for (int64_t c = 0; c < inputs; c++) {
            const float *w = args->weights + m.weights + c * p->oc + g * outputs;
            float x = 0;
            for (int64_t o = 0; o < outputs; o++)
                x += gradient(p, args, m.dst + (g * outputs + o) * dst_channel) * w[o];
            args->diff_src[m.src + (g * inputs + c) * src_channel] += x;
        }
}

static void add_to_diff_weights(const conv_problem *p, const conv_args *args, meeting m, int64_t src_channel,
                                int64_t dst_channel)
{
    int64_t inputs = p->ic / p->groups, outputs = p->oc / p->groups;
    for (int64_t g = 0; g < p->groups; g++)
        for (int64_t c = 0; c < inputs; c++) {
            float x = args->src[m.src + (g * inputs + c) * src_channel];
            float *w = args->diff_weights + m.weights + c * p->oc + g * outputs;
            for (int64_t o = 0; o < outputs; o++)
                w[o] += gradient(p, args, m.dst + (g * outputs + o) * dst_channel) * x;
        }
}

/* ---- the passes */

static void forward(const conv_problem *p, const conv_args *args)
{
    int64_t count = conv_problem_sizes(p).dst, channel = dst_strides(p).channel;
    for (int64_t y = 0; y < count; y++) args->dst[y] = p->bias ? args->bias[y / channel % p->oc] : 0;
    for_each_meeting(p, args, add_to_dst);
    if (p->post_op == CONV_POST_NONE) return;
    for (int64_t y = 0; y < count; y++) args->dst[y] = conv_clipped(args->dst[y], conv_clip(p->post_op));
}

static void backward_data(const conv_problem *p, const conv_args *args)
{
    memset(args->diff_src, 0, (size_t)conv_problem_sizes(p).src * sizeof(float));
    for_each_meeting(p, args, add_to_diff_src);
}

static void backward_weights(const conv_problem *p, const conv_args *args)
{
    conv_sizes sizes = conv_problem_sizes(p);
    if (!args->accumulate) memset(args->diff_weights, 0, (size_t)sizes.weights * sizeof(float));
    for_each_meeting(p, args, add_to_diff_weights);

    if (!p->bias) return;
    int64_t channel = dst_strides(p).channel;
    if (!args->accumulate) memset(args->diff_bias, 0, (size_t)sizes.bias * sizeof(float));
    for (int64_t y = 0; y < sizes.dst; y++) args->diff_bias[y / channel % p->oc] += gradient(p, args, y);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const conv_problem *p = &plan->problem;
    if (plan->pass == CONV_FORWARD) forward(p, args);
    if (conv_data_wanted(plan, args)) backward_data(p, args);
    if (conv_makes_weights(plan->pass)) backward_weights(p, args);
    return CONV_OK;
}

/* At every meeting two elements are read and one is written, in vectors of four at best. */
static void state_work(conv_plan *plan)
{
    const conv_problem *p = &plan->problem;
    bool vectors = p->oc > p->groups && p->layout == CONV_NHWC;
    conv_work *w = &plan->work;
    w->macs = (double)conv_flops(p, plan->pass) / 2;
    w->loads = 2 * w->macs / (vectors ? 4 : 1);
    w->stores = w->macs / (vectors ? 4 : 1);
    w->busiest = plan->context.threads;
    work_read(w, (double)conv_bytes_min(p, plan->pass), CONV_EACH_CALL);
    work_finish(plan, 0, 0);
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    *out = conv_plan_new(sizeof **out, self, p, pass, ctx);
    if (*out == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    state_work(*out);
    return CONV_OK;
}

#define COMMON                                                                                                 \
    .name = "naive", .isa = CPU_BASE, .single_thread = true, .layouts = 1u << CONV_NHWC | 1u << CONV_NCHW
#define LOOPS(which)                                                                                           \
    {                                                                                                          \
        COMMON, .variant = (which), .summary = "plain loops, one thread: the specification in code",           \
                .plan = plan, .execute = execute                                                               \
    }

static const conv_impl dense = LOOPS(CONV_DENSE), depthwise = LOOPS(CONV_DEPTHWISE),
                       pointwise = LOOPS(CONV_POINTWISE);
static const conv_impl separable = {COMPOSE(&depthwise, &pointwise), COMMON,
                                    .summary = "naive depthwise, then naive pointwise"};

extern const conv_impl *const naive_impls[CONV_VARIANT_COUNT];
const conv_impl *const naive_impls[CONV_VARIANT_COUNT] = {&dense, &depthwise, &pointwise, &separable};
