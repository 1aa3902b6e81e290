/* The convolutions of a network: shapes carried through the graph from its inputs. */
#ifndef SEPBENCH_NETWORK_CONVS_H
#define SEPBENCH_NETWORK_CONVS_H

#include "network.h"

typedef struct {
    const char *name; /* the node's */
    int node;
    conv_problem problem; /* of one image, with the bias that the layer has */
    /* Of a depthwise one, where in the list the 1x1 behind it is that makes a separable convolution with it,
     * and the reverse. -1: there is none. */
    int pair;
} network_conv;

typedef struct {
    network_conv *at;
    size_t count;
    json_t *unknown; /* {"Lambda": 2, ...}: how many layers of each class that is not known */
    json_t *lost;    /* [{"layer": "conv_7", "why": "..."}]: convolutions whose problem is not known */
} network_convs;

/* --input: sizes in the order of the shape; count 0: not given. */
typedef struct {
    int64_t size[CONV_AXES + 1];
    int count;
} network_input;

/* "224x224", "3x224x224": false when it is not of this form. */
bool network_input_parse(const char *text, network_input *input);

/* input: what the file's inputs leave open or, where that is nothing, in place of the file's sizes: all of
 * them, or all but the channels; of inputs that differ, what the open ones leave open. CONV_INVALID: an input's size is not known or does not fit --input, or
 * there is no convolution; err says which, and there is nothing to free. */
conv_status network_find_convs(network *n, const network_input *input, network_convs *out, conv_error *err);
void network_convs_free(network_convs *c);

#endif
