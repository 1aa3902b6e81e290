/* The graph of one problem and pass, in TensorFlow's operations. */
#ifndef SEPBENCH_PEERS_TENSORFLOW_GRAPH_H
#define SEPBENCH_PEERS_TENSORFLOW_GRAPH_H

#include "../conv.h"
#include "tensorflow_api.h"

/* What a graph takes and gives. TF_DIFF_SRC is last: a first layer leaves it out. */
typedef enum {
    TF_SRC,
    TF_WEIGHTS,
    TF_POINTWISE,
    TF_BIAS,
    TF_DST,
    TF_MID, /* a separable's intermediate: a forward that is to keep it gives it, backward takes it */
    TF_DIFF_DST,
    TF_DIFF_WEIGHTS,
    TF_DIFF_POINTWISE,
    TF_DIFF_BIAS,
    TF_DIFF_SRC,
    TF_ROLES
} tf_role;

typedef struct {
    tf_role role;
    TF_Output node;
} tf_end;

enum { TF_ENDS = 6 };
typedef struct {
    TF_Graph *graph;
    tf_end input[TF_ENDS], output[TF_ENDS];
    int inputs, outputs;
} tf_graph;

/* SAME and VALID where the padding is that, as users ask for it: TensorFlow may know it better than a list. */
typedef enum { TF_VALID, TF_SAME, TF_EXPLICIT } tf_pads;
tf_pads tf_padding(const conv_problem *p);

/* TensorFlow's convolutions are of two or three dimensions: Conv1D is Conv2D of height 1, as in Keras. The first
 * of conv_problem's axes that its tensors have. */
static inline int tf_first_axis(const conv_problem *p) { return p->rank == 3 ? CONV_D : CONV_H; }

/* Dimensions of a role's tensor, and how many. */
enum { TF_DIMS = CONV_AXES + 2 };
int tf_shape(const conv_problem *p, tf_role role, int64_t dims[TF_DIMS]);
int64_t tf_count(const conv_problem *p, tf_role role);

/* constants: weights and pointwise when they are to be constants of the graph, else NULL: inputs. status says
 * what went wrong; the caller deletes graph->graph in either case. */
typedef struct {
    const conv_problem *problem;
    conv_pass pass;
    bool keep_mid;
    const float *const *constants;
} tf_wanted;
void tf_graph_build(const tf_api *tf, const tf_wanted *wanted, tf_graph *graph, TF_Status *status);

/* Of the metadata of a run with its graphs (RunMetadata): which operations ran, each once, "Conv2D, BiasAdd".
 */
void tf_operations(const void *metadata, size_t length, char *text, size_t size);

#endif
