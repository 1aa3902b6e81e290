/* Operators that slide a window: convolutions and pools. */
#include <string.h>

#include "internal.h"

/* The window of a node over a tensor, in the axes of a conv_problem: of rank 2 the last two; others are flat. */
typedef struct {
    int rank;
    conv_axis axis[CONV_AXES];
} window;

static const conv_axis flat = {.in = 1, .kernel = 1, .stride = 1, .dilation = 1};

/* One integer per axis, `least` or more; false: some are given, but not so. Without any all are `otherwise`. */
static bool per_axis(const onnx_call *c, const char *name, int count, int64_t least, int64_t *list)
{
    int64_t given[ONNX_ELEMENTS];
    int n = onnx_ints(c, name, SIZE_MAX, given);
    if (n == 0) return true;
    if (n != count) return false;
    for (int i = 0; i < count; i++) {
        if (given[i] < least || given[i] > INT32_MAX) return false;
        list[i] = given[i];
    }
    return true;
}

/* SAME_UPPER has TensorFlow's padding, SAME_LOWER the odd element before. */
static void pad_automatically(const onnx_call *c, window *w)
{
    for (int i = CONV_AXES - w->rank; i < CONV_AXES; i++) {
        conv_axis *a = &w->axis[i];
        if (onnx_is(c, "auto_pad", "VALID")) {
            a->pad_before = a->pad_after = 0;
        } else {
            conv_pad_same(a);
            if (onnx_is(c, "auto_pad", "SAME_LOWER")) {
                int64_t before = a->pad_before;
                a->pad_before = a->pad_after;
                a->pad_after = before;
            }
        }
    }
}

/* x: [N][C] and the axes; kernel: their sizes, which the attribute kernel_shape must not contradict. */
static bool read_window(const onnx_call *c, const onnx_shape *x, const int64_t *kernel, window *w)
{
    const int rank = x->rank - 2, first = CONV_AXES - rank;
    if (rank < 1 || rank > CONV_AXES) return false;
    int64_t stride[CONV_AXES] = {1, 1, 1}, dilation[CONV_AXES] = {1, 1, 1}, pads[2 * CONV_AXES] = {0};
    int64_t size[CONV_AXES] = {0};
    if (!per_axis(c, "strides", rank, 1, stride) || !per_axis(c, "dilations", rank, 1, dilation)) return false;
    if (!per_axis(c, "pads", 2 * rank, 0, pads) || !per_axis(c, "kernel_shape", rank, 1, size)) return false;
    *w = (window){rank, {flat, flat, flat}};
    for (int i = 0; i < rank; i++) {
        int64_t k = kernel != NULL && kernel[i] > 0 ? kernel[i] : size[i];
        if (k < 1 || x->dim[2 + i] == 0 || (size[i] > 0 && size[i] != k)) return false;
        w->axis[first + i] = (conv_axis){x->dim[2 + i], k, stride[i], dilation[i], pads[i], pads[rank + i]};
    }
    const Onnx__Attribute *automatic = onnx_attribute(c->node, "auto_pad");
    if (automatic != NULL && !onnx_is(c, "auto_pad", "NOTSET")) pad_automatically(c, w);
    return true;
}

/* Positions of the window; up: the last may hang over the end, if it starts before (ceil_mode). */
static int64_t positions(const conv_axis *a, bool up)
{
    if (a->in < 0) return ONNX_OPEN;
    int64_t room = a->in + a->pad_before + a->pad_after - conv_effective_kernel(a);
    if (room < 0) return ONNX_OPEN;
    int64_t out = (room + (up ? a->stride - 1 : 0)) / a->stride + 1;
    return out - (up && (out - 1) * a->stride >= a->in + a->pad_before);
}

static void set_out(const onnx_call *c, const window *w, int64_t batch, int64_t channels, bool up)
{
    onnx_shape s = {.rank = 2, .dim = {batch, channels}};
    for (int i = CONV_AXES - w->rank; i < CONV_AXES; i++) onnx_append(&s, positions(&w->axis[i], up));
    c->out->shape = s;
}

void onnx_pool_rule(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape;
    window w;
    if (!read_window(c, x, NULL, &w)) return;
    set_out(c, &w, x->dim[0], x->dim[1], onnx_int(c, "ceil_mode", 0) == 1);
}

static void conv_shape(const onnx_call *c, size_t weights)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape, *k = &onnx_input(c, weights)->shape;
    window w;
    if (k->rank != x->rank || !read_window(c, x, k->dim + 2, &w)) return;
    set_out(c, &w, x->dim[0], k->dim[0], false);
}

void onnx_conv_rule(const onnx_call *c) { conv_shape(c, 1); }

/* QLinearConv has scale and zero point of x before the weights, ConvInteger has them after. */
void onnx_quantized_conv_rule(const onnx_call *c)
{
    conv_shape(c, strcmp(c->node->op_type, "QLinearConv") == 0 ? 3 : 1);
}

void onnx_transposed_conv_rule(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape, *k = &onnx_input(c, 1)->shape;
    int64_t more[CONV_AXES] = {0}, told[CONV_AXES] = {0}, groups = onnx_int(c, "group", 1);
    window w;
    if (k->rank != x->rank || !read_window(c, x, k->dim + 2, &w) || groups < 1 || groups > INT32_MAX) return;
    if (!per_axis(c, "output_padding", w.rank, 0, more) || !per_axis(c, "output_shape", w.rank, 1, told))
        return;
    const bool same = onnx_is(c, "auto_pad", "SAME_UPPER") || onnx_is(c, "auto_pad", "SAME_LOWER");
    onnx_shape s = {.rank = 2,
                    .dim = {x->dim[0], k->dim[1] < 0 ? ONNX_OPEN : onnx_dim((double)(k->dim[1] * groups))}};
    for (int i = 0; i < w.rank; i++) {
        const conv_axis *a = &w.axis[CONV_AXES - w.rank + i];
        int64_t full = (a->in - 1) * a->stride + more[i] + conv_effective_kernel(a);
        int64_t size = same ? a->in * a->stride : full - a->pad_before - a->pad_after;
        onnx_append(&s, told[i] > 0 ? told[i] : a->in < 0 ? ONNX_OPEN : onnx_dim((double)size));
    }
    c->out[0].shape = s;
}

/* ---- the problem of a Conv */

static const char *kind_of(const onnx_shape *k, int64_t in, int64_t groups, conv_problem *p)
{
    const int64_t out = k->dim[0];
    if (groups < 1 || in % groups != 0 || out % groups != 0) return "its groups do not divide its channels";
    if (k->dim[1] != in / groups) return "its weights are not of its input's channels";
    bool one = true;
    for (int i = 2; i < k->rank; i++) one = one && k->dim[i] == 1;
    p->variant = groups == in && groups > 1 ? CONV_DEPTHWISE : one && groups == 1 ? CONV_POINTWISE : CONV_DENSE;
    p->ic = in;
    p->oc = out;
    p->groups = groups;
    p->depth_multiplier = p->variant == CONV_DEPTHWISE ? out / in : 1;
    return NULL;
}

/* x with its channels, which a file may leave open, as the weights have them. */
static onnx_shape with_channels(onnx_shape x, const onnx_shape *k, int64_t groups)
{
    if (x.rank > 1 && k->rank > 1 && x.dim[1] < 0 && k->dim[1] > 0 && groups > 0 && groups <= INT32_MAX)
        x.dim[1] = onnx_dim((double)(k->dim[1] * groups));
    return x;
}

static bool reads_absent(const onnx_graph *g, const Onnx__Node *node)
{
    const onnx_call c = {.graph = g, .node = node};
    bool absent = false;
    for (size_t i = 0; i < node->n_input; i++) absent = absent || onnx_input(&c, i)->absent;
    return absent;
}

bool onnx_conv_problem(const onnx_graph *g, const Onnx__Node *node, conv_problem *p, conv_error *why)
{
    const onnx_call c = {.graph = g, .node = node};
    const onnx_value *k = onnx_input(&c, 1), *unclear = onnx_input(&c, 0);
    const int64_t groups = onnx_int(&c, "group", 1);
    const onnx_shape x = with_channels(unclear->shape, &k->shape, groups);
    const char *wrong = "its window and its input do not fit";
    window w;
    *p = (conv_problem){.layout = CONV_NHWC, .bias = onnx_has_input(&c, 2)};
    if (x.rank < 0 || onnx_product(&x, 0, x.rank) < 0) {
        wrong = "its input's shape is not known";
    } else if (k->shape.rank < 0 || onnx_product(&k->shape, 0, k->shape.rank) < 0) {
        wrong = "its weights' shape is not known";
        unclear = k;
    } else if (k->shape.rank == x.rank && read_window(&c, &x, k->shape.dim + 2, &w)) {
        wrong = kind_of(&k->shape, x.dim[1], groups, p);
        p->rank = w.rank;
        p->mb = x.dim[0];
        memcpy(p->axis, w.axis, sizeof w.axis);
        if (wrong == NULL) return conv_problem_check(p, why) == CONV_OK;
    }
    char cause[ONNX_NODE_TEXT] = "";
    if (unclear->cause != NULL) onnx_node_text(unclear->cause, cause);
    conv_fail(why, CONV_INVALID, "%s%s%s%s", wrong, *cause ? " behind " : "", cause,
              unclear->cause != NULL && reads_absent(g, unclear->cause) ? ", whose external data is not there"
                                                                        : "");
    return false;
}
