/* What each operator makes of its inputs' shapes (https://onnx.ai/onnx/operators), and of the elements of the
 * short vectors that exporters compute shapes with. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* ---- elementwise */

static void copy_elements(const onnx_value *from, onnx_value *to)
{
    to->count = from->count;
    to->real = from->real;
    if (from->count > 0) memcpy(to->element, from->element, sizeof to->element);
}

/* Further outputs, a normalisation's statistics or a mask, have shapes of their own, which nobody asks for. */
static void same(const onnx_call *c) { c->out->shape = onnx_input(c, 0)->shape; }

static void same_elements(const onnx_call *c)
{
    same(c);
    copy_elements(onnx_input(c, 0), c->out);
}

static void cast(const onnx_call *c)
{
    const int64_t to = onnx_int(c, "to", 0);
    same_elements(c);
    onnx_value *y = c->out;
    y->real = to == ONNX_FLOAT || to == ONNX_FLOAT16 || to == ONNX_DOUBLE || to == ONNX_BFLOAT16;
    for (int i = 0; !y->real && i < y->count; i++) y->element[i] = trunc(y->element[i]);
}

static void map(const onnx_call *c, double (*of)(double))
{
    same_elements(c);
    for (int i = 0; i < c->out->count; i++) c->out->element[i] = of(c->out->element[i]);
}

static double negated(double x) { return -x; }
static void floors(const onnx_call *c) { map(c, floor); }
static void ceils(const onnx_call *c) { map(c, ceil); }
static void negates(const onnx_call *c) { map(c, negated); }

static int64_t broadcast_dim(int64_t a, int64_t b)
{
    return a == 1 ? b : b == 1 || a == b ? a : a < 0 ? b : b < 0 ? a : -2;
}

static onnx_shape broadcast(const onnx_shape *a, const onnx_shape *b)
{
    const onnx_shape *longer = a->rank >= b->rank ? a : b, *other = longer == a ? b : a;
    onnx_shape s = *longer;
    if (other->rank < 0) return onnx_nothing.shape;
    for (int i = 0; i < other->rank; i++) {
        int64_t *dim = &s.dim[s.rank - other->rank + i];
        *dim = broadcast_dim(*dim, other->dim[i]);
        if (*dim < ONNX_OPEN) return onnx_nothing.shape;
    }
    return s;
}

static double add(double a, double b) { return a + b; }
static double subtract(double a, double b) { return a - b; }
static double multiply(double a, double b) { return a * b; }
static double divide(double a, double b) { return a / b; }
static double divide_whole(double a, double b) { return b != 0 ? trunc(a / b) : NAN; }
static double remainder_of(double a, double b) { return a - b * floor(a / b); } /* it has b's sign */
static double least(double a, double b) { return isnan(a) || a < b ? a : b; }
static double most(double a, double b) { return isnan(a) || a > b ? a : b; }

static void fold(const onnx_call *c, double (*combine)(double, double))
{
    const onnx_value *a = onnx_input(c, 0), *b = onnx_input(c, 1);
    const int count = a->count > b->count ? a->count : b->count;
    if (a->count < 1 || b->count < 1 || (a->count != b->count && a->count > 1 && b->count > 1)) return;
    for (int i = 0; i < count; i++)
        c->out->element[i] = combine(a->element[a->count > 1 ? i : 0], b->element[b->count > 1 ? i : 0]);
    c->out->count = count;
    c->out->real = a->real;
}

static void broadcasted(const onnx_call *c)
{
    onnx_shape s = onnx_input(c, 0)->shape;
    for (size_t i = 1; i < c->node->n_input; i++) s = broadcast(&s, &onnx_input(c, i)->shape);
    c->out->shape = s;
}

static void arithmetic(const onnx_call *c)
{
    static const struct {
        const char *operator;
        double (*whole)(double, double), (*real)(double, double);
    } known[] = {{"Add", add, add},           {"Sub", subtract, subtract},
                 {"Mul", multiply, multiply}, {"Div", divide_whole, divide},
                 {"Mod", remainder_of, NULL}, {"Min", least, least},
                 {"Max", most, most}};
    size_t i = 0;
    broadcasted(c);
    if (c->node->n_input != 2 || (c->out->shape.rank != 0 && c->out->shape.rank != 1)) return;
    while (strcmp(known[i].operator, c->node->op_type) != 0) i++;
    double (*combine)(double, double) = onnx_input(c, 0)->real ? known[i].real : known[i].whole;
    if (combine != NULL && onnx_int(c, "fmod", 0) == 0) fold(c, combine);
}

/* ---- joining and reducing */

static void concat(const onnx_call *c)
{
    onnx_value *y = c->out;
    onnx_shape s = onnx_input(c, 0)->shape;
    const int axis = onnx_axis(onnx_int(c, "axis", 1), s.rank);
    if (s.rank < 0 || axis < 0) return;
    s.dim[axis] = 0;
    y->count = 0;
    for (size_t i = 0; i < c->node->n_input; i++) {
        const onnx_value *x = onnx_input(c, i);
        if (x->shape.rank != s.rank) return;
        for (int k = 0; k < s.rank; k++)
            if (k != axis && s.dim[k] < 0) s.dim[k] = x->shape.dim[k];
        int64_t more = x->shape.dim[axis];
        s.dim[axis] = s.dim[axis] < 0 || more < 0 ? ONNX_OPEN : onnx_dim((double)(s.dim[axis] + more));
        if (s.rank > 1 || x->count < 0 || y->count < 0 || y->count + x->count > ONNX_ELEMENTS) {
            y->count = ONNX_NOT_KNOWN;
            continue;
        }
        for (int k = 0; k < x->count; k++) y->element[y->count++] = x->element[k];
        y->real = x->real;
    }
    y->shape = s;
}

static void pooled_whole(const onnx_call *c)
{
    c->out->shape = onnx_input(c, 0)->shape;
    for (int i = 2; i < c->out->shape.rank; i++) c->out->shape.dim[i] = 1;
}

/* Marks the axes that an operator names; false: one is not there. */
static bool mark_axes(const int64_t *axes, int count, int rank, bool *marked)
{
    for (int i = 0; i < count; i++) {
        int axis = onnx_axis(axes[i], rank);
        if (axis < 0) return false;
        marked[axis] = true;
    }
    return true;
}

static void reduce(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape;
    const bool keep = onnx_int(c, "keepdims", 1) != 0;
    int64_t axes[ONNX_ELEMENTS];
    bool marked[ONNX_RANK] = {false};
    int count = onnx_ints(c, "axes", 1, axes);
    if (x->rank < 0 || count < 0 || !mark_axes(axes, count, x->rank, marked)) return;
    const bool all = count == 0 && onnx_int(c, "noop_with_empty_axes", 0) == 0;
    onnx_shape s = {0};
    for (int i = 0; i < x->rank; i++)
        if (!marked[i] && !all)
            onnx_append(&s, x->dim[i]);
        else if (keep)
            onnx_append(&s, 1);
    c->out->shape = s;
}

static void largest(const onnx_call *c)
{
    onnx_shape s = onnx_input(c, 0)->shape;
    const int axis = onnx_axis(onnx_int(c, "axis", 0), s.rank);
    if (axis < 0) return;
    s.dim[axis] = 1;
    if (onnx_int(c, "keepdims", 1) == 0)
        memmove(&s.dim[axis], &s.dim[axis + 1], (size_t)(--s.rank - axis) * sizeof *s.dim);
    c->out->shape = s;
}

/* [..., M, K] x [..., K, N]; a vector is a row on the left, a column on the right. */
static void matmul(const onnx_call *c)
{
    onnx_shape a = onnx_input(c, 0)->shape, b = onnx_input(c, 1)->shape;
    if (a.rank < 1 || b.rank < 1) return;
    const bool row = a.rank == 1, column = b.rank == 1;
    if (row) a = (onnx_shape){2, {1, a.dim[0]}};
    if (column) b = (onnx_shape){2, {b.dim[0], 1}};
    const int64_t m = a.dim[a.rank - 2], n = b.dim[b.rank - 1];
    a.rank -= 2;
    b.rank -= 2;
    onnx_shape s = broadcast(&a, &b);
    if (!row) onnx_append(&s, m);
    if (!column) onnx_append(&s, n);
    c->out->shape = s;
}

static void gemm(const onnx_call *c)
{
    const onnx_shape *a = &onnx_input(c, 0)->shape, *b = &onnx_input(c, 1)->shape;
    if (a->rank != 2 || b->rank != 2) return;
    c->out->shape =
        (onnx_shape){2, {a->dim[onnx_int(c, "transA", 0) != 0], b->dim[onnx_int(c, "transB", 0) == 0]}};
}

/* ---- the same elements in another shape */

/* Right where the elements may be known: of at most ONNX_ELEMENTS, others' would overflow. */
static void strides_of(const onnx_shape *s, int64_t *stride)
{
    int64_t below = 1;
    for (int i = s->rank - 1; i >= 0; i--) {
        stride[i] = below;
        if (s->dim[i] >= 0 && below <= ONNX_ELEMENTS) below *= s->dim[i];
    }
}

/* The elements of x that y, whose shape is set, has: the first one's place, and how far apart they are. */
static void view(const onnx_value *x, int64_t first, const int64_t *stride, onnx_value *y)
{
    const int64_t count = onnx_product(&y->shape, 0, y->shape.rank);
    if (x->count < 0 || count < 0 || count > ONNX_ELEMENTS) return;
    for (int64_t k = 0; k < count; k++) {
        int64_t at = first, rest = k;
        for (int i = y->shape.rank - 1; i >= 0; rest /= y->shape.dim[i--])
            at += rest % y->shape.dim[i] * stride[i];
        y->element[k] = x->element[at];
    }
    y->count = (int)count;
    y->real = x->real;
}

static void flatten(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape;
    int64_t axis = onnx_int(c, "axis", 1);
    if (axis < 0) axis += x->rank;
    if (x->rank < 0 || axis < 0 || axis > x->rank) return;
    const int64_t before = onnx_product(x, 0, (int)axis), after = onnx_product(x, (int)axis, x->rank);
    c->out->shape = (onnx_shape){2, {onnx_dim((double)before), onnx_dim((double)after)}};
}

/* The size that -1 stands for; a shape that does not fit is none. */
static void settle(const onnx_shape *x, onnx_shape *s, int rest)
{
    const int64_t all = onnx_product(x, 0, x->rank);
    if (rest >= 0) s->dim[rest] = 1;
    const int64_t product = onnx_product(s, 0, s->rank);
    if (rest >= 0) s->dim[rest] = ONNX_OPEN;
    if (all < 0 || product < 0) return;
    if (rest >= 0 && product > 0 && all % product == 0)
        s->dim[rest] = onnx_dim((double)(all / product));
    else if (rest >= 0 || all != product)
        s->rank = ONNX_NOT_KNOWN;
}

static void reshape(const onnx_call *c)
{
    const onnx_value *x = onnx_input(c, 0), *to = onnx_input(c, 1);
    const bool copies = onnx_int(c, "allowzero", 0) == 0;
    int rest = -1;
    onnx_shape s = {0};
    if (to->count < 0) return;
    for (int i = 0; i < to->count; i++) {
        if (to->element[i] == -1) rest = i;
        const bool copied = to->element[i] == 0 && copies;
        onnx_append(&s, !copied ? onnx_dim(to->element[i]) : i < x->shape.rank ? x->shape.dim[i] : ONNX_OPEN);
    }
    if (s.rank >= 0 && x->shape.rank >= 0) settle(&x->shape, &s, rest);
    c->out->shape = s;
    copy_elements(x, c->out);
}

static void transpose(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape;
    int64_t to[ONNX_ELEMENTS], all[ONNX_RANK], stride[ONNX_RANK];
    const int count = onnx_ints(c, "perm", SIZE_MAX, to);
    onnx_shape s = {0};
    bool marked[ONNX_RANK] = {false};
    if (x->rank < 0 || (count != 0 && (count != x->rank || !mark_axes(to, count, x->rank, marked)))) return;
    for (int i = 0; i < x->rank; i++) onnx_append(&s, x->dim[count != 0 ? to[i] : x->rank - 1 - i]);
    c->out->shape = s;
    strides_of(x, all);
    for (int i = 0; i < s.rank; i++) stride[i] = all[count != 0 ? to[i] : x->rank - 1 - i];
    view(onnx_input(c, 0), 0, stride, c->out);
}

static void squeeze(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape;
    int64_t axes[ONNX_ELEMENTS];
    bool marked[ONNX_RANK] = {false};
    const int count = onnx_ints(c, "axes", 1, axes);
    onnx_shape s = {0};
    if (x->rank < 0 || count < 0 || !mark_axes(axes, count, x->rank, marked)) return;
    for (int i = 0; i < x->rank; i++)
        if (!(count > 0 ? marked[i] : x->dim[i] == 1)) onnx_append(&s, x->dim[i]);
    c->out->shape = s;
    copy_elements(onnx_input(c, 0), c->out);
}

static void unsqueeze(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape;
    int64_t axes[ONNX_ELEMENTS];
    bool marked[ONNX_RANK] = {false};
    const int count = onnx_ints(c, "axes", 1, axes);
    onnx_shape s = {0};
    if (x->rank < 0 || count < 1 || x->rank + count > ONNX_RANK) return;
    if (!mark_axes(axes, count, x->rank + count, marked)) return;
    for (int i = 0, from = 0; i < x->rank + count; i++) {
        if (!marked[i] && from == x->rank) return; /* an axis was named twice */
        onnx_append(&s, marked[i] ? 1 : x->dim[from++]);
    }
    c->out->shape = s;
    copy_elements(onnx_input(c, 0), c->out);
}

/* ---- parts, and more of the same */

static void pad(const onnx_call *c)
{
    onnx_shape s = onnx_input(c, 0)->shape;
    int64_t pads[ONNX_ELEMENTS], axes[ONNX_ELEMENTS];
    const int count = onnx_ints(c, "pads", 1, pads), named = onnx_ints(c, "axes", 3, axes);
    if (s.rank < 0 || named < 0 || count != 2 * (named > 0 ? named : s.rank)) return;
    for (int i = 0; i < count / 2; i++) {
        int axis = named > 0 ? onnx_axis(axes[i], s.rank) : i;
        if (axis < 0) return;
        if (s.dim[axis] < 0) continue;
        s.dim[axis] = onnx_dim((double)s.dim[axis] + (double)pads[i] + (double)pads[count / 2 + i]);
    }
    c->out->shape = s;
}

static int64_t clamped(int64_t x, int64_t least, int64_t most)
{
    return x < least ? least : x > most ? most : x;
}

/* Where a slice of an axis starts, and of how many elements it is. */
static int64_t slice_axis(int64_t dim, int64_t start, int64_t end, int64_t step, int64_t *from)
{
    if (dim < 0 || step == 0 || step < -INT32_MAX || step > INT32_MAX) return ONNX_OPEN;
    if (start < 0) start = start < -dim ? -1 : start + dim;
    if (end < 0) end = end < -dim ? -1 : end + dim;
    *from = step > 0 ? clamped(start, 0, dim) : clamped(start, 0, dim - 1);
    const int64_t stop = step > 0 ? clamped(end, 0, dim) : clamped(end, -1, dim - 1);
    const int64_t away = step > 0 ? stop - *from : *from - stop, stride = step > 0 ? step : -step;
    return away > 0 ? (away + stride - 1) / stride : 0;
}

static void slice(const onnx_call *c)
{
    const onnx_value *x = onnx_input(c, 0);
    int64_t start[ONNX_ELEMENTS], end[ONNX_ELEMENTS], axes[ONNX_ELEMENTS], step[ONNX_ELEMENTS], first = 0;
    int64_t stride[ONNX_RANK];
    const int count = onnx_ints(c, "starts", 1, start), ends = onnx_ints(c, "ends", 2, end);
    const int named = onnx_ints(c, "axes", 3, axes), steps = onnx_ints(c, "steps", 4, step);
    onnx_shape s = x->shape;
    if (s.rank < 0 || count < 1 || ends != count || named < 0 || steps < 0) return;
    if ((named > 0 && named != count) || (steps > 0 && steps != count)) return;
    strides_of(&s, stride);
    for (int i = 0; i < count; i++) {
        const int axis = onnx_axis(named > 0 ? axes[i] : i, s.rank);
        const int64_t by = steps > 0 ? step[i] : 1;
        int64_t from = 0;
        if (axis < 0) return;
        s.dim[axis] = slice_axis(s.dim[axis], start[i], end[i], by, &from);
        if (s.dim[axis] < 1 || x->count < 1) continue; /* no elements, or none that are known */
        first += from * stride[axis];
        if (s.dim[axis] > 1) stride[axis] *= by;
    }
    c->out->shape = s;
    view(x, first, stride, c->out);
}

static void gather(const onnx_call *c)
{
    const onnx_value *x = onnx_input(c, 0), *index = onnx_input(c, 1);
    const int axis = onnx_axis(onnx_int(c, "axis", 0), x->shape.rank);
    onnx_shape s = {0};
    if (axis < 0 || index->shape.rank < 0) return;
    for (int i = 0; i < axis; i++) onnx_append(&s, x->shape.dim[i]);
    for (int i = 0; i < index->shape.rank; i++) onnx_append(&s, index->shape.dim[i]);
    for (int i = axis + 1; i < x->shape.rank; i++) onnx_append(&s, x->shape.dim[i]);
    c->out->shape = s;
    if (x->shape.rank != 1 || x->count < 0 || index->count < 0) return;
    for (int i = 0; i < index->count; i++) {
        double at = index->element[i] < 0 ? index->element[i] + x->count : index->element[i];
        c->out->element[i] = at >= 0 && at < x->count ? x->element[(int)at] : NAN;
    }
    c->out->count = index->count;
    c->out->real = x->real;
}

static void split(const onnx_call *c)
{
    onnx_shape s = onnx_input(c, 0)->shape;
    const int axis = onnx_axis(onnx_int(c, "axis", 0), s.rank);
    const int64_t parts = (int64_t)c->node->n_output;
    int64_t size[ONNX_ELEMENTS];
    const int count = onnx_ints(c, "split", 1, size);
    if (axis < 0 || count < 0 || (count > 0 && count != parts)) return;
    const int64_t whole = s.dim[axis], each = whole < 0 ? ONNX_OPEN : (whole + parts - 1) / parts;
    for (int64_t i = 0; i < parts; i++) {
        s.dim[axis] = count > 0  ? onnx_dim((double)size[i])
                      : each < 0 ? ONNX_OPEN
                                 : clamped(whole - i * each, 0, each);
        c->out[i].shape = s;
    }
}

static void tile(const onnx_call *c)
{
    onnx_shape s = onnx_input(c, 0)->shape;
    int64_t times[ONNX_ELEMENTS];
    if (s.rank < 0 || onnx_ints(c, "repeats", 1, times) != s.rank) return;
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = s.dim[i] < 0 ? ONNX_OPEN : onnx_dim((double)s.dim[i] * (double)times[i]);
    c->out->shape = s;
}

static void blocks(const onnx_call *c)
{
    onnx_shape s = onnx_input(c, 0)->shape;
    const int64_t size = onnx_int(c, "blocksize", 0);
    if (s.rank != 4 || size < 1 || size > INT16_MAX) return;
    const bool deeper = strcmp(c->node->op_type, "SpaceToDepth") == 0;
    for (int i = 1; i < 4; i++) {
        const int64_t by = i == 1 ? size * size : size;
        s.dim[i] = s.dim[i] < 0         ? ONNX_OPEN
                   : (i == 1) == deeper ? onnx_dim((double)(s.dim[i] * by))
                                        : s.dim[i] / by;
    }
    c->out->shape = s;
}

/* Factors as Resize and Upsample have them, in an input or, before opset 9, in an attribute. */
static int read_scales(const onnx_call *c, double *scale)
{
    const bool upsample = strcmp(c->node->op_type, "Upsample") == 0;
    const Onnx__Attribute *old = upsample ? onnx_attribute(c->node, "scales") : NULL;
    const onnx_value *scales = onnx_input(c, upsample || c->graph->opset < 11 ? 1 : 2);
    const size_t count = old != NULL ? old->n_floats : scales->count > 0 ? (size_t)scales->count : 0;
    if (count > ONNX_ELEMENTS) return 0;
    for (size_t i = 0; i < count; i++) scale[i] = old != NULL ? (double)old->floats[i] : scales->element[i];
    return (int)count;
}

/* By sizes, or by scales in single precision that round down. */
static void resize(const onnx_call *c)
{
    onnx_shape s = onnx_input(c, 0)->shape;
    const onnx_value *sizes = onnx_input(c, 3);
    double scale[ONNX_ELEMENTS] = {0};
    int64_t axes[ONNX_ELEMENTS];
    const int named = onnx_ints(c, "axes", SIZE_MAX, axes), scales = read_scales(c, scale);
    const int count = sizes->count > 0 ? sizes->count : scales;
    if (s.rank < 0 || named < 0 || count != (named > 0 ? named : s.rank)) return;
    if (onnx_is(c, "keep_aspect_ratio_policy", "not_larger")) return;
    if (onnx_is(c, "keep_aspect_ratio_policy", "not_smaller")) return;
    for (int i = 0; i < count; i++) {
        const int axis = named > 0 ? onnx_axis(axes[i], s.rank) : i;
        if (axis < 0) return;
        const double scaled = floorf((float)s.dim[axis] * (float)scale[i]);
        s.dim[axis] = onnx_dim(sizes->count > 0 ? sizes->element[i] : s.dim[axis] < 0 ? NAN : scaled);
    }
    c->out->shape = s;
}

/* ---- shapes as data */

static void constant(const onnx_call *c)
{
    onnx_value *y = c->out;
    for (size_t i = 0; i < c->node->n_attribute; i++) {
        const Onnx__Attribute *a = c->node->attribute[i];
        const char *name = onnx_text(a->name);
        if (strcmp(name, "value") == 0 && a->t != NULL) *y = onnx_constant(c->graph, a->t);
        const bool one = strcmp(name, "value_int") == 0 || strcmp(name, "value_float") == 0;
        const bool real = strncmp(name, "value_float", 11) == 0;
        if (one) {
            *y = (onnx_value){.count = 1, .real = real, .element = {real ? (double)a->f : (double)a->i}};
        } else if (strcmp(name, "value_ints") == 0 || strcmp(name, "value_floats") == 0) {
            const size_t count = real ? a->n_floats : a->n_ints;
            y->shape = (onnx_shape){1, {onnx_dim((double)count)}};
            if (count > ONNX_ELEMENTS) continue;
            onnx_vector(y, (int)count, real);
            for (size_t k = 0; k < count; k++) y->element[k] = real ? (double)a->floats[k] : (double)a->ints[k];
        }
    }
}

/* A shape from elements: of ConstantOfShape its own, of Expand one to broadcast to. */
static onnx_shape shape_of_elements(const onnx_value *v)
{
    onnx_shape s = {.rank = v->count < 0 ? ONNX_NOT_KNOWN : 0};
    for (int i = 0; i < v->count; i++) onnx_append(&s, onnx_dim(v->element[i]));
    return s;
}

static void filled(const onnx_call *c)
{
    onnx_value *y = c->out;
    const Onnx__Attribute *value = onnx_attribute(c->node, "value");
    y->shape = shape_of_elements(onnx_input(c, 0));
    const int64_t count = y->shape.rank == 1 ? y->shape.dim[0] : ONNX_OPEN;
    if (count < 0 || count > ONNX_ELEMENTS) return;
    const onnx_value one = value != NULL && value->t != NULL ? onnx_constant(c->graph, value->t)
                                                             : (onnx_value){.count = 1, .real = true};
    if (one.count != 1) return;
    onnx_vector(y, (int)count, one.real);
    for (int i = 0; i < count; i++) y->element[i] = one.element[0];
}

static void expand(const onnx_call *c)
{
    const onnx_shape to = shape_of_elements(onnx_input(c, 1));
    c->out->shape = broadcast(&onnx_input(c, 0)->shape, &to);
}

static void shape(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape;
    if (x->rank < 0) return;
    int64_t from = 0,
            count = slice_axis(x->rank, onnx_int(c, "start", 0), onnx_int(c, "end", INT64_MAX), 1, &from);
    onnx_vector(c->out, (int)count, false);
    for (int i = 0; i < count; i++) {
        const int64_t dim = x->dim[from + i];
        c->out->element[i] = dim < 0 ? NAN : (double)dim;
    }
}

static void size(const onnx_call *c)
{
    const onnx_shape *x = &onnx_input(c, 0)->shape;
    const int64_t product = x->rank < 0 ? ONNX_OPEN : onnx_product(x, 0, x->rank);
    *c->out = (onnx_value){.count = 1, .element = {product < 0 ? NAN : (double)product}};
}

/* ---- the list */

static const struct {
    onnx_rule *rule;
    const char *operators; /* each between blanks */
} rules[] = {
    {onnx_conv_rule, " Conv "},
    {onnx_transposed_conv_rule, " ConvTranspose "},
    {onnx_quantized_conv_rule, " QLinearConv ConvInteger "},
    {onnx_pool_rule, " MaxPool AveragePool LpPool "},
    {pooled_whole, " GlobalAveragePool GlobalMaxPool GlobalLpPool "},
    {same, " BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LRN LpNormalization"
           " MeanVarianceNormalization Dropout Relu LeakyRelu PRelu ThresholdedRelu Elu Selu Celu Gelu Sigmoid"
           " HardSigmoid HardSwish Swish Mish Softplus Softsign Tanh Softmax LogSoftmax Hardmax Clip Abs "
           "Sign Exp Log"
           " Sqrt Reciprocal Erf Sin Cos Tan Round Not IsNaN QuantizeLinear DequantizeLinear CumSum "},
    {same_elements, " Identity "},
    {cast, " Cast "},
    {floors, " Floor "},
    {ceils, " Ceil "},
    {negates, " Neg "},
    {arithmetic, " Add Sub Mul Div Mod Min Max "},
    {broadcasted, " Pow Sum Mean And Or Xor Equal Less Greater LessOrEqual GreaterOrEqual Where BitShift "},
    {concat, " Concat "},
    {reduce,
     " ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp"
     " ReduceSumSquare "},
    {largest, " ArgMax ArgMin "},
    {matmul, " MatMul "},
    {gemm, " Gemm "},
    {flatten, " Flatten "},
    {reshape, " Reshape "},
    {transpose, " Transpose "},
    {squeeze, " Squeeze "},
    {unsqueeze, " Unsqueeze "},
    {pad, " Pad "},
    {slice, " Slice "},
    {gather, " Gather "},
    {split, " Split "},
    {tile, " Tile "},
    {blocks, " DepthToSpace SpaceToDepth "},
    {resize, " Resize Upsample "},
    {constant, " Constant "},
    {filled, " ConstantOfShape "},
    {expand, " Expand "},
    {shape, " Shape "},
    {size, " Size "},
};

onnx_rule *onnx_rule_of(const Onnx__Node *node)
{
    const bool standard = node->domain == NULL || *node->domain == '\0' || strcmp(node->domain, "ai.onnx") == 0;
    char name[48];
    if (!standard || node->op_type == NULL || node->n_output == 0 || strchr(node->op_type, ' ') != NULL)
        return NULL;
    if ((size_t)snprintf(name, sizeof name, " %s ", node->op_type) >= sizeof name) return NULL;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strstr(rules[i].operators, name) != NULL) return rules[i].rule;
    return NULL;
}

bool onnx_is_by_element(onnx_rule *rule)
{
    return rule == same || rule == same_elements || rule == cast || rule == negates || rule == arithmetic ||
           rule == broadcasted;
}
