/* An ONNX graph's values and what its operators make of their shapes; for the files of this folder. */
#ifndef SEPBENCH_ONNX_INTERNAL_H
#define SEPBENCH_ONNX_INTERNAL_H

#include <jansson.h>

#include "../internal.h"
#include "onnx.pb-c.h"

enum { ONNX_RANK = 8, ONNX_ELEMENTS = 16, ONNX_OPEN = -1, ONNX_NOT_KNOWN = -1 };
enum {
    ONNX_FLOAT = 1,
    ONNX_INT32 = 6,
    ONNX_INT64 = 7,
    ONNX_FLOAT16 = 10,
    ONNX_DOUBLE = 11,
    ONNX_BFLOAT16 = 16
};

typedef struct {
    int rank;               /* ONNX_NOT_KNOWN: nothing is */
    int64_t dim[ONNX_RANK]; /* ONNX_OPEN: not known; else 0 to INT32_MAX */
} onnx_shape;

/* A tensor. Elements are known of short vectors, which shapes are computed with. */
typedef struct {
    onnx_shape shape;
    int count;                     /* elements known, in row-major order; ONNX_NOT_KNOWN: none is */
    bool real;                     /* they are not integers */
    double element[ONNX_ELEMENTS]; /* exact, for sizes are below 2^53; NAN: not known */
    bool absent;                   /* a constant whose external data cannot be read */
    const Onnx__Node *cause;       /* of a shape that is not known: the node that first made it so */
} onnx_value;

typedef struct {
    char *path;
    Onnx__Model *model;
    int64_t opset;
    size_t budget;      /* bytes that may still be taken: a small file must not ask for much */
    bool refused;       /* more was asked for */
    json_t *names;      /* a value's name: its index */
    json_t *stated;     /* a value's name: the index of its value_info */
    json_t *symbols;    /* an open size's name: the size that an input gave it */
    bool by_file;       /* the inputs have the file's sizes, so what it states of other values holds */
    onnx_value *values; /* initializers, inputs, then the nodes' outputs */
    size_t value_count;
    size_t *first_output; /* of a node: its first value; those of its other outputs follow */
} onnx_graph;

/* Everything but shapes. NULL with one line that names the file, the node and what is wrong. */
onnx_graph *onnx_open(const char *path, conv_error *err);
void onnx_close(onnx_graph *g);
/* The file's of an input; what it leaves open is ONNX_OPEN. */
onnx_shape onnx_stated_input(const onnx_graph *g, size_t input);
/* Inputs first, by onnx_set_input after onnx_begin, then the nodes in their order. */
void onnx_begin(onnx_graph *g);
void onnx_set_input(onnx_graph *g, size_t input, const onnx_shape *shape);
void onnx_infer(onnx_graph *g, size_t node);
/* NULL when nothing in the file has that name. */
const onnx_value *onnx_find(const onnx_graph *g, const char *name);

/* ---- a node being looked at */

typedef struct {
    const onnx_graph *graph;
    const Onnx__Node *node;
    onnx_value *out; /* node->n_output of them, not known yet */
} onnx_call;

/* Of an operator: fills what it can tell of call->out. */
typedef void onnx_rule(const onnx_call *call);

/* NULL: nothing is known of that operator. */
onnx_rule *onnx_rule_of(const Onnx__Node *node);
/* Whether it makes each element of an element, its channel's statistics and what else it reads. */
bool onnx_is_by_element(onnx_rule *rule);

/* What protobuf leaves out is NULL. */
static inline const char *onnx_text(const char *text) { return text != NULL ? text : ""; }

/* An input that is left out or not there: a value of which nothing is known. */
const onnx_value *onnx_input(const onnx_call *call, size_t i);
bool onnx_has_input(const onnx_call *call, size_t i);
const Onnx__Attribute *onnx_attribute(const Onnx__Node *node, const char *name);
int64_t onnx_int(const onnx_call *call, const char *name, int64_t otherwise);
bool onnx_is(const onnx_call *call, const char *name, const char *text);
/* Integers of an attribute or, in later opsets, of an input's elements: at most ONNX_ELEMENTS into list. 0:
 * there are none; ONNX_NOT_KNOWN: there are, but not known. */
int onnx_ints(const onnx_call *call, const char *name, size_t input, int64_t *list);

/* ---- values.c */

extern const onnx_value onnx_nothing;
/* A size: a whole number from 0 to INT32_MAX, else ONNX_OPEN. */
int64_t onnx_dim(double size);
/* A product of sizes: ONNX_OPEN where one is, or where it is beyond INT64_MAX. */
int64_t onnx_product(const onnx_shape *s, int first, int end);
/* The axis counted from the front; -1: there is none of that number. */
int onnx_axis(int64_t axis, int rank);
void onnx_append(onnx_shape *s, int64_t dim); /* rank becomes ONNX_NOT_KNOWN beyond ONNX_RANK */
onnx_value onnx_constant(const onnx_graph *g, const Onnx__Tensor *t);
/* A vector of known elements. */
void onnx_vector(onnx_value *v, int count, bool real);

/* ---- windows.c: convolutions and pools */

onnx_rule onnx_conv_rule, onnx_transposed_conv_rule, onnx_quantized_conv_rule, onnx_pool_rule;
/* "Conv 'name'", shortened and printable. Returns buffer[ONNX_NODE_TEXT]. */
enum { ONNX_NODE_TEXT = 128 };
char *onnx_node_text(const Onnx__Node *node, char *buffer);
/* The problem that a Conv is; false with why in words. */
bool onnx_conv_problem(const onnx_graph *g, const Onnx__Node *node, conv_problem *p, conv_error *why);

#endif
