/* Cold mode: what a call reads and writes leaves every cache. */
#ifndef SEPBENCH_MEASURE_EVICT_H
#define SEPBENCH_MEASURE_EVICT_H

#include "../../kernels/conv.h"

enum { EVICT_MAX = 16 };
typedef struct {
    struct {
        const void *data;
        size_t bytes;
    } part[EVICT_MAX];
    int parts;
    char *sweep; /* read through instead of flushing lines; NULL: lines are flushed */
    size_t sweep_bytes;
} evict_list;

void evict_add(evict_list *list, const void *data, size_t bytes); /* NULL or 0 bytes: nothing */
/* All that an execute of the plan reads and writes. */
void evict_add_operands(evict_list *list, const conv_plan *plan, const conv_args *args);
/* Without an instruction that flushes lines by address a buffer larger than the caches is read instead. False
 * when there is no memory for it. */
bool evict_prepare(evict_list *list, int threads);
void evict_now(const evict_list *list, int threads);
void evict_release(evict_list *list);

#endif
