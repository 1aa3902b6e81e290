/* The depthwise member of the im2col implementation. */
#ifndef SEPBENCH_IM2COL_DEPTHWISE_H
#define SEPBENCH_IM2COL_DEPTHWISE_H

#include "../conv.h"

extern const conv_impl im2col_depthwise;

#endif
