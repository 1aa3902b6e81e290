/* What the tests of training share: models from text, numbers by hash, networks ready to run. */
#ifndef SEPBENCH_TESTS_TRAIN_SUPPORT_H
#define SEPBENCH_TESTS_TRAIN_SUPPORT_H

#include <jansson.h>

#include "../harness/train/loop.h"
#include "../harness/train/net.h"
#include "unit.h"

/* Number i of a stream in [-0.5, 0.5): the integer hash of tests/golden/train's scripts. */
double noise(uint32_t stream, uint32_t i);
/* The scripts' weights: glorot uniform by the hash, biases within +-0.05, of 1 where the initializer is ones. */
void noise_weights(const model *m, float *weights);

/* tests/PATH wherever the test runs from: beside the sources this was compiled from. Returns text. */
char *test_path(const char *path, char *text, size_t size);
json_t *test_json(const char *path);
/* model_parse; fails the test with its words. */
model *test_model(const char *text);
/* Single quotes for double ones, as Python prints; `to` may be the text itself. Returns to. */
char *test_quoted(const char *text, char *to);
/* The article's networks: "conv", "separable". */
model *test_network(const char *name);
/* A built-in model without its dropout layers. */
model *test_model_undropped(const char *name);
net *test_net(const model *m, const char *impls, int64_t batch, int threads);
net *test_net_with(const model *m, const net_options *options);

#endif
