/* Geometry, counts and argument checks of the contract. The registry is in registry.c, the layout
 * transpose for implementations that lack one in transpose.c. */
#include "conv.h"
#include "strategy.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef INJECT
#include "inject/inject.h"
#endif
#include "transpose.h"

static const char *const variant_names[] = {"dense", "depthwise", "pointwise", "separable"};
static const char *const pass_names[] = {"forward", "backward", "backward_data", "backward_weights"};
static const char *const layout_names[] = {"nhwc", "nchw"};
static const char *const post_op_names[] = {"none", "relu", "relu6"};

/* The place of a name among others, or -1. */
static int place_of(const char *name, const char *const *names, int count)
{
    while (count > 0 && strcmp(name, names[count - 1]) != 0) count--;
    return count - 1;
}

const char *conv_variant_name(conv_variant v) { return variant_names[v]; }
const char *conv_pass_name(conv_pass p) { return pass_names[p]; }
const char *conv_layout_name(conv_layout l) { return layout_names[l]; }
const char *conv_post_op_name(conv_post_op o) { return post_op_names[o]; }
const char *conv_post_op_word(conv_post_op o) { return o == CONV_POST_NONE ? "" : post_op_names[o]; }

bool conv_variant_parse(const char *name, conv_variant *v)
{
    int place = place_of(name, variant_names, CONV_VARIANT_COUNT);
    if (place >= 0) *v = (conv_variant)place;
    return place >= 0;
}

bool conv_pass_parse(const char *name, conv_pass *p)
{
    int place = place_of(name, pass_names, CONV_PASS_COUNT);
    if (place >= 0) *p = (conv_pass)place;
    return place >= 0;
}

bool conv_layout_parse(const char *name, conv_layout *l)
{
    int place = place_of(name, layout_names, CONV_LAYOUT_COUNT);
    if (place >= 0) *l = (conv_layout)place;
    return place >= 0;
}

bool conv_post_op_parse(const char *name, conv_post_op *o)
{
    int place = place_of(name, post_op_names, CONV_POST_COUNT);
    if (place >= 0) *o = (conv_post_op)place;
    return place >= 0;
}

conv_status conv_fail(conv_error *err, conv_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return status;
}

/* ---- geometry */

int64_t conv_effective_kernel(const conv_axis *a) { return (a->kernel - 1) * a->dilation + 1; }

int64_t conv_out(const conv_axis *a)
{
    int64_t room = a->in + a->pad_before + a->pad_after - conv_effective_kernel(a);
    return room < 0 ? 0 : room / a->stride + 1;
}

/* The sum of floor((a*i + b) / m) over i from 0 to n - 1, all of them >= 0 and m > 0, in as many steps as
 * Euclid's algorithm takes for a and m: what is left after whole multiples of m are counted are the points
 * under a line, which are counted again with the axes exchanged. (R. L. Graham, D. E. Knuth, O. Patashnik,
 * Concrete Mathematics, 3.5) */
static int64_t sum_of_floors(int64_t n, int64_t m, int64_t a, int64_t b)
{
    int64_t sum = 0;
    while (n > 0) {
        sum += n * (n - 1) / 2 * (a / m) + n * (b / m);
        int64_t highest = a % m * n + b % m, divisor = a % m;
        n = highest / m;
        b = highest % m;
        a = m;
        m = divisor;
    }
    return sum;
}

/* Of the taps k of all outputs o, those whose o*stride + k*dilation is below `limit`. */
static int64_t taps_below(const conv_axis *a, int64_t out, int64_t limit)
{
    if (limit <= 0) return 0;
    int64_t last = limit - 1; /* the largest sum counted */
    int64_t taps = last / a->dilation + 1, whole = last - (out - 1) * a->stride;
    whole = whole < 0 ? 0 : whole / a->dilation + 1; /* taps for which every output counts */
    if (taps > a->kernel) taps = a->kernel;
    if (whole > taps) whole = taps;
    int64_t rest = taps - whole; /* of the others tap k has (last - k*dilation) / stride + 1 outputs */
    int64_t least = rest > 0 ? last - (taps - 1) * a->dilation : 0;
    return whole * out + rest + sum_of_floors(rest, a->stride, a->dilation, least);
}

int64_t conv_needed_pad_after(const conv_axis *a)
{
    return (conv_out(a) - 1) * a->stride + conv_effective_kernel(a) - a->in - a->pad_before;
}

/* Tap k of output o reads o*stride + k*dilation - pad, which must lie in [0, in). */
int64_t conv_real_taps(const conv_axis *a)
{
    int64_t out = conv_out(a);
    return taps_below(a, out, a->pad_before + a->in) - taps_below(a, out, a->pad_before);
}

void conv_pad_same(conv_axis *a)
{
    int64_t total = ((a->in + a->stride - 1) / a->stride - 1) * a->stride + conv_effective_kernel(a) - a->in;
    if (total < 0) total = 0;
    a->pad_before = total / 2;
    a->pad_after = total - total / 2;
}

enum { SIZE_LIMIT_BITS = 62 };

/* False when the product does not fit; *value is then undefined. */
static bool times(int64_t *value, int64_t factor)
{
    return !__builtin_mul_overflow(*value, factor, value) && *value < (INT64_C(1) << SIZE_LIMIT_BITS);
}

static conv_status check_axis(const conv_problem *p, int i, conv_error *err)
{
    static const char letters[] = "dhw";
    static const int64_t most = INT64_C(1) << 31;
    const conv_axis *a = &p->axis[i];
    const struct {
        const char *what;
        int64_t value, least;
    } fields[] = {{"input size i", a->in, 1},
                  {"kernel size k", a->kernel, 1},
                  {"stride s", a->stride, 1},
                  {"dilation d", a->dilation, 1},
                  {"padding before p", a->pad_before, 0},
                  {"padding after p", a->pad_after, -most}};
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        if (fields[f].value < fields[f].least || fields[f].value > most)
            return conv_fail(err, fields[f].value > most ? CONV_NO_MEMORY : CONV_INVALID,
                             "%s%c is %lld: must be between %lld and 2^31", fields[f].what, letters[i],
                             (long long)fields[f].value, (long long)fields[f].least);
    if (conv_out(a) < 1)
        return conv_fail(err, CONV_INVALID,
                         "no output along %c: input %lld with padding %lld+%lld is smaller "
                         "than the kernel's extent %lld",
                         letters[i], (long long)a->in, (long long)a->pad_before, (long long)a->pad_after,
                         (long long)conv_effective_kernel(a));
    if (CONV_AXES - i > p->rank &&
        (a->in != 1 || a->kernel != 1 || a->stride != 1 || a->pad_before != 0 || a->pad_after != 0))
        return conv_fail(err, CONV_INVALID, "axis %c of a rank %d problem must be 1 everywhere", letters[i],
                         p->rank);
    return CONV_OK;
}

static conv_status check_channels(const conv_problem *p, conv_error *err)
{
    const struct {
        const char *what;
        int64_t value;
    } fields[] = {{"minibatch mb", p->mb},
                  {"input channels ic", p->ic},
                  {"output channels oc", p->oc},
                  {"groups g", p->groups},
                  {"depth multiplier dm", p->depth_multiplier}};
    /* What is no such problem at all comes before what is too large. */
    if ((p->variant == CONV_DENSE || p->variant == CONV_POINTWISE) && p->depth_multiplier != 1)
        return conv_fail(err, CONV_INVALID, "depth multiplier dm %lld: only depthwise and separable have one",
                         (long long)p->depth_multiplier);
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        if (fields[f].value < 1 || fields[f].value > INT32_MAX)
            return conv_fail(err, fields[f].value < 1 ? CONV_INVALID : CONV_NO_MEMORY,
                             "%s is %lld: must be between 1 and 2^31-1", fields[f].what,
                             (long long)fields[f].value);
    switch (p->variant) {
    case CONV_DENSE:
        if (p->ic % p->groups != 0 || p->oc % p->groups != 0)
            return conv_fail(err, CONV_INVALID, "groups g %lld does not divide ic %lld and oc %lld",
                             (long long)p->groups, (long long)p->ic, (long long)p->oc);
        break;
    case CONV_DEPTHWISE:
        if (p->groups != p->ic || p->oc != p->ic * p->depth_multiplier)
            return conv_fail(err, CONV_INVALID,
                             "depthwise needs g = ic and oc a multiple of ic: g %lld ic %lld oc %lld",
                             (long long)p->groups, (long long)p->ic, (long long)p->oc);
        break;
    default:
        if (p->groups != 1)
            return conv_fail(err, CONV_INVALID, "groups g is %lld: a %s convolution has 1",
                             (long long)p->groups, variant_names[p->variant]);
    }
    return CONV_OK;
}

/* Each tensor, and the FLOPs of the padded problem, must stay below 2^62: then no product of ours overflows. */
static conv_status check_sizes(const conv_problem *p, conv_error *err)
{
    int64_t src = p->mb, dst = p->mb, work = 4 * p->depth_multiplier;
    bool fits = times(&src, p->ic) && times(&dst, p->oc) && times(&dst, p->depth_multiplier);
    for (int i = 0; i < CONV_AXES && fits; i++)
        fits =
            times(&src, p->axis[i].in) && times(&dst, conv_out(&p->axis[i])) && times(&work, p->axis[i].kernel);
    int64_t mid = dst;
    fits = fits && times(&work, p->ic) && times(&work, p->oc) && times(&mid, p->ic);
    for (int i = 0; i < CONV_AXES && fits; i++) fits = times(&work, conv_out(&p->axis[i]));
    if (!fits || !times(&work, p->mb) || !times(&src, 4) || !times(&dst, 4) || !times(&mid, 4))
        return conv_fail(err, CONV_NO_MEMORY, "sizes overflow: a tensor or the FLOPs reach 2^62");
    return CONV_OK;
}

conv_status conv_problem_check(const conv_problem *p, conv_error *err)
{
    if (p->variant < 0 || p->variant >= CONV_VARIANT_COUNT)
        return conv_fail(err, CONV_INVALID, "variant %d is unknown", (int)p->variant);
    if (p->layout < 0 || p->layout >= CONV_LAYOUT_COUNT)
        return conv_fail(err, CONV_INVALID, "layout %d is unknown", (int)p->layout);
    if (p->post_op < 0 || p->post_op >= CONV_POST_COUNT)
        return conv_fail(err, CONV_INVALID, "post-op %d is unknown", (int)p->post_op);
    if (p->rank < 1 || p->rank > CONV_AXES)
        return conv_fail(err, CONV_INVALID, "rank %d: must be 1, 2 or 3", p->rank);
    conv_status status = check_channels(p, err);
    for (int i = 0; i < CONV_AXES && status == CONV_OK; i++) {
        status = check_axis(p, i, err);
        if (status == CONV_OK && p->variant == CONV_POINTWISE && p->axis[i].kernel != 1)
            status = conv_fail(err, CONV_INVALID, "kernel size %lld: a pointwise convolution has 1",
                               (long long)p->axis[i].kernel);
    }
    return status == CONV_OK ? check_sizes(p, err) : status;
}

/* Product over the axes of what f says of each. */
static int64_t over_axes(const conv_problem *p, int64_t (*f)(const conv_axis *))
{
    return f(&p->axis[CONV_D]) * f(&p->axis[CONV_H]) * f(&p->axis[CONV_W]);
}

static int64_t axis_in(const conv_axis *a) { return a->in; }
static int64_t axis_kernel(const conv_axis *a) { return a->kernel; }

int64_t conv_src_pixels(const conv_problem *p) { return over_axes(p, axis_in); }
int64_t conv_dst_pixels(const conv_problem *p) { return over_axes(p, conv_out); }
int64_t conv_taps(const conv_problem *p) { return over_axes(p, axis_kernel); }

/* An axis inside one on which first and last differ is read whole. */
void conv_reach(const conv_problem *p, int64_t first, int64_t last, int64_t *from, int64_t *end)
{
    int64_t low[CONV_AXES], high[CONV_AXES]; /* of first, of last */
    bool one = true;
    for (int i = CONV_AXES - 1; i >= 0; i--) {
        int64_t out = conv_out(&p->axis[i]);
        low[i] = first % out, high[i] = last % out;
        first /= out, last /= out;
    }
    *from = 0, *end = 1;
    for (int i = 0; i < CONV_AXES; i++) {
        const conv_axis *a = &p->axis[i];
        int64_t begin = one ? low[i] * a->stride - a->pad_before : 0;
        int64_t past = one ? high[i] * a->stride - a->pad_before + conv_effective_kernel(a) : a->in;
        begin = begin < 0 ? 0 : begin;
        past = past > a->in ? a->in : past;
        if (begin >= past) {
            *from = *end = 0;
            return;
        }
        one = one && low[i] == high[i];
        *from = *from * a->in + begin;
        *end = (*end - 1) * a->in + past;
    }
}

conv_sizes conv_problem_sizes(const conv_problem *p)
{
    int64_t out = conv_dst_pixels(p), taps = conv_taps(p);
    conv_sizes s = {.src = p->mb * conv_src_pixels(p) * p->ic, .dst = p->mb * out * p->oc, .bias = p->oc};
    switch (p->variant) {
    case CONV_DENSE: s.weights = taps * (p->ic / p->groups) * p->oc; break;
    case CONV_DEPTHWISE: s.weights = taps * p->oc; break;
    case CONV_POINTWISE: s.weights = p->ic * p->oc; break;
    default:
        s.weights = taps * p->ic * p->depth_multiplier;
        s.pointwise = p->ic * p->depth_multiplier * p->oc;
        s.mid = p->mb * out * p->ic * p->depth_multiplier;
    }
    return s;
}

conv_problem conv_depthwise_stage(const conv_problem *p)
{
    conv_problem stage = *p;
    stage.variant = CONV_DEPTHWISE;
    stage.groups = p->ic;
    stage.oc = p->ic * p->depth_multiplier;
    stage.bias = false;
    stage.post_op = CONV_POST_NONE;
    return stage;
}

conv_problem conv_pointwise_stage(const conv_problem *p)
{
    conv_problem stage = *p;
    stage.variant = CONV_POINTWISE;
    stage.ic = p->ic * p->depth_multiplier;
    stage.depth_multiplier = 1;
    for (int i = 0; i < CONV_AXES; i++)
        stage.axis[i] = (conv_axis){.in = conv_out(&p->axis[i]), .kernel = 1, .stride = 1, .dilation = 1};
    return stage;
}

/* ---- counts */

/* Multiply-accumulates of one forward pass, per[axis] being the taps times outputs of that axis. */
static int64_t macs(const conv_problem *p, int64_t (*per)(const conv_axis *))
{
    int64_t taps = p->mb * over_axes(p, per);
    if (p->variant == CONV_SEPARABLE) {
        conv_problem depthwise = conv_depthwise_stage(p), pointwise = conv_pointwise_stage(p);
        return macs(&depthwise, per) + macs(&pointwise, per);
    }
    return taps * p->oc * (p->ic / p->groups);
}

static int64_t all_taps(const conv_axis *a) { return conv_out(a) * a->kernel; }

int64_t conv_flops(const conv_problem *p, conv_pass pass)
{
    int64_t one = 2 * macs(p, conv_real_taps);
    return pass == CONV_BACKWARD ? 2 * one : one;
}

int64_t conv_multiplications(const conv_problem *p) { return macs(p, all_taps); }

int64_t conv_parameters(const conv_problem *p)
{
    conv_sizes s = conv_problem_sizes(p);
    return s.weights + s.pointwise + (p->bias ? s.bias : 0);
}

int64_t conv_bytes_min(const conv_problem *p, conv_pass pass)
{
    conv_sizes s = conv_problem_sizes(p);
    int64_t weights = s.weights + s.pointwise, bias = p->bias ? s.bias : 0;
    int64_t post = p->post_op != CONV_POST_NONE ? s.dst : 0; /* backward reads dst */
    switch (pass) {
    case CONV_FORWARD: return 4 * (s.src + weights + bias + s.dst);
    case CONV_BACKWARD_DATA: return 4 * (s.dst + post + weights + s.src);
    case CONV_BACKWARD_WEIGHTS: return 4 * (s.src + s.dst + post + weights + bias);
    default: return 4 * (2 * s.src + 2 * weights + bias + s.dst + post);
    }
}

/* ---- calls */

cpu_isa conv_isa(const conv_impl *impl) { return impl->peer ? cpu_allowed() : impl->isa; }

conv_problem conv_native(const conv_impl *impl, const conv_problem *p)
{
    return transpose_needed(impl, p) ? transpose_problem(p) : *p;
}

const char *conv_refuse(const conv_impl *impl, const conv_problem *p, conv_pass pass)
{
    if (p->variant != impl->variant) return "another variant";
    if (p->variant == CONV_SEPARABLE && (pass == CONV_BACKWARD_DATA || pass == CONV_BACKWARD_WEIGHTS))
        return "separable has forward and joint backward only";
    conv_problem native = conv_native(impl, p);
    return impl->refuse == NULL ? NULL : impl->refuse(impl, &native, pass);
}

void conv_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                     conv_candidates *candidates)
{
    conv_problem native = conv_native(impl, p);
    strategy_list(impl, &native, pass, ctx, candidates);
}

conv_status conv_plan_create(const conv_impl *impl, const conv_problem *p, conv_pass pass,
                             const conv_context *ctx, conv_plan **plan, conv_error *err)
{
    *plan = NULL;
    conv_status status = conv_problem_check(p, err);
    if (status != CONV_OK) return status;
    if (ctx->threads < 1)
        return conv_fail(err, CONV_INVALID, "threads is %d: must be at least 1", ctx->threads);
    const char *reason = conv_refuse(impl, p, pass);
    if (reason != NULL) return conv_fail(err, CONV_REFUSED, "%s", reason);
    if (transpose_needed(impl, p)) return transpose_plan(impl, p, pass, ctx, plan, err);
    return impl->plan(impl, p, pass, ctx, plan, err);
}

static bool wrapped(const conv_plan *plan) { return transpose_needed(plan->impl, &plan->problem); }

conv_status conv_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    if (wrapped(plan)) return transpose_pack(plan, weights, pointwise, packed);
    return plan->packed_bytes == 0 ? CONV_OK : plan->impl->pack(plan, weights, pointwise, packed);
}

conv_status conv_enter(const conv_plan *plan, const conv_args *args)
{
    return wrapped(plan) || plan->impl->enter == NULL ? CONV_OK : plan->impl->enter(plan, args);
}

conv_status conv_execute(const conv_plan *plan, const conv_args *args)
{
    if (wrapped(plan)) return transpose_execute(plan, args);
#ifdef INJECT
    return inject_execute(plan, args);
#else
    return plan->impl->execute(plan, args);
#endif
}

conv_status conv_leave(const conv_plan *plan, const conv_args *args)
{
    return wrapped(plan) || plan->impl->leave == NULL ? CONV_OK : plan->impl->leave(plan, args);
}

void conv_plan_destroy(conv_plan *plan)
{
    if (plan == NULL) return;
    if (wrapped(plan))
        transpose_destroy(plan);
    else if (plan->impl->destroy != NULL)
        plan->impl->destroy(plan);
    else
        free(plan);
}
