/* What a person sees of training: the model's table and the epochs' lines, as Keras prints them. */
#ifndef SEPBENCH_TRAIN_SUMMARY_H
#define SEPBENCH_TRAIN_SUMMARY_H

#include <stdio.h>

#include "loop.h"

/* Layer, output shape, parameters, FLOPs of one image forward, what runs it and what was fused. */
void summary_print(FILE *out, const model *m, const net *n);

/* The layers as JSON for run.json. New reference. */
json_t *summary_json(const model *m, const net *n);

/* A terminal gets Keras's line with its bar, rewritten; anything else one plain line per epoch. */
typedef struct {
    FILE *out;
    bool terminal;
    int64_t epochs;
    double last; /* seconds since the epoch began at the last rewrite */
} epoch_line;
void epoch_line_start(epoch_line *line, FILE *out, int64_t epochs);
void epoch_line_step(epoch_line *line, const fit_step *s);
void epoch_line_end(epoch_line *line, const fit_epoch *row, int64_t steps);
void epoch_line_break(epoch_line *line); /* before other output, when an epoch is cut short */

#endif
