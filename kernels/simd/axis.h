/* One spatial axis of a pass: what tap k reads for output o, and segments of outputs whose taps agree.
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

typedef struct {
    int64_t tap, in; /* tap number; input coordinate it reads for the segment's first output */
} segment_tap;

/* Outputs first, first + out_step, ...: `count` of them; each further one reads every tap's input in_step
 * further. */
typedef struct {
    int64_t first, out_step, count, in_step;
    segment_tap *taps; /* by ascending input coordinate */
    int64_t tap_count; /* 0: only padding */
} axis_segment;

/* The axis as one sweep, where it is one: output x reads inputs x*stride + first + k, for k = 0 .. taps-1 those
 * that exist, with tap first_tap + k*tap_step. taps is 0 where it is not (dilation, a strided backward_data).
 */
typedef struct {
    int64_t outputs, inputs, stride, first;
    int64_t taps, first_tap, tap_step;
} axis_sweep;

typedef struct {
    axis_segment *segments;
    int64_t count;
    segment_tap *taps; /* storage of all segments' taps */
    axis_sweep sweep;
} axis_segments;

axis_sweep axis_sweep_of(const conv_axis *a, bool backward);
/* False when memory is short. */
bool axis_segments_build(const conv_axis *a, bool backward, axis_segments *out);
void axis_segments_free(axis_segments *s);

#endif
