/* The parts of a plan that have strategies of their own (kernels/conv.h): a pass of one implementation; of a
 * joint backward its two gradients, then what it chooses as a whole; of a separable by composition those of
 * its stages. */
#ifndef SEPBENCH_MEASURE_PARTS_H
#define SEPBENCH_MEASURE_PARTS_H

#include "../../kernels/problem.h"
#include "../record/record.h"

typedef struct {
    const conv_impl *impl;
    conv_problem problem; /* in the implementation's native layout */
    conv_pass pass;
} atomic_part;

enum { PARTS_MAX = 8, PART_NAME_MAX = PROBLEM_STRING_MAX + 128 };

/* Those with at least one candidate, on this machine and so many threads; what a part rests on comes before
 * it. */
int parts_of(const conv_impl *impl, const conv_problem *p, conv_pass pass, int threads,
             atomic_part parts[PARTS_MAX]);
/* Of a row; 0 where its implementation is absent or refuses it. */
int parts_of_row(const record_row *row, atomic_part parts[PARTS_MAX]);
void part_candidates(const atomic_part *part, int threads, conv_candidates *candidates);

/* "avx512 pointwise backward_weights mb1ic64ih28oc64 nhwc+bias t2". Returns name[PART_NAME_MAX]. */
char *part_name(const atomic_part *part, int threads, char *name);

#endif
