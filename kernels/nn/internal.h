/* The functions of one copy, each of the type that its place in the table has (nn.h); table.c gathers them. */
#ifndef SEPBENCH_NN_INTERNAL_H
#define SEPBENCH_NN_INTERNAL_H

#include "nn.h"

#define FUNCTION(member, name) __typeof__(*((nn_kernels *)0)->member) name;
#include "functions.def"
/* softmax.c: the activations of whole rows */
FUNCTION(activate, nn_activate_rows)
FUNCTION(activate_backward, nn_activate_rows_backward)
#undef FUNCTION

#endif
