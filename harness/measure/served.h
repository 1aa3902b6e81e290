/* The rows that this process, a worker, measures for another one: measure.h's steps, one request each
 * (../worker/protocol.h). remote.c is the asking end. */
#ifndef SEPBENCH_MEASURE_SERVED_H
#define SEPBENCH_MEASURE_SERVED_H

#include <jansson.h>

#include "measure.h"

typedef struct served served;

/* Loops are run by run. NULL: no memory. */
served *served_create(measure_runner *run);
void served_destroy(served *s);

/* The reply (the caller's) to a request that is one of them; NULL: it is not. row: of "open", the case it
 * names, for which the pool is bound. */
json_t *served_open(served *s, const json_t *request, const record_row *row);
json_t *served_step(served *s, const json_t *request);

#endif
