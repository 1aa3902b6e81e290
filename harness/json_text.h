/* The member of that name of a JSON object, as text; otherwise where there is none, or the object is NULL. */
#ifndef SEPBENCH_JSON_TEXT_H
#define SEPBENCH_JSON_TEXT_H

#include <jansson.h>

static inline const char *json_text(const json_t *object, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : otherwise;
}

#endif
