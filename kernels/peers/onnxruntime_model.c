/* ONNX in protobuf's wire format: field numbers are those of onnx.proto (github.com/onnx/onnx), the encoding is
 * protobuf.dev/programming-guides/encoding. A message's length stands before its content, so each is written
 * twice: first only counted (out.to NULL), then for real. */
#include "onnxruntime_model.h"

#include <string.h>

#include "../util.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };
enum {
    OPSET = 13,
    IR_VERSION = 7,
    TYPE_FLOAT = 1,
    ATTRIBUTE_INT = 2,
    ATTRIBUTE_INTS = 7,
    MAX_AXES = CONV_AXES
};

typedef struct {
    unsigned char *to; /* NULL: count only */
    size_t size;
} out;

/* One convolution of the graph. */
typedef struct {
    const conv_problem *p;
    const float *weights;                    /* [taps][IC/groups][OC], NULL while counting */
    const char *src, *filter, *dst, *result; /* names; result differs from dst where a post-op follows */
} stage;

typedef struct {
    const conv_problem *p;
    stage stage[2];
    int stages;
    bool fed; /* filters are inputs */
} model;

/* ---- protobuf */

static void bytes(out *o, const void *data, size_t size)
{
    if (o->to != NULL) memcpy(o->to + o->size, data, size);
    o->size += size;
}

static void varint(out *o, uint64_t value)
{
    do {
        unsigned char low = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        bytes(o, &low, 1);
        value >>= 7;
    } while (value > 0);
}

static void integer(out *o, int field, int64_t value)
{
    varint(o, (uint64_t)field << 3 | WIRE_VARINT);
    varint(o, (uint64_t)value);
}

static void text(out *o, int field, const char *value)
{
    size_t length = strlen(value);
    varint(o, (uint64_t)field << 3 | WIRE_BYTES);
    varint(o, length);
    bytes(o, value, length);
}

static void message(out *o, int field, void (*write)(out *, const void *), const void *what)
{
    out counted = {NULL, 0};
    write(&counted, what);
    varint(o, (uint64_t)field << 3 | WIRE_BYTES);
    varint(o, counted.size);
    write(o, what);
}

/* ---- tensors */

static const conv_axis *axis(const conv_problem *p, int i) { return &p->axis[CONV_AXES - p->rank + i]; }

int onnx_shape(const conv_problem *p, bool src, int64_t dims[CONV_AXES + 2])
{
    dims[0] = p->mb;
    dims[1] = src ? p->ic : p->oc;
    for (int i = 0; i < p->rank; i++) dims[2 + i] = src ? axis(p, i)->in : conv_out(axis(p, i));
    return p->rank + 2;
}

static int64_t filter_rows(const conv_problem *p)
{
    int64_t rows = p->ic / p->groups;
    for (int i = 0; i < p->rank; i++) rows *= axis(p, i)->kernel;
    return rows;
}

void onnx_filter(const conv_problem *p, const float *weights, void *filter)
{
    int64_t ic = p->ic / p->groups, oc = p->oc, taps = filter_rows(p) / ic;
    unsigned char *to = filter;
    for (int64_t n = 0; n < oc; n++)
        for (int64_t c = 0; c < ic; c++)
            for (int64_t t = 0; t < taps; t++, to += sizeof(float))
                memcpy(to, &weights[(t * ic + c) * oc + n], sizeof(float));
}

int onnx_filter_shape(const conv_problem *p, int64_t dims[CONV_AXES + 2])
{
    dims[0] = p->oc;
    dims[1] = p->ic / p->groups;
    for (int i = 0; i < p->rank; i++) dims[2 + i] = axis(p, i)->kernel;
    return p->rank + 2;
}

static void filter_data(out *o, const void *what)
{
    const stage *s = what;
    if (o->to != NULL) onnx_filter(s->p, s->weights, o->to + o->size);
    o->size += (size_t)(filter_rows(s->p) * s->p->oc) * sizeof(float);
}

static void filter(out *o, const void *what) /* TensorProto */
{
    const stage *s = what;
    int64_t dims[CONV_AXES + 2];
    int ndims = onnx_filter_shape(s->p, dims);
    for (int i = 0; i < ndims; i++) integer(o, 1, dims[i]);
    integer(o, 2, TYPE_FLOAT);
    text(o, 8, s->filter);
    message(o, 9, filter_data, s);
}

typedef struct {
    const char *name;
    int count;
    int64_t dims[CONV_AXES + 2];
} value;

static void dimension(out *o, const void *what) { integer(o, 1, *(const int64_t *)what); }

static void shape(out *o, const void *what)
{
    const value *v = what;
    for (int i = 0; i < v->count; i++) message(o, 1, dimension, &v->dims[i]);
}

static void tensor_type(out *o, const void *what)
{
    integer(o, 1, TYPE_FLOAT);
    message(o, 2, shape, what);
}

static void type(out *o, const void *what) { message(o, 1, tensor_type, what); }

static void value_info(out *o, const void *what)
{
    text(o, 1, ((const value *)what)->name);
    message(o, 2, type, what);
}

/* ---- nodes */

typedef struct {
    const char *name;
    int type, count;
    int64_t values[2 * MAX_AXES];
} attribute;

static void attribute_proto(out *o, const void *what)
{
    const attribute *a = what;
    text(o, 1, a->name);
    if (a->type == ATTRIBUTE_INT) integer(o, 3, a->values[0]);
    for (int i = 0; a->type == ATTRIBUTE_INTS && i < a->count; i++) integer(o, 8, a->values[i]);
    integer(o, 20, a->type);
}

static void conv_node(out *o, const void *what) /* NodeProto */
{
    const stage *s = what;
    const conv_problem *p = s->p;
    attribute all[] = {{"group", ATTRIBUTE_INT, 1, {p->groups}},
                       {"kernel_shape", ATTRIBUTE_INTS, p->rank, {0}},
                       {"strides", ATTRIBUTE_INTS, p->rank, {0}},
                       {"dilations", ATTRIBUTE_INTS, p->rank, {0}},
                       {"pads", ATTRIBUTE_INTS, 2 * p->rank, {0}}};
    for (int i = 0; i < p->rank; i++) {
        const conv_axis *a = axis(p, i);
        all[1].values[i] = a->kernel;
        all[2].values[i] = a->stride;
        all[3].values[i] = a->dilation;
        all[4].values[i] = a->pad_before;
        all[4].values[p->rank + i] = max64(conv_needed_pad_after(a), 0);
    }
    text(o, 1, s->src);
    text(o, 1, s->filter);
    if (p->bias) text(o, 1, ONNX_BIAS);
    text(o, 2, s->result);
    text(o, 3, s->filter);
    text(o, 4, "Conv");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) message(o, 5, attribute_proto, &all[i]);
}

/* Of Clip, which takes them as tensors: scalars. */
typedef struct {
    const char *name;
    float value;
} bound;
static const bound bounds[] = {{"least", 0}, {"most", 6}};

static void bound_proto(out *o, const void *what) /* TensorProto */
{
    const bound *b = what;
    integer(o, 2, TYPE_FLOAT);
    text(o, 8, b->name);
    varint(o, 9 << 3 | WIRE_BYTES);
    varint(o, sizeof b->value);
    bytes(o, &b->value, sizeof b->value);
}

static void post_node(out *o, const void *what)
{
    const stage *s = what;
    bool six = s->p->post_op == CONV_POST_RELU6;
    text(o, 1, s->result);
    for (int i = 0; six && i < 2; i++) text(o, 1, bounds[i].name);
    text(o, 2, s->dst);
    text(o, 3, "post");
    text(o, 4, six ? "Clip" : "Relu");
}

/* ---- model */

static void graph(out *o, const void *what) /* GraphProto */
{
    const model *m = what;
    for (int i = 0; i < m->stages; i++) message(o, 1, conv_node, &m->stage[i]);
    if (m->p->post_op != CONV_POST_NONE) message(o, 1, post_node, &m->stage[m->stages - 1]);
    text(o, 2, "sepbench");
    for (int i = 0; i < m->stages && !m->fed; i++) message(o, 5, filter, &m->stage[i]);
    for (int i = 0; m->p->post_op == CONV_POST_RELU6 && i < 2; i++) message(o, 5, bound_proto, &bounds[i]);
    value src = {.name = ONNX_SRC}, dst = {.name = ONNX_DST}, bias = {ONNX_BIAS, 1, {m->p->oc}};
    src.count = onnx_shape(m->p, true, src.dims);
    dst.count = onnx_shape(m->p, false, dst.dims);
    message(o, 11, value_info, &src);
    for (int i = 0; i < m->stages && m->fed; i++) {
        value fed = {.name = m->stage[i].filter};
        fed.count = onnx_filter_shape(m->stage[i].p, fed.dims);
        message(o, 11, value_info, &fed);
    }
    if (m->p->bias) message(o, 11, value_info, &bias);
    message(o, 12, value_info, &dst);
}

static void opset(out *o, const void *what)
{
    (void)what;
    integer(o, 2, OPSET);
}

size_t onnx_model_write(const conv_problem *p, const onnx_constants *constants, void *to)
{
    const conv_problem stages[] = {conv_depthwise_stage(p), conv_pointwise_stage(p)};
    const onnx_constants w = constants != NULL ? *constants : (onnx_constants){NULL, NULL};
    const char *result = p->post_op != CONV_POST_NONE ? "sum" : ONNX_DST;
    model m = {.p = p, .fed = constants == NULL};
    if (p->variant == CONV_SEPARABLE) {
        m.stage[m.stages++] = (stage){&stages[0], w.weights, ONNX_SRC, ONNX_WEIGHTS, "mid", "mid"};
        m.stage[m.stages++] = (stage){&stages[1], w.pointwise, "mid", ONNX_POINTWISE, ONNX_DST, result};
    } else {
        m.stage[m.stages++] = (stage){p, w.weights, ONNX_SRC, ONNX_WEIGHTS, ONNX_DST, result};
    }
    out o = {to, 0};
    integer(&o, 1, IR_VERSION);
    message(&o, 7, graph, &m);
    message(&o, 8, opset, NULL);
    return o.size;
}
