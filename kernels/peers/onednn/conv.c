/* Which primitives the plan of a problem and pass holds, for every oneDNN name.
 *
 *   forward            [enter] convolution (bias inside, the post-op as an eltwise one) [leave]
 *   backward           [enter] the mask by oneDNN's own eltwise backward over dst, then the data and the
 *                      weights primitive on the same masked diff_dst [leave]
 *   separable          the depthwise's primitives, then the pointwise's (backward: the other way round),
 *                      the intermediate and its gradient in whatever layout suits both, never converted back
 *
 * Weights are always in the primitive's own format: pack reorders from Keras's order, which oneDNN sees as its
 * logical dimensions with strides. Their gradients are reordered to Keras's order inside execute, since that
 * is where the user needs them; accumulate adds in that same reorder. Activations are NHWC, or with
 * own_layout what oneDNN prefers, reached through enter and leave.
 * Refuses trailing padding of minus one stride or less, as oneDNN's argument check does. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "onednn.h"

/* A convolution in oneDNN's terms: spatial dimensions last, dilation counted from 0, groups first in weights.
 */
typedef struct {
    int rank;
    dnnl_dims_t stride, dilation, pad_before, pad_after;
    const_dnnl_memory_desc_t src, dst, weights, bias; /* plain: NHWC, Keras's order */
} shape;

/* A plan under construction. */
typedef struct {
    onednn_builder b;
    const onednn_impl *impl;
    bool keep; /* forward keeps what backward reads */
} maker;

/* Keras's [spatial..][IC/G][OC] as strides of ([G,] OC/G, IC/G, spatial..). A depthwise [..][C][M] is the
 * same array with G = C: output channel c*M + m is group c's m-th. */
static bool describe_weights(onednn_builder *b, const conv_problem *p, shape *s)
{
    dnnl_dims_t dims, strides;
    int n = 0;
    int64_t ic = p->ic / p->groups, oc = p->oc / p->groups, stride = ic * p->oc;
    if (p->groups > 1) dims[n] = p->groups, strides[n++] = oc;
    dims[n] = oc, strides[n++] = 1;
    dims[n] = ic, strides[n++] = p->oc;
    for (int i = p->rank - 1; i >= 0; i--) {
        int64_t kernel = p->axis[CONV_AXES - p->rank + i].kernel;
        dims[n + i] = kernel, strides[n + i] = stride;
        stride *= kernel;
    }
    s->weights = onednn_by_strides(b, n + p->rank, dims, strides);
    return s->weights != NULL;
}

/* dims [N, C, spatial..], in memory [N][spatial..][C]. */
static const_dnnl_memory_desc_t channels_last(onednn_builder *b, int rank, const dnnl_dims_t dims)
{
    dnnl_dims_t strides = {[1] = 1};
    dnnl_dim_t stride = dims[1];
    for (int i = rank + 1; i >= 2; i--) strides[i] = stride, stride *= dims[i];
    strides[0] = stride;
    return onednn_by_strides(b, rank + 2, dims, strides);
}

static bool describe(onednn_builder *b, const conv_problem *p, shape *s)
{
    dnnl_dims_t src = {p->mb, p->ic}, dst = {p->mb, p->oc}, bias = {p->oc}, dense = {1};
    s->rank = p->rank;
    for (int i = 0; i < p->rank; i++) {
        const conv_axis *a = &p->axis[CONV_AXES - p->rank + i];
        src[2 + i] = a->in;
        dst[2 + i] = conv_out(a);
        s->stride[i] = a->stride;
        s->dilation[i] = a->dilation - 1;
        s->pad_before[i] = a->pad_before;
        s->pad_after[i] = conv_needed_pad_after(a);
    }
    s->src = channels_last(b, p->rank, src);
    s->dst = channels_last(b, p->rank, dst);
    s->bias = onednn_by_strides(b, 1, bias, dense);
    return describe_weights(b, p, s);
}

/* What a primitive is asked to take: the layout of slot if there is one, else by the name's policy. */
static const_dnnl_memory_desc_t request(maker *m, int slot, const_dnnl_memory_desc_t plain)
{
    if (slot >= 0) return m->b.plan->slot[slot].md;
    return m->impl->own_layout ? onednn_any_layout(&m->b, plain) : plain;
}

/* The descriptor is pd's and goes with it. */
static const_dnnl_memory_desc_t query(dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    return dnnl.primitive_desc_query_md(pd, what, 0);
}

/* ---- primitive descriptors: NULL after a failure */

/* Those of execute's steps, whose scratchpad is the plan's. */
static dnnl_primitive_attr_t attributes(maker *m, conv_post_op post)
{
    return onednn_attributes(&m->b, dnnl_scratchpad_mode_user, post, false);
}

/* oneDNN's jit_1x1 backward_weights (2.6.3) gathers a strided src of NHWC channels into scratchpad in whole
 * vectors and, with channels that fill none, writes beyond its end (found by tests/test_random.c). */
static bool overruns(const conv_problem *p, dnnl_primitive_desc_t pd)
{
    bool strided = false;
    for (int i = 0; i < CONV_AXES; i++) strided = strided || p->axis[i].stride > 1;
    return strided && p->ic % 16 != 0 && strncmp(onednn_kernel_name(pd), "jit_1x1", strlen("jit_1x1")) == 0;
}

static dnnl_primitive_desc_t forward_pd(maker *m, const conv_problem *p, const shape *s, bool training,
                                        const_dnnl_memory_desc_t src, const_dnnl_memory_desc_t dst)
{
    dnnl_primitive_desc_t pd = NULL;
    const_dnnl_memory_desc_t weights = onednn_any_layout(&m->b, s->weights);
    /* As the hint of a backward pass it needs no post-op, and Winograd has no other than ReLU. */
    dnnl_primitive_attr_t attr =
        attributes(m, m->b.plan->base.pass == CONV_FORWARD ? p->post_op : CONV_POST_NONE);
    if (attr == NULL) return NULL;
    onednn_ok(&m->b,
              dnnl.convolution_forward_primitive_desc_create(
                  &pd, m->b.engine, training ? dnnl_forward_training : dnnl_forward_inference,
                  m->impl->algorithm, src, weights, p->bias ? s->bias : NULL, dst, s->stride, s->dilation,
                  s->pad_before, s->pad_after, attr),
              "forward");
    dnnl.primitive_attr_destroy(attr);
    return pd;
}

/* A backward primitive wants the forward one it belongs to as a hint. */
static dnnl_primitive_desc_t backward_data_pd(maker *m, const conv_problem *p, const shape *s,
                                              const_dnnl_memory_desc_t diff_src,
                                              const_dnnl_memory_desc_t diff_dst)
{
    const_dnnl_memory_desc_t weights = onednn_any_layout(&m->b, s->weights);
    dnnl_primitive_desc_t hint = forward_pd(m, p, s, true, diff_src, diff_dst), pd = NULL;
    dnnl_primitive_attr_t attr = hint == NULL ? NULL : attributes(m, CONV_POST_NONE);
    if (attr != NULL)
        onednn_ok(&m->b,
                  dnnl.convolution_backward_data_primitive_desc_create(
                      &pd, m->b.engine, m->impl->algorithm, diff_src, weights, diff_dst, s->stride, s->dilation,
                      s->pad_before, s->pad_after, hint, attr),
                  "backward_data");
    if (attr != NULL) dnnl.primitive_attr_destroy(attr);
    if (hint != NULL) dnnl.primitive_desc_destroy(hint);
    return pd;
}

/* oneDNN's first implementation that stays within its memory. */
static dnnl_primitive_desc_t backward_weights_pd(maker *m, const conv_problem *p, const shape *s,
                                                 const_dnnl_memory_desc_t src,
                                                 const_dnnl_memory_desc_t diff_dst)
{
    const_dnnl_memory_desc_t weights = onednn_any_layout(&m->b, s->weights);
    dnnl_primitive_desc_t hint = forward_pd(m, p, s, true, src, diff_dst), pd = NULL;
    dnnl_primitive_attr_t attr = hint == NULL ? NULL : attributes(m, CONV_POST_NONE);
    bool ok = attr != NULL &&
              onednn_ok(&m->b,
                        dnnl.convolution_backward_weights_primitive_desc_create(
                            &pd, m->b.engine, m->impl->algorithm, src, weights, p->bias ? s->bias : NULL,
                            diff_dst, s->stride, s->dilation, s->pad_before, s->pad_after, hint, attr),
                        "backward_weights");
    while (ok && overruns(p, pd))
        ok = onednn_ok(&m->b, onednn_next_kernel(&pd, m->b.engine, hint), "another backward_weights");
    if (!ok && pd != NULL) {
        dnnl.primitive_desc_destroy(pd);
        pd = NULL;
    }
    if (attr != NULL) dnnl.primitive_attr_destroy(attr);
    if (hint != NULL) dnnl.primitive_desc_destroy(hint);
    return pd;
}

/* ---- slots */

/* A user's input as the primitive wants it: in place, or through enter into activations of its own. */
static int input(maker *m, const_dnnl_memory_desc_t plain, const_dnnl_memory_desc_t wanted, onednn_place at)
{
    int user = onednn_add_slot(&m->b, plain, at);
    if (onednn_same_bytes(plain, wanted)) return user;
    int own = onednn_add_slot(&m->b, wanted, AT_ACTIVATIONS);
    onednn_add_reorder(&m->b, ONEDNN_ENTER, ONEDNN_ALWAYS, user, own, false);
    return own;
}

static int output(maker *m, const_dnnl_memory_desc_t plain, const_dnnl_memory_desc_t wanted, onednn_place at,
                  onednn_when when)
{
    int user = onednn_add_slot(&m->b, plain, at);
    if (onednn_same_bytes(plain, wanted)) return user;
    int own = onednn_add_slot(&m->b, wanted, AT_ACTIVATIONS);
    onednn_add_reorder(&m->b, ONEDNN_LEAVE, when, own, user, false);
    return own;
}

/* Slot in the layout wanted: itself, or converted inside execute, as a network would have to. */
static int converted(maker *m, int slot, const_dnnl_memory_desc_t wanted)
{
    if (dnnl.memory_desc_equal(m->b.plan->slot[slot].md, wanted)) return slot;
    int copy = onednn_add_slot(&m->b, wanted, AT_SCRATCH);
    onednn_add_reorder(&m->b, ONEDNN_EXECUTE, ONEDNN_ALWAYS, slot, copy, false);
    return copy;
}

/* Weights as the primitive wants them: packed, or as they are where it wants Keras's order. A separable
 * packs both of its tensors, or neither could be told apart by packed_bytes. */
static int packed(maker *m, const_dnnl_memory_desc_t plain, const_dnnl_memory_desc_t wanted, onednn_place at)
{
    int user = onednn_add_slot(&m->b, plain, at);
    if (onednn_same_bytes(plain, wanted) && m->impl->impl.variant != CONV_SEPARABLE) return user;
    int own = onednn_add_slot(&m->b, wanted, AT_PACKED);
    onednn_add_reorder(&m->b, ONEDNN_PACK, ONEDNN_ALWAYS, user, own, false);
    return own;
}

/* Where a gradient is computed: the user's tensor, except in another layout or when accumulating. */
static int gradient(maker *m, const_dnnl_memory_desc_t plain, const_dnnl_memory_desc_t wanted, onednn_place at)
{
    int slot = onednn_add_slot(&m->b, wanted, AT_SCRATCH);
    if (m->b.status == CONV_OK && onednn_same_bytes(plain, wanted)) m->b.plan->slot[slot].at = at;
    return slot;
}

static void deliver_gradient(maker *m, int slot, const_dnnl_memory_desc_t plain, onednn_place at)
{
    if (m->b.status != CONV_OK) return;
    int user = onednn_add_slot(&m->b, plain, at);
    if (m->b.plan->slot[slot].at != at)
        onednn_add_reorder(&m->b, ONEDNN_EXECUTE, ONEDNN_IF_OVERWRITE, slot, user, false);
    onednn_add_reorder(&m->b, ONEDNN_EXECUTE, ONEDNN_IF_ACCUMULATE, slot, user, true);
}

/* Appends the name of the kernel oneDNN chose, "brgconv:avx512_core", to the plan's note. */
static void note(maker *m, dnnl_primitive_desc_t pd)
{
    char *text = m->b.plan->base.note;
    size_t size = sizeof m->b.plan->base.note, length = strlen(text);
    snprintf(text + length, size - length, "%s%s", length > 0 ? " + " : "", onednn_kernel_name(pd));
}

/* "blocked: jit:avx512_core", or nhwc where oneDNN preferred that and nothing is reordered. */
static void note_layout(onednn_plan *plan)
{
    char kernels[sizeof plan->base.note];
    memcpy(kernels, plan->base.note, sizeof kernels);
    const char *layout = plan->used[AT_ACTIVATIONS] > 0 ? "blocked" : "nhwc";
    int length = (int)(sizeof plan->base.note - strlen(layout) - sizeof ": ");
    snprintf(plan->base.note, sizeof plan->base.note, "%s: %.*s", layout, length, kernels);
}

/* ---- stages */

/* One forward convolution. src: its slot, or -1 for the user's; dst_at: AT_DST, or memory for a new slot.
 * Returns dst's slot. */
static int forward(maker *m, const conv_problem *p, int src, onednn_place weights_at, onednn_place dst_at)
{
    shape s;
    if (!describe(&m->b, p, &s)) return 0;
    dnnl_primitive_desc_t pd = forward_pd(m, p, &s, m->keep, request(m, src, s.src), request(m, -1, s.dst));
    if (pd == NULL) return 0;
    note(m, pd);
    const_dnnl_memory_desc_t wanted = query(pd, dnnl_query_dst_md);
    src = src >= 0 ? src : input(m, s.src, query(pd, dnnl_query_src_md), AT_SRC);
    int weights = packed(m, s.weights, query(pd, dnnl_query_weights_md), weights_at);
    int dst = dst_at == AT_DST ? output(m, s.dst, wanted, AT_DST, ONEDNN_ALWAYS)
                               : onednn_add_slot(&m->b, wanted, dst_at);
    onednn_use uses[4] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, dst}};
    int count = 3;
    if (p->bias) uses[count++] = (onednn_use){DNNL_ARG_BIAS, onednn_add_slot(&m->b, s.bias, AT_BIAS)};
    onednn_add_step(&m->b, ONEDNN_EXECUTE, ONEDNN_ALWAYS, pd, uses, count);
    return dst;
}

/* diff_dst where dst passes it, else 0, into scratch. The variants ..._use_dst_for_bwd read dst, not src. */
static int masked(maker *m, conv_post_op post, int diff_dst, int dst)
{
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    dnnl_primitive_attr_t attr = attributes(m, CONV_POST_NONE);
    const bool six = post == CONV_POST_RELU6;
    const dnnl_alg_kind_t clip = six ? dnnl_eltwise_clip_v2_use_dst_for_bwd : dnnl_eltwise_relu_use_dst_for_bwd;
    const float most = six ? conv_clip(post) : 0;
    if (attr == NULL) return 0;
    const_dnnl_memory_desc_t md = m->b.plan->slot[diff_dst].md;
    int result = onednn_add_slot(&m->b, md, AT_SCRATCH);
    if (onednn_ok(&m->b,
                  dnnl.eltwise_forward_primitive_desc_create(&hint, m->b.engine, dnnl_forward_training, clip,
                                                             md, md, 0.0f, most, attr),
                  "post-op") &&
        onednn_ok(&m->b,
                  dnnl.eltwise_backward_primitive_desc_create(&pd, m->b.engine, clip, md, md, md, 0.0f, most,
                                                              hint, attr),
                  "post-op backward")) {
        const onednn_use uses[] = {
            {DNNL_ARG_DST, dst}, {DNNL_ARG_DIFF_DST, diff_dst}, {DNNL_ARG_DIFF_SRC, result}};
        onednn_add_step(&m->b, ONEDNN_EXECUTE, ONEDNN_ALWAYS, pd, uses, 3);
    }
    dnnl.primitive_attr_destroy(attr);
    if (hint != NULL) dnnl.primitive_desc_destroy(hint);
    return result;
}

/* The user's diff_dst in the layout wanted, masked where the problem has a post-op. */
static int incoming(maker *m, const conv_problem *p, const shape *s, const_dnnl_memory_desc_t wanted)
{
    int diff_dst = input(m, s->dst, wanted, AT_DIFF_DST);
    if (p->post_op == CONV_POST_NONE) return diff_dst;
    return masked(m, p->post_op, diff_dst, input(m, s->dst, wanted, AT_DST));
}

/* diff_src of one stage. mid: the slot whose layout diff_src takes (then it goes to scratch), or -1 for the
 * user's diff_src. *diff_dst: its slot, or -1, then made from the user's. Returns diff_src's slot. */
static int backward_data(maker *m, const conv_problem *p, int mid, int *diff_dst, onednn_place weights_at)
{
    shape s;
    if (!describe(&m->b, p, &s)) return 0;
    dnnl_primitive_desc_t pd = backward_data_pd(m, p, &s, request(m, mid, s.src), request(m, *diff_dst, s.dst));
    if (pd == NULL) return 0;
    note(m, pd);
    /* The joint backward may be asked to leave diff_src out; a separable's d_mid is needed all the same. */
    onednn_when when = mid < 0 && m->b.plan->base.pass == CONV_BACKWARD ? ONEDNN_IF_DIFF_SRC : ONEDNN_ALWAYS;
    const_dnnl_memory_desc_t wanted = query(pd, dnnl_query_diff_src_md);
    if (*diff_dst < 0) *diff_dst = incoming(m, p, &s, query(pd, dnnl_query_diff_dst_md));
    int weights = packed(m, s.weights, query(pd, dnnl_query_weights_md), weights_at);
    int diff_src =
        mid >= 0 ? onednn_add_slot(&m->b, wanted, AT_SCRATCH) : output(m, s.src, wanted, AT_DIFF_SRC, when);
    const onednn_use uses[] = {
        {DNNL_ARG_DIFF_DST, *diff_dst}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DIFF_SRC, diff_src}};
    onednn_add_step(&m->b, ONEDNN_EXECUTE, when, pd, uses, 3);
    return diff_src;
}

/* Gradients of one stage's weights and bias. src, diff_dst: slots, or -1 for the user's. */
static void backward_weights(maker *m, const conv_problem *p, int src, int diff_dst, onednn_place at)
{
    shape s;
    if (!describe(&m->b, p, &s)) return;
    dnnl_primitive_desc_t pd = backward_weights_pd(m, p, &s, request(m, src, s.src), request(m, -1, s.dst));
    if (pd == NULL) return;
    note(m, pd);
    const_dnnl_memory_desc_t wanted = query(pd, dnnl_query_diff_dst_md);
    src = src >= 0 ? src : input(m, s.src, query(pd, dnnl_query_src_md), AT_SRC);
    diff_dst = diff_dst >= 0 ? converted(m, diff_dst, wanted) : incoming(m, p, &s, wanted);
    int weights = gradient(m, s.weights, query(pd, dnnl_query_diff_weights_md), at);
    onednn_use uses[4] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_DIFF_DST, diff_dst}, {DNNL_ARG_DIFF_WEIGHTS, weights}};
    int count = 3, bias = -1;
    if (p->bias) {
        bias = gradient(m, s.bias, s.bias, AT_DIFF_BIAS);
        uses[count++] = (onednn_use){DNNL_ARG_DIFF_BIAS, bias};
    }
    onednn_add_step(&m->b, ONEDNN_EXECUTE, ONEDNN_ALWAYS, pd, uses, count);
    deliver_gradient(m, weights, s.weights, at);
    if (bias >= 0) deliver_gradient(m, bias, s.bias, AT_DIFF_BIAS);
}

/* ---- plans */

static void single(maker *m, const conv_problem *p, conv_pass pass)
{
    int diff_dst = -1;
    if (pass == CONV_FORWARD) {
        forward(m, p, -1, AT_WEIGHTS, AT_DST);
        return;
    }
    if (pass != CONV_BACKWARD_WEIGHTS) backward_data(m, p, -1, &diff_dst, AT_WEIGHTS);
    if (pass != CONV_BACKWARD_DATA) backward_weights(m, p, -1, diff_dst, AT_DIFF_WEIGHTS);
}

/* The intermediate's layout is what the depthwise forward chooses; backward, which reads it from the
 * workspace, asks again and gets the same answer. */
static int workspace_slot(maker *m, const conv_problem *depthwise)
{
    shape s;
    if (!describe(&m->b, depthwise, &s)) return 0;
    dnnl_primitive_desc_t pd = forward_pd(m, depthwise, &s, true, request(m, -1, s.src), request(m, -1, s.dst));
    if (pd == NULL) return 0;
    int slot = onednn_add_slot(&m->b, query(pd, dnnl_query_dst_md), AT_WORKSPACE);
    dnnl.primitive_desc_destroy(pd);
    return slot;
}

static void separable(maker *m, const conv_problem *p, conv_pass pass)
{
    const conv_problem depthwise = conv_depthwise_stage(p), pointwise = conv_pointwise_stage(p);
    if (pass == CONV_FORWARD) {
        int mid = forward(m, &depthwise, -1, AT_WEIGHTS, m->keep ? AT_WORKSPACE : AT_SCRATCH);
        forward(m, &pointwise, mid, AT_POINTWISE, AT_DST);
        return;
    }
    int mid = workspace_slot(m, &depthwise), diff_dst = -1;
    int diff_mid = backward_data(m, &pointwise, mid, &diff_dst, AT_POINTWISE);
    backward_weights(m, &pointwise, mid, diff_dst, AT_DIFF_POINTWISE);
    backward_data(m, &depthwise, -1, &diff_mid, AT_WEIGHTS);
    backward_weights(m, &depthwise, -1, diff_mid, AT_DIFF_WEIGHTS);
}

const char *onednn_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)pass;
    for (int i = CONV_AXES - p->rank; i < CONV_AXES; i++)
        if (conv_needed_pad_after(&p->axis[i]) <= -p->axis[i].stride)
            return "padding after of minus one stride or less: oneDNN takes no output smaller than that";
    return NULL;
}

conv_status onednn_create(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                          conv_plan **plan, conv_error *err)
{
    maker m = {.b = onednn_begin(self, p, pass, ctx, err),
               .impl = (const onednn_impl *)self,
               .keep = pass == CONV_FORWARD && ctx->keep_workspace};
    if (m.b.status == CONV_OK) (self->variant == CONV_SEPARABLE ? separable : single)(&m, p, pass);
    if (m.b.status == CONV_OK && m.impl->own_layout) note_layout(m.b.plan);
    return onednn_finish(&m.b, plan);
}

/* Since 3.2. */
static const char *without_winograd(void)
{
    static char text[80]; /* the same bytes whoever writes them */
    const dnnl_version_t *v = dnnl.version();
    if (v->major < 3 || (v->major == 3 && v->minor < 2)) return NULL;
    snprintf(text, sizeof text, "%s has no Winograd", onednn_version());
    return text;
}

/* Whether oneDNN has primitives for it can only be asked; describing one compiles nothing. */
static bool described(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    const conv_context ctx = {.threads = omp_get_max_threads()};
    maker m = {.b = onednn_begin(self, p, pass, &ctx, NULL), .impl = (const onednn_impl *)self};
    shape s;
    dnnl_primitive_desc_t pd = NULL;
    if (describe(&m.b, p, &s)) {
        const_dnnl_memory_desc_t src = request(&m, -1, s.src), dst = request(&m, -1, s.dst);
        if (pass == CONV_FORWARD) pd = forward_pd(&m, p, &s, false, src, dst);
        if (conv_makes_data(pass)) pd = backward_data_pd(&m, p, &s, src, dst);
        if (pd != NULL) dnnl.primitive_desc_destroy(pd);
        if (conv_makes_weights(pass)) {
            pd = backward_weights_pd(&m, p, &s, src, dst);
            if (pd != NULL) dnnl.primitive_desc_destroy(pd);
        }
    }
    conv_plan *plan = NULL;
    bool yes = onednn_finish(&m.b, &plan) == CONV_OK;
    if (yes) onednn_destroy(plan);
    return yes;
}

const char *onednn_winograd_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    const conv_axis *h = &p->axis[CONV_H], *w = &p->axis[CONV_W];
    const char *reason = without_winograd();
    if (reason != NULL) return reason;
    if (p->rank != 2 || h->kernel != 3 || w->kernel != 3) return "kernels other than 3x3";
    if (h->stride != 1 || w->stride != 1) return "strides other than 1";
    if (h->dilation != 1 || w->dilation != 1) return "dilation";
    if (p->groups != 1) return "groups other than 1";
    if (p->ic < 16 || p->oc < 16) return "fewer than 16 channels: its error bound starts there";
    if (conv_out(h) < 5 || conv_out(w) < 5) return "outputs below 5x5: its error bound starts there";
    reason = onednn_refuse(self, p, pass);
    if (reason != NULL) return reason;
    return described(self, p, pass)
               ? NULL
               : "oneDNN has no Winograd for these sizes, pass, post-op and instruction set";
}
