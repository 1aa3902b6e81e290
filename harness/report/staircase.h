/* Why TensorFlow's depthwise convolution is slower: factors that lead from the best one's time to TensorFlow's.
 * Each is a cause that one implementation of the family tf-like has and the next one lacks. */
#ifndef SEPBENCH_REPORT_STAIRCASE_H
#define SEPBENCH_REPORT_STAIRCASE_H

#include "report.h"

enum { STAIRS = 5 }; /* four causes, and the rest between tf-like+threads and the best */

typedef struct {
    const record_row *tensorflow; /* NULL: the run has no time of it */
    const record_row *like, *best;
    double
        factor[STAIRS]; /* NaN where the level without the cause was not measured: the next factor holds both */
    double product;     /* of the factors: tf-like's time over the best's */
    double measured;    /* TensorFlow's time over the best's; NaN without */
} staircase;

/* False when tf-like or the best of ours has no time that may be shown. */
bool staircase_of(const report_data *data, const report_point *point, staircase *s);
/* dir/staircase.csv, when the run has any; results/README.md has its columns. */
bool staircase_write(const report_data *data, const char *dir, conv_error *err);

#endif
