/* Keras's initializers, regularizers and constraints: as JSON objects or names, in memory, and applied. */
#ifndef SEPBENCH_TRAIN_VALUES_H
#define SEPBENCH_TRAIN_VALUES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../kernels/conv.h"

enum { PARAMETER_MAX_RANK = 5 };

typedef enum {
    INIT_ZEROS,
    INIT_ONES,
    INIT_CONSTANT,         /* value */
    INIT_RANDOM_NORMAL,    /* mean, stddev */
    INIT_TRUNCATED_NORMAL, /* mean, stddev; beyond two stddev drawn again */
    INIT_RANDOM_UNIFORM,   /* [minval, maxval) */
    INIT_VARIANCE_SCALING  /* scale, mode, distribution: glorot, he, lecun are its cases */
} init_kind;

typedef enum { FAN_IN, FAN_OUT, FAN_AVG } init_mode;
typedef enum { SCALE_UNIFORM, SCALE_TRUNCATED_NORMAL, SCALE_UNTRUNCATED_NORMAL } init_distribution;

typedef struct {
    init_kind kind;
    double a, b; /* the numbers above, in that order; variance scaling: a = scale */
    init_mode mode;
    init_distribution distribution;
    bool seeded; /* the model's JSON gave a seed; else the run's seed serves */
    int64_t seed;
} initializer;

typedef struct {
    float l1, l2; /* loss += l1 * sum|x| + l2 * sum x^2 */
} regularizer;

typedef enum {
    CONSTRAINT_NONE,
    CONSTRAINT_MAX_NORM,
    CONSTRAINT_MIN_MAX_NORM,
    CONSTRAINT_NON_NEG,
    CONSTRAINT_UNIT_NORM
} constraint_kind;

typedef struct {
    constraint_kind kind;
    float min_value, max_value, rate;
    unsigned axes; /* bit per axis the norm runs over; axis -1 is bit 31 */
} constraint;

/* Each reads a JSON value in Keras's forms: null, a name ("glorot_uniform", "GlorotUniform"), or
 * {"class_name": NAME, "config": {...}}. CONV_INVALID says what is unknown, without saying where. */
conv_status initializer_parse(json_t *value, initializer *out, conv_error *err);
conv_status regularizer_parse(json_t *value, regularizer *out, conv_error *err);
conv_status constraint_parse(json_t *value, constraint *out, conv_error *err);

/* Fills w[product of shape] from counters of (seed, stream): the same for any machine and thread count. Fans as
 * Keras's compute_fans: the last two axes times the product of the others. */
void initializer_fill(const initializer *init, int rank, const int64_t *shape, uint64_t seed, uint32_t stream,
                      float *w);

/* Keras's projection of w after an update, epsilon 1e-7. */
void constraint_apply(const constraint *c, int rank, const int64_t *shape, float *w);
/* NULL, or why the axes do not fit that rank. */
const char *constraint_refuse(const constraint *c, int rank);

#endif
