/* What plan functions use to state conv_plan.work (conv.h): sums of instructions and of bytes met again. */
#ifndef SEPBENCH_WORK_H
#define SEPBENCH_WORK_H

#include "conv.h"

/* `bytes` are read, met again after `reach` bytes, or CONV_EACH_CALL, or CONV_PAST_CACHES. */
void work_read(conv_work *w, double bytes, double reach);
/* The same, written: a line is read before and written back later, unless it goes past the caches. */
void work_write(conv_work *w, double bytes, double reach);

/* `bytes` are read elsewhere and copied to where they are met again after `reach`; lanes: a vector's floats. */
void work_copy(conv_work *w, double bytes, double reach, int lanes);

/* Outer products in register tiles: of `rows` x n sums of k terms each, tile_rows x nv vectors at a time. Per
 * term the panel's vectors are loaded once and each row's element is broadcast; sums are written once. */
typedef struct {
    double rows, k;
    int64_t n;
    int lanes;
    double tile_rows; /* on average */
    int nv;
} work_product;
void work_add_product(conv_work *w, const work_product *p);

/* Adds a part that runs before or after what w has. What the part meets each call, the whole call meets no
 * sooner. */
void work_add(conv_work *w, const conv_work *part, int threads);

/* How much longer the busiest thread works than the mean, when `units` equal pieces are dealt out. */
double work_busiest(int64_t units, int threads);
/* By what a strategy that works so is ranked (strategy_add): nanoseconds as limits_model_ns has them, of the
 * driver's own work, to which the tensors' bytes and the threads' start and end are added. */
double work_model_ns(const conv_work *w, const conv_problem *p, conv_pass pass, cpu_isa isa,
                     const conv_context *ctx);
/* Ends the statement: of the plan's sizes what a call touches; parallel regions (a barrier at either end) and
 * barriers inside. */
void work_finish(conv_plan *plan, int regions, int barriers);

#endif
