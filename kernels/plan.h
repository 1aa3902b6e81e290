/* What every implementation's plan function begins with. */
#ifndef SEPBENCH_PLAN_H
#define SEPBENCH_PLAN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv.h"

/* Tensors and the parts of scratch, packed and workspace memory start on cache lines. */
enum { CONV_ALIGN = 64 };

static inline size_t conv_align(size_t bytes) { return (bytes + CONV_ALIGN - 1) / CONV_ALIGN * CONV_ALIGN; }

/* Where the next `wanted` floats of a buffer begin, whose parts start on cache lines; *floats: how many it has.
 */
static inline size_t conv_reserve(size_t *floats, size_t wanted)
{
    size_t offset = *floats;
    *floats += conv_align(wanted * sizeof(float)) / sizeof(float);
    return offset;
}

/* Adds to a note, if what the words name is so. */
static inline void conv_note(char note[CONV_NOTE], bool taken, const char *words)
{
    size_t length = strlen(note);
    if (taken) snprintf(note + length, CONV_NOTE - length, "%s%s", length > 0 ? ", " : "", words);
}

/* Whether src and dst are larger than the L2 of all threads together: then they are prefetched. */
static inline bool conv_beyond_l2(const conv_problem *p, const conv_context *ctx)
{
    conv_sizes s = conv_problem_sizes(p);
    return (size_t)(s.src + s.dst) * sizeof(float) > ctx->l2 * (size_t)ctx->threads;
}

/* Whether an execute makes diff_src: a joint backward may be asked to leave it out. */
static inline bool conv_data_wanted(const conv_plan *plan, const conv_args *args)
{
    return conv_makes_data(plan->pass) && args->diff_src != NULL;
}

/* A zeroed plan of `size` bytes that begins with a conv_plan, its head filled in, its byte counts 0. NULL when
 * memory is short. Released with free(). */
static inline void *conv_plan_new(size_t size, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                                  const conv_context *ctx)
{
    conv_plan *plan = calloc(1, size);
    if (plan == NULL) return NULL;
    plan->impl = impl;
    plan->problem = *p;
    plan->pass = pass;
    plan->context = *ctx;
    return plan;
}

#endif
