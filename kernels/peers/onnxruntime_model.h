/* An ONNX model of one or two convolutions, encoded. */
#ifndef SEPBENCH_PEERS_ONNXRUNTIME_MODEL_H
#define SEPBENCH_PEERS_ONNXRUNTIME_MODEL_H

#include "../conv.h"

/* Names of the graph's inputs and output. bias is an input only where the problem has one. */
#define ONNX_SRC "src"
#define ONNX_BIAS "bias"
#define ONNX_DST "dst"

/* Protobuf's limit, and so that of a model whose weights are part of it. */
enum { ONNX_MODEL_LIMIT = 0x7fffffff };

/* Bytes of the model of p, a forward pass in NCHW: one Conv, or for a separable the depthwise and then the
 * pointwise one, and Relu where p has it. Weights are constants of the graph, so that the engine may pack them.
 */
size_t onnx_model_bytes(const conv_problem *p);

/* Writes it. weights, pointwise: in Keras's order [taps][IC/groups][OC] and [IC*M][OC] (conv.h). */
void onnx_model_write(const conv_problem *p, const float *weights, const float *pointwise, void *model);

/* The tensor's dimensions in NCHW, batch and channels first; how many. */
int onnx_shape(const conv_problem *p, bool src, int64_t dims[CONV_AXES + 2]);

#endif
