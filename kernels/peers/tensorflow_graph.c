/* Conv2D, Conv3D, DepthwiseConv2dNative, BiasAdd, Relu and Relu6 with their gradients, as tf.nn and Keras use
 * them. A separable's backward is the gradients of its pointwise stage, then those of its depthwise one from
 * the d_mid that both share. */
#include "tensorflow_graph.h"

#include <stdio.h>
#include <string.h>

#include "../util.h"

typedef enum { FORWARD, DATA, WEIGHTS, WAYS } way;

typedef struct {
    const tf_api *tf;
    const tf_wanted *wanted;
    tf_graph *out;
    TF_Status *status;
    bool failed;
    int names;
    TF_Output node[TF_ROLES]; /* made by now where operation is not NULL */
} builder;

/* ---- shapes */

static int set_image_shape(const conv_problem *p, bool src, int64_t dims[TF_DIMS])
{
    int64_t channels = src ? p->ic : p->oc;
    int n = 0;
    dims[n++] = p->mb;
    if (p->layout == CONV_NCHW) dims[n++] = channels;
    for (int i = tf_first_axis(p); i < CONV_AXES; i++) dims[n++] = src ? p->axis[i].in : conv_out(&p->axis[i]);
    if (p->layout == CONV_NHWC) dims[n++] = channels;
    return n;
}

static int set_filter_shape(const conv_problem *p, int64_t dims[TF_DIMS])
{
    bool depthwise = p->variant == CONV_DEPTHWISE;
    int n = 0;
    for (int i = tf_first_axis(p); i < CONV_AXES; i++) dims[n++] = p->axis[i].kernel;
    dims[n++] = depthwise ? p->ic : p->ic / p->groups;
    dims[n++] = depthwise ? p->depth_multiplier : p->oc;
    return n;
}

int tf_shape(const conv_problem *p, tf_role role, int64_t dims[TF_DIMS])
{
    const conv_problem stage[] = {conv_depthwise_stage(p), conv_pointwise_stage(p)};
    switch (role) {
    case TF_BIAS:
    case TF_DIFF_BIAS: dims[0] = p->oc; return 1;
    case TF_SRC:
    case TF_DIFF_SRC: return set_image_shape(p, true, dims);
    case TF_MID: return set_image_shape(&stage[0], false, dims);
    case TF_POINTWISE:
    case TF_DIFF_POINTWISE: return set_filter_shape(&stage[1], dims);
    case TF_WEIGHTS:
    case TF_DIFF_WEIGHTS: return set_filter_shape(p->variant == CONV_SEPARABLE ? &stage[0] : p, dims);
    default: return set_image_shape(p, false, dims);
    }
}

int64_t tf_count(const conv_problem *p, tf_role role)
{
    int64_t dims[TF_DIMS], count = 1;
    int ndims = tf_shape(p, role, dims);
    for (int i = 0; i < ndims; i++) count *= dims[i];
    return count;
}

/* ---- nodes */

static void keep(void *data, size_t length, void *argument) { (void)data, (void)length, (void)argument; }

static TF_OperationDescription *begin(builder *b, const char *type)
{
    char name[16];
    snprintf(name, sizeof name, "n%d", b->names++);
    return b->tf->NewOperation(b->out->graph, type, name);
}

static TF_Output finish(builder *b, TF_OperationDescription *d)
{
    TF_Operation *made = b->tf->FinishOperation(d, b->status);
    b->failed = b->failed || b->tf->GetCode(b->status) != TF_OK;
    return (TF_Output){made, 0};
}

static TF_Output constant(builder *b, int type, const int64_t *dims, int ndims, const void *data)
{
    size_t bytes = type == TF_INT32 ? sizeof(int32_t) : sizeof(float);
    for (int i = 0; i < ndims; i++) bytes *= (size_t)dims[i];
    if (b->failed) return (TF_Output){NULL, 0};
    TF_Tensor *value = b->tf->NewTensor(type, dims, ndims, (void *)data, bytes, keep, NULL);
    TF_OperationDescription *d = begin(b, "Const");
    b->tf->SetAttrType(d, "dtype", type);
    b->tf->SetAttrTensor(d, "value", value, b->status);
    b->failed = b->failed || b->tf->GetCode(b->status) != TF_OK;
    b->tf->DeleteTensor(value);
    return finish(b, d);
}

/* A tensor's shape, as the gradients take it. */
static TF_Output shape_of(builder *b, tf_role role)
{
    int64_t dims[TF_DIMS], ndims = tf_shape(b->wanted->problem, role, dims);
    int32_t shape[TF_DIMS];
    for (int i = 0; i < ndims; i++) shape[i] = (int32_t)dims[i];
    return constant(b, TF_INT32, &ndims, 1, shape);
}

/* The node of a role that the graph takes: made when it is first asked for. */
static TF_Output input(builder *b, tf_role role)
{
    int64_t dims[TF_DIMS];
    int ndims = tf_shape(b->wanted->problem, role, dims);
    bool filter = role == TF_WEIGHTS || role == TF_POINTWISE;
    if (b->failed || b->node[role].operation != NULL) return b->node[role];
    if (filter && b->wanted->constants != NULL)
        return b->node[role] = constant(b, TF_FLOAT, dims, ndims, b->wanted->constants[role == TF_POINTWISE]);
    TF_OperationDescription *d = begin(b, "Placeholder");
    b->tf->SetAttrType(d, "dtype", TF_FLOAT);
    b->tf->SetAttrShape(d, "shape", dims, ndims);
    b->node[role] = finish(b, d);
    b->out->input[b->out->inputs++] = (tf_end){role, b->node[role]};
    return b->node[role];
}

static void output(builder *b, tf_role role, TF_Output node)
{
    b->out->output[b->out->outputs++] = (tf_end){role, node};
}

static void set_text(builder *b, TF_OperationDescription *d, const char *name, const char *text)
{
    b->tf->SetAttrString(d, name, text, strlen(text));
}

/* volumes: the operation has names of its own for the layouts of three dimensions. */
static void set_layout(builder *b, TF_OperationDescription *d, bool volumes)
{
    static const char *const names[2][CONV_LAYOUT_COUNT] = {{[CONV_NHWC] = "NHWC", [CONV_NCHW] = "NCHW"},
                                                            {[CONV_NHWC] = "NDHWC", [CONV_NCHW] = "NCDHW"}};
    set_text(b, d, "data_format", names[volumes][b->wanted->problem->layout]);
}

tf_pads tf_padding(const conv_problem *p)
{
    bool same = true, valid = true;
    for (int i = tf_first_axis(p); i < CONV_AXES; i++) {
        const conv_axis *a = &p->axis[i];
        conv_axis as_same = *a;
        conv_pad_same(&as_same);
        same = same && conv_out(a) == conv_out(&as_same) && a->pad_before == as_same.pad_before;
        valid = valid && a->pad_before == 0 && conv_needed_pad_after(a) <= 0;
    }
    return valid ? TF_VALID : same ? TF_SAME : TF_EXPLICIT;
}

static void set_padding(builder *b, TF_OperationDescription *d, const conv_problem *p)
{
    static const char *const names[] = {[TF_VALID] = "VALID", [TF_SAME] = "SAME", [TF_EXPLICIT] = "EXPLICIT"};
    int first = p->layout == CONV_NHWC ? 1 : 2;
    enum { DIMS = 4 }; /* three dimensions have no list: refused */
    int64_t list[2 * DIMS] = {0};
    tf_pads pads = tf_padding(p);
    set_text(b, d, "padding", names[pads]);
    if (pads != TF_EXPLICIT) return;
    for (int i = 0; i < 2; i++) {
        list[2 * (first + i)] = p->axis[CONV_H + i].pad_before;
        list[2 * (first + i) + 1] = max64(conv_needed_pad_after(&p->axis[CONV_H + i]), 0);
    }
    b->tf->SetAttrIntList(d, "explicit_paddings", list, 2 * DIMS);
}

/* A convolution or one of its gradients, of stage p. */
static TF_Output convolution(builder *b, const conv_problem *p, way w, const TF_Output inputs[3])
{
    static const char *const types[][WAYS] = {
        {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"},
        {"DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter"},
        {"Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"}};
    bool volumes = p->rank == 3;
    int first = tf_first_axis(p), at = p->layout == CONV_NHWC ? 1 : 2, dims = CONV_AXES - first + 2;
    int64_t strides[TF_DIMS] = {1, 1, 1, 1, 1}, dilations[TF_DIMS] = {1, 1, 1, 1, 1};
    for (int i = first; i < CONV_AXES; i++) {
        /* As Keras's DepthwiseConv1D: depthwise operations want equal strides. */
        strides[at + i - first] = p->axis[p->rank == 1 ? CONV_W : i].stride;
        dilations[at + i - first] = p->axis[i].dilation;
    }
    if (b->failed) return inputs[0];
    TF_OperationDescription *d = begin(b, types[volumes ? 2 : p->variant == CONV_DEPTHWISE][w]);
    for (int i = 0; i < (w == FORWARD ? 2 : 3); i++) b->tf->AddInput(d, inputs[i]);
    b->tf->SetAttrIntList(d, "strides", strides, dims);
    b->tf->SetAttrIntList(d, "dilations", dilations, dims);
    set_layout(b, d, volumes);
    set_padding(b, d, p);
    return finish(b, d);
}

/* Of one or two inputs. */
static TF_Output operation(builder *b, const char *type, TF_Output a, const TF_Output *second, bool layout)
{
    if (b->failed) return a;
    TF_OperationDescription *d = begin(b, type);
    b->tf->AddInput(d, a);
    if (second != NULL) b->tf->AddInput(d, *second);
    if (layout) set_layout(b, d, false);
    return finish(b, d);
}

/* ---- passes */

/* A problem's stages: a separable has two, each other one is its own. */
typedef struct {
    conv_problem p;
    tf_role src, weights, diff_weights;
} stage;

static int stages_of(const conv_problem *p, stage list[2])
{
    if (p->variant != CONV_SEPARABLE) {
        list[0] = (stage){*p, TF_SRC, TF_WEIGHTS, TF_DIFF_WEIGHTS};
        return 1;
    }
    list[0] = (stage){conv_depthwise_stage(p), TF_SRC, TF_WEIGHTS, TF_DIFF_WEIGHTS};
    list[1] = (stage){conv_pointwise_stage(p), TF_MID, TF_POINTWISE, TF_DIFF_POINTWISE};
    return 2;
}

static const char *const post_types[CONV_POST_COUNT][2] = {
    [CONV_POST_RELU] = {"Relu", "ReluGrad"}, [CONV_POST_RELU6] = {"Relu6", "Relu6Grad"}};

static void forward(builder *b, const stage *list, int stages)
{
    const conv_problem *p = b->wanted->problem;
    TF_Output dst = input(b, TF_SRC);
    for (int s = 0; s < stages; s++) {
        dst = convolution(b, &list[s].p, FORWARD, (TF_Output[]){dst, input(b, list[s].weights), {NULL, 0}});
        if (s + 1 < stages && b->wanted->keep_mid) output(b, TF_MID, dst);
    }
    if (p->bias) {
        TF_Output bias = input(b, TF_BIAS);
        dst = operation(b, "BiasAdd", dst, &bias, true);
    }
    if (p->post_op != CONV_POST_NONE) dst = operation(b, post_types[p->post_op][0], dst, NULL, false);
    output(b, TF_DST, dst);
}

static void backward(builder *b, const stage *list, int stages)
{
    const conv_problem *p = b->wanted->problem;
    bool data = conv_makes_data(b->wanted->pass), weights = conv_makes_weights(b->wanted->pass);
    TF_Output diff = input(b, TF_DIFF_DST), made;
    if (p->post_op != CONV_POST_NONE) {
        TF_Output dst = input(b, TF_DST);
        diff = operation(b, post_types[p->post_op][1], diff, &dst, false);
    }
    if (p->bias && weights) output(b, TF_DIFF_BIAS, operation(b, "BiasAddGrad", diff, NULL, true));
    for (int s = stages - 1; s >= 0; s--) {
        const stage *at = &list[s];
        if (weights) {
            made = convolution(b, &at->p, WEIGHTS,
                               (TF_Output[]){input(b, at->src), shape_of(b, at->weights), diff});
            output(b, at->diff_weights, made);
        }
        if (!data) continue;
        diff = convolution(b, &at->p, DATA, (TF_Output[]){shape_of(b, at->src), input(b, at->weights), diff});
        if (s == 0) output(b, TF_DIFF_SRC, diff);
    }
}

void tf_graph_build(const tf_api *tf, const tf_wanted *wanted, tf_graph *graph, TF_Status *status)
{
    stage list[2];
    int stages = stages_of(wanted->problem, list);
    *graph = (tf_graph){.graph = tf->NewGraph()};
    builder b = {.tf = tf, .wanted = wanted, .out = graph, .status = status};
    (wanted->pass == CONV_FORWARD ? forward : backward)(&b, list, stages);
}
