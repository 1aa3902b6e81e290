/* Problem strings, in benchdnn's syntax, so that oneDNN's shape files work as they are:
 *
 *   [separable:|depthwise:|dense:|pointwise:][gGmbBicCidDihHiwWocOodDohHowWkdKkhKkwKsdSshSswSpdPphPpwPddDdhDdwD][dmM][n"name"]
 *
 * Semantics of benchdnn (oneDNN tests/benchdnn/doc/driver_conv.md): mb defaults to 2 there and here; stride 1,
 * pad 0, dilation 0 (= none) by default; a missing width equals the height, a missing height the
 * depth; when oh is given without ph the padding that yields it is derived, and with ph the pad-after
 * follows; g groups. Without a prefix g = ic > 1 is depthwise, all kernel sizes 1 with g = 1 is pointwise,
 * else dense. `dmM` (ours) sets the separable's depth multiplier. */
#ifndef SEPBENCH_PROBLEM_H
#define SEPBENCH_PROBLEM_H

#include "conv.h"

enum { PROBLEM_STRING_MAX = 384, PROBLEM_NAME_MAX = 640 };

/* Parses text into *p (layout nhwc, no bias, no post-op) and, when name is not NULL, the n"..." part into
 * name[PROBLEM_NAME_MAX] ("" if absent). CONV_INVALID with a text naming the offending piece and what is
 * allowed; CONV_NO_MEMORY as conv_problem_check: *p and name are those of the text, for a row that says so. */
conv_status problem_parse(const char *text, conv_problem *p, char *name, conv_error *err);

/* The canonical string without prefix or name: mb always, then the shortest form that parses back to the same
 * problem once the variant is known. pad_after is stated through oh/ow, so one that reaches past what the last
 * output reads comes back trimmed to it: the same convolution. buffer[PROBLEM_STRING_MAX]. Returns buffer. */
char *problem_format(const conv_problem *p, char *buffer);

#endif
