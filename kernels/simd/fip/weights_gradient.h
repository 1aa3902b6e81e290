/* The weights' gradient of a pointwise convolution with a product that multiplies pairs (fip.h). */
#ifndef SEPBENCH_SIMD_FIP_WEIGHTS_GRADIENT_H
#define SEPBENCH_SIMD_FIP_WEIGHTS_GRADIENT_H

#include "../dense/weights_gradient.h"

/* Whether the pixels of src and dst correspond one to one, as they have to. */
bool fip_wgrad_fits(const conv_problem *p);
wgrad_planner fip_wgrad_plan;
wgrad_lister fip_wgrad_strategies;

#endif
