/* Names of layers: "mobilenet_v2:block_1_project*2" is a network, a layer of it and how often the network
 * has it (*N is benchdnn's); "mobilenet_v2@dense:..." is the same of a network in its other form, whose
 * separable convolutions are ordinary ones, or @separable, the reverse, or @swapped, each layer in its
 * other form. Layers of one shape share a row, their names joined by "+". */
#ifndef SEPBENCH_LAYER_H
#define SEPBENCH_LAYER_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LAYER_FORM = '@', LAYER_MOST_TIMES = 99999 };
#define LAYER_SWAPPED "swapped"

/* Whether the name is of a network at all. */
static inline bool layer_in_network(const char *name) { return strchr(name, ':') != NULL; }

static inline int layer_times(const char *name)
{
    const char *star = strrchr(name, '*');
    long times = star != NULL ? strtol(star + 1, NULL, 10) : 1;
    return times > 0 && times <= LAYER_MOST_TIMES ? (int)times : 1;
}

#endif
