/* What jansson leaves to be written again and again. */
#ifndef SEPBENCH_JSON_H
#define SEPBENCH_JSON_H

#include <jansson.h>
#include <math.h>

/* The member of that name of an object, as text; otherwise where there is none, or the object is NULL. */
static inline const char *json_text(const json_t *object, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : otherwise;
}

/* A number, null where it is none. */
static inline json_t *json_finite(double x) { return isfinite(x) ? json_real(x) : json_null(); }

#endif
