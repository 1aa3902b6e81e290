/* Cases by name, so that finding one among thousands does not go through them all. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const record_entry *)a)->name, ((const record_entry *)b)->name);
}

record_entry *record_index_find(void *const *index, const char *name)
{
    const record_entry wanted = {.name = name};
    record_entry **found = tfind(&wanted, index, compare_names);
    return found != NULL ? *found : NULL;
}

record_entry *record_index_add(void **index, const char *name, size_t value)
{
    size_t size = strlen(name) + 1;
    record_entry *entry = malloc(sizeof *entry + size);
    if (entry == NULL) return NULL;
    entry->name = memcpy(entry->text, name, size);
    entry->value = value;
    record_entry **place = tsearch(entry, index, compare_names);
    if (place == NULL || *place != entry) free(entry);
    return place != NULL ? *place : NULL;
}

void record_index_free(void **index)
{
    tdestroy(*index, free);
    *index = NULL;
}
