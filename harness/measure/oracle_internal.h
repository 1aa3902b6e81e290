/* What oracle.c (creation, shapes) and oracle_rows.c (the sums) share. */
#ifndef SEPBENCH_ORACLE_INTERNAL_H
#define SEPBENCH_ORACLE_INTERNAL_H

#include "oracle.h"

/* Activations are held as NHWC, diff_dst already masked by the post-op. */
struct oracle {
    conv_problem p;
    conv_pass pass;
    int64_t in, out, taps; /* products over the axes */
    int64_t out_of[CONV_AXES];
    int64_t mid;           /* C*M of depthwise and separable */
    const float *src;      /* [MB][in][IC] */
    const float *diff_dst; /* [MB][out][OC], masked */
    const float *weights, *pointwise, *bias;
    float *own_src, *own_diff_dst;       /* copies, when the layout or the mask asks for them */
    double *kept_value, *kept_magnitude; /* d_mid [MB*out][kept_count] of channels from kept_first */
    int64_t kept_first, kept_count;
};

/* Depthwise and separable: one source channel per weight. */
bool oracle_by_channel(const oracle *o);
/* Of a dense problem; 1 for the others, whose rows hold all channels. */
int64_t oracle_groups(const oracle *o);

/* The gradient that arrives at the depthwise stage at one (image, output position), channels [first,
 * first+count) of C*M: diff_dst itself, or d_mid. */
void oracle_upstream(const oracle *o, int64_t item, int64_t first, int64_t count, double *value,
                     double *magnitude);

#endif
