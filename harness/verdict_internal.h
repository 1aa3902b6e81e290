/* What verdict.c and verdict_cautions.c share. */
#ifndef SEPBENCH_VERDICT_INTERNAL_H
#define SEPBENCH_VERDICT_INTERNAL_H

#include "report.h"

/* Appends text (malloced, or NULL for nothing) to a list that then owns it. */
void verdict_add(char ***list, size_t *count, char *text);
void verdict_line(verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
void verdict_caution(verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* verdict_training.c: "Training: an epoch of separable takes ..." */
void verdict_training(const report_data *data, verdict *v);
void verdict_find_cautions(const report_data *data, verdict *v);

#endif
