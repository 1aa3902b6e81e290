/* An axis as sweeps: the phases of a strided backward_data, in which the taps are every stride-th; and where taps
 * are further apart than outputs, those outputs together that share inputs. Runs once per plan. */
#include "axis.h"

#include <stdlib.h>

#include "../util.h"

/* Sweeps are split for the sake of shared inputs where each keeps as many outputs as fill a register tile. */
enum { LEAST_OUTPUTS = 7 };

axis_interval axis_reach(const conv_axis *a, bool backward, int64_t o0, int64_t o1)
{
    int64_t reach = conv_effective_kernel(a), inputs = axis_inputs(a, backward);
    axis_interval in = {o0 * a->stride - a->pad_before, (o1 - 1) * a->stride - a->pad_before + reach};
    if (backward) {
        in.begin = (o0 + a->pad_before - reach) / a->stride;
        in.end = (o1 - 1 + a->pad_before) / a->stride + 1;
    }
    in.begin = max64(0, min64(in.begin, inputs));
    in.end = max64(in.begin, min64(in.end, inputs));
    return in;
}

int64_t axis_reach_most(const conv_axis *a, bool backward, int64_t outputs)
{
    int64_t reach = conv_effective_kernel(a);
    return min64(axis_inputs(a, backward),
                 backward ? (outputs - 1 + reach) / a->stride + 2 : (outputs - 1) * a->stride + reach);
}

static int64_t common_divisor(int64_t a, int64_t b) { return b == 0 ? a : common_divisor(b, a % b); }

/* Outputs phase, phase + stride, ... of backward_data: their inputs fall as taps rise. */
static axis_sweep backward_phase(const conv_axis *a, int64_t phase)
{
    int64_t common = common_divisor(a->stride, a->dilation), step = a->stride / common, tap = 0;
    axis_sweep w = {.outputs = div_up(a->in - phase, a->stride),
                    .out_first = phase,
                    .out_step = a->stride,
                    .inputs = conv_out(a),
                    .stride = 1,
                    .unit = a->dilation / common,
                    .tap_step = -step};
    while (tap < step && (phase + a->pad_before - tap * a->dilation) % a->stride != 0) tap++;
    if (tap == step || tap >= a->kernel) return w;
    w.taps = div_up(a->kernel - tap, step);
    w.first_tap = tap + (w.taps - 1) * step;
    w.first = (phase + a->pad_before - w.first_tap * a->dilation) / a->stride;
    return w;
}

static axis_sweep forward_sweep(const conv_axis *a)
{
    return (axis_sweep){.outputs = conv_out(a),
                        .out_step = 1,
                        .inputs = a->in,
                        .first = -a->pad_before,
                        .stride = a->stride,
                        .unit = a->dilation,
                        .taps = a->kernel,
                        .tap_step = 1};
}

bool axis_sweeps_build(const conv_axis *a, bool backward, axis_sweeps *out)
{
    int64_t phases = backward ? min64(a->stride, a->in) : 1;
    *out = (axis_sweeps){.sweep = malloc((size_t)(phases * a->dilation) * sizeof *out->sweep)};
    if (out->sweep == NULL) return false;
    for (int64_t phase = 0; phase < phases; phase++) {
        axis_sweep w = backward ? backward_phase(a, phase) : forward_sweep(a);
        int64_t split = w.unit / common_divisor(w.stride, w.unit), outputs = w.outputs;
        if (outputs < split * LEAST_OUTPUTS) split = 1;
        w.out_step *= split;
        w.stride *= split;
        for (int64_t i = 0; i < split; i++) {
            axis_sweep *s = &out->sweep[out->count++];
            *s = w;
            s->outputs = div_up(outputs - i, split);
            s->out_first += i * (w.out_step / split);
            s->first += i * (w.stride / split);
            s->shared = w.stride % w.unit == 0 ? w.stride / w.unit : 0;
            s->first_column = s->first < 0 ? div_up(-s->first, w.unit) : 0;
            axis_sweep_inner(s, 0, s->taps, &s->inner, &s->inner_end);
            s->end_column = max64(s->first_column, div_up(s->inputs - s->first, w.unit));
        }
    }
    return true;
}

void axis_sweeps_free(axis_sweeps *s)
{
    free(s->sweep);
    *s = (axis_sweeps){0};
}
