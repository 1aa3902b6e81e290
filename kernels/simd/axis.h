/* One spatial axis of a pass: what tap k reads for output o, and the axis as sweeps.
 *
 * forward: outputs are dst coordinates, inputs src coordinates; backward (backward_data): the other way round,
 * where a stride makes outputs fall into phases. */
#ifndef SEPBENCH_SIMD_AXIS_H
#define SEPBENCH_SIMD_AXIS_H

#include <stdbool.h>
#include <stdint.h>

#include "../conv.h"

static inline int64_t axis_outputs(const conv_axis *a, bool backward) { return backward ? a->in : conv_out(a); }
static inline int64_t axis_inputs(const conv_axis *a, bool backward) { return backward ? conv_out(a) : a->in; }

/* The input coordinate that tap k contributes to output o, or -1. */
static inline int64_t axis_input(const conv_axis *a, bool backward, int64_t o, int64_t k)
{
    if (!backward) {
        int64_t in = o * a->stride - a->pad_before + k * a->dilation;
        return in >= 0 && in < a->in ? in : -1;
    }
    int64_t scaled = o + a->pad_before - k * a->dilation;
    return scaled >= 0 && scaled % a->stride == 0 && scaled / a->stride < conv_out(a) ? scaled / a->stride : -1;
}

/* Those inputs that outputs [o0, o1) read; how many of them any so many neighbouring outputs read at most. */
typedef struct {
    int64_t begin, end;
} axis_interval;
axis_interval axis_reach(const conv_axis *a, bool backward, int64_t o0, int64_t o1);
int64_t axis_reach_most(const conv_axis *a, bool backward, int64_t outputs);

/* Outputs j = 0 .. outputs-1 lie at out_first + j*out_step. Output j reads the inputs
 * first + j*stride + k*unit, k = 0 .. taps-1, those that are in [0, inputs), with tap first_tap + k*tap_step.
 * Where stride is a multiple of unit, neighbouring outputs share inputs: output j reads of the columns, which
 * are `unit` inputs apart, number j*shared and those after it. */
typedef struct {
    int64_t outputs, out_first, out_step;
    int64_t inputs, first, stride, unit;
    int64_t taps, first_tap, tap_step; /* taps may be 0: only padding */
    int64_t shared;                    /* stride / unit, or 0 where it is none */
    int64_t first_column, end_column;  /* which columns are no padding */
    int64_t inner, inner_end;          /* outputs all of whose taps are real */
} axis_sweep;

/* Outputs all of whose `count` taps from number k on are real: [*begin, *end). */
static inline void axis_sweep_inner(const axis_sweep *w, int64_t k, int64_t count, int64_t *begin, int64_t *end)
{
    int64_t from = w->first + k * w->unit, room = w->inputs - 1 - from - (count - 1) * w->unit;
    *begin = from >= 0 ? 0 : (w->stride - 1 - from) / w->stride;
    *end = room < 0 ? 0 : room / w->stride + 1;
}

/* How many outputs of the sweep lie before output x of the axis. */
static inline int64_t axis_sweep_before(const axis_sweep *w, int64_t x)
{
    int64_t distance = x - w->out_first;
    if (distance <= 0) return 0;
    int64_t count = w->out_step == 1 ? distance : (distance + w->out_step - 1) / w->out_step;
    return count < w->outputs ? count : w->outputs;
}

/* Every output is in one of them. */
typedef struct {
    axis_sweep *sweep;
    int64_t count;
} axis_sweeps;

/* False when memory is short. */
bool axis_sweeps_build(const conv_axis *a, bool backward, axis_sweeps *out);
void axis_sweeps_free(axis_sweeps *s);

#endif
