/* Segments of an axis, found by walking each phase and comparing neighbours' taps. Runs once per plan. */
#include <stdlib.h>

#include "axis.h"

/* The taps that output o has, ascending by input; returns how many. */
static int64_t taps_of(const conv_axis *a, bool backward, int64_t o, segment_tap *taps)
{
    int64_t count = 0;
    for (int64_t i = 0; i < a->kernel; i++) {
        int64_t tap = backward ? a->kernel - 1 - i : i, in = axis_input(a, backward, o, tap);
        if (in >= 0) taps[count++] = (segment_tap){tap, in};
    }
    return count;
}

/* Whether output `i` steps into s has the same taps, each that many steps further. */
static bool continues(const axis_segment *s, const segment_tap *taps, int64_t count)
{
    if (count != s->tap_count) return false;
    for (int64_t k = 0; k < count; k++)
        if (taps[k].tap != s->taps[k].tap) return false;
    return true;
}

axis_sweep axis_sweep_of(const conv_axis *a, bool backward)
{
    if (a->dilation > 1 || (backward && a->stride > 1)) return (axis_sweep){0};
    return (axis_sweep){.outputs = axis_outputs(a, backward),
                        .inputs = axis_inputs(a, backward),
                        .stride = a->stride,
                        .first = backward ? a->pad_before - a->kernel + 1 : -a->pad_before,
                        .taps = a->kernel,
                        .first_tap = backward ? a->kernel - 1 : 0,
                        .tap_step = backward ? -1 : 1};
}

bool axis_segments_build(const conv_axis *a, bool backward, axis_segments *out)
{
    int64_t outputs = axis_outputs(a, backward), step = backward ? a->stride : 1, used = 0;
    *out = (axis_segments){.segments = malloc((size_t)outputs * sizeof *out->segments),
                           .taps = malloc((size_t)((outputs + 1) * a->kernel) * sizeof *out->taps),
                           .sweep = axis_sweep_of(a, backward)};
    if (out->segments == NULL || out->taps == NULL) {
        axis_segments_free(out);
        return false;
    }
    for (int64_t phase = 0; phase < step && phase < outputs; phase++) {
        axis_segment *s = NULL;
        for (int64_t o = phase; o < outputs; o += step) {
            segment_tap *taps = out->taps + used;
            int64_t count = taps_of(a, backward, o, taps);
            if (s != NULL && continues(s, taps, count)) {
                s->count++;
                continue;
            }
            s = &out->segments[out->count++];
            *s = (axis_segment){.first = o,
                                .out_step = step,
                                .count = 1,
                                .in_step = backward ? 1 : a->stride,
                                .taps = taps,
                                .tap_count = count};
            used += count;
        }
    }
    return true;
}

void axis_segments_free(axis_segments *s)
{
    free(s->segments);
    free(s->taps);
    *s = (axis_segments){0};
}
