/* A time as UTC text. */
#ifndef SEPBENCH_UTC_H
#define SEPBENCH_UTC_H

#include <time.h>

#define UTC_STAMP "%Y-%m-%dT%H:%M:%SZ" /* as run.json and reports have it */

/* format: strftime's. Returns buffer. */
static inline char *utc_text(time_t at, const char *format, char *buffer, size_t size)
{
    struct tm utc;
    strftime(buffer, size, format, gmtime_r(&at, &utc));
    return buffer;
}

#endif
