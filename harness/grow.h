/* Arrays that grow at their end. */
#ifndef SEPBENCH_GROW_H
#define SEPBENCH_GROW_H

#include <stddef.h>

/* array: the address of a T * that holds *count elements of `size` bytes (NULL for none). Appends a zeroed
 * one, counts it, and returns it; NULL without memory, the array then being as it was. */
void *grow(void *array, size_t *count, size_t size);

#endif
