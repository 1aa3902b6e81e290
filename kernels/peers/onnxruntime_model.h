/* An ONNX model of one or two convolutions, encoded. */
#ifndef SEPBENCH_PEERS_ONNXRUNTIME_MODEL_H
#define SEPBENCH_PEERS_ONNXRUNTIME_MODEL_H

#include "../conv.h"

/* Names of the graph's inputs and output. bias is an input only where the problem has one, weights and
 * pointwise only where they are fed. */
#define ONNX_SRC "src"
#define ONNX_WEIGHTS "weights"
#define ONNX_POINTWISE "pointwise"
#define ONNX_BIAS "bias"
#define ONNX_DST "dst"

/* Protobuf's limit: a model's weights are part of it. */
enum { ONNX_MODEL_LIMIT = 0x7fffffff };

/* In Keras's order, [taps][IC/groups][OC] and [IC*M][OC] (conv.h); while a model's bytes are counted they may
 * be NULL. */
typedef struct {
    const float *weights, *pointwise;
} onnx_constants;

/* Writes the model of p, a forward pass in NCHW: one Conv, or for a separable the depthwise and then the
 * pointwise one, and a Relu or Clip for its post-op. constants NULL: weights are inputs. Returns its size in
 * bytes; with model NULL it writes nothing. */
size_t onnx_model_write(const conv_problem *p, const onnx_constants *constants, void *model);

/* Weights of a problem that is not separable, in ONNX's order [OC][IC/groups][taps]. */
void onnx_filter(const conv_problem *p, const float *weights, void *filter);
/* Its dimensions; how many. */
int onnx_filter_shape(const conv_problem *p, int64_t dims[CONV_AXES + 2]);

/* The tensor's dimensions in NCHW, batch and channels first; how many. */
int onnx_shape(const conv_problem *p, bool src, int64_t dims[CONV_AXES + 2]);

#endif
