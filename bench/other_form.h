/* What a network costs in its other form: ordinary convolutions in place of separable ones, or, where it has no
 * separable one, the reverse. */
#ifndef SEPBENCH_OTHER_FORM_H
#define SEPBENCH_OTHER_FORM_H

#include "suite.h"

/* Appends the other form of each network of the list, at each batch size, whole: also the layers that stay
 * as they are. of: all networks, or those whose shape file says --other-form=yes.
 *
 * A network with a separable or depthwise layer becomes dense: a separable layer by itself; a depthwise one
 * together with the pointwise one that reads it, the first behind it in the list, before the next depthwise
 * one, of its image, channels and number; a depthwise one without such by itself. Else each dense layer of
 * a kernel above 1 and one group becomes separable. EXIT_FINE, or EXIT_USAGE after a line on stderr, also
 * when all have none. */
typedef enum { OTHER_FORM_NO, OTHER_FORM_BY_FILE, OTHER_FORM_YES } other_form_choice;
int other_form_append(suite_list *list, other_form_choice of);

/* The rule for one layer: p becomes separable when it is dense, of a kernel above 1 and one group; dense
 * (of a 1x1 kernel pointwise) when it is separable, or depthwise with the output channels of the pointwise
 * one behind it. False: it has not that form, and stays. */
bool other_form_of(conv_problem *p, conv_variant form);

#endif
