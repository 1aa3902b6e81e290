#include "grow.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST = 16 };

/* Room doubles, so the count alone says when the array is full. */
void *grow(void *array, size_t *count, size_t size)
{
    char *items;
    memcpy(&items, array, sizeof items);
    const size_t n = *count;
    if (n == 0 || (n >= LEAST && (n & (n - 1)) == 0)) {
        items = realloc(items, (n == 0 ? LEAST : 2 * n) * size);
        if (items == NULL) return NULL;
        memcpy(array, &items, sizeof items);
    }
    ++*count;
    return memset(items + n * size, 0, size);
}
