/* Which copy of kernels/nn runs: the widest that was built and is allowed; what the fused routes cover. */
#include "nn/nn.h"
#include "isa.h"

ISA_DECLARE(const nn_kernels, nn_table)
static const void *const copies[CPU_ISA_COUNT] = ISA_COPIES(nn_table);

const nn_kernels *nn_kernels_at(cpu_isa isa) { return isa <= cpu_allowed() ? copies[isa] : NULL; }

const nn_kernels *nn_kernels_get(void) { return cpu_widest(copies); }

const char *nn_first_refuse(const nn_pooled *p)
{
    if (p->in_channels != 1) return "more than one input channel";
    if (p->channels % 16 != 0) return "channels that are no multiple of 16";
    if (!(p->kernel_h == 3 && p->kernel_w == 3) && !(p->kernel_h == 5 && p->kernel_w == 5))
        return "kernels other than 3x3 and 5x5";
    return NULL;
}

const char *nn_pooled_refuse(const nn_pooled *p)
{
    return p->in_channels % 16 != 0 || p->channels % 16 != 0 ? "channels that are no multiple of 16" : NULL;
}

/* The gradient of the weights transposed, of the bias, and a word a channel. */
size_t nn_pooled_scratch(const nn_pooled *p)
{
    return (size_t)(p->channels * (p->kernel_h * p->kernel_w * p->in_channels + 2)) * sizeof(float);
}

void nn_view_simplify(nn_view *v)
{
    enum { LAST = NN_VIEW_AXES - 1 };
    for (int merged = 0; merged < LAST; merged++) {
        nn_view_axis *inner = &v->axis[LAST], *outer = &v->axis[LAST - 1];
        bool whole = inner->stride == 1 && inner->repeat == 1 && inner->before == 0 && inner->in == inner->out;
        if (!whole || outer->repeat != 1 || outer->stride != inner->out) return;
        *inner =
            (nn_view_axis){outer->in * inner->in, outer->out * inner->out, outer->before * inner->out, 1, 1};
        for (int i = LAST - 1; i > 0; i--) v->axis[i] = v->axis[i - 1];
        v->axis[0] = (nn_view_axis){1, 1, 0, 1, 0};
    }
}
