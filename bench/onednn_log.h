/* Logs that ONEDNN_VERBOSE makes oneDNN write, of versions 1 to 3: which convolutions a program executed. */
#ifndef SEPBENCH_ONEDNN_LOG_H
#define SEPBENCH_ONEDNN_LOG_H

#include <jansson.h>
#include <stdbool.h>

/* Whether one of the text's lines, comments of shape files aside, is of such a log. */
bool onednn_log_is(const char *text);

/* {"dense:mb1ic3ih...": 2, ...}: the problems that were executed, in the order of their first time, and how
 * often. The text is cut into pieces. What a log tells and shapes do not comes out as one warning. NULL after
 * one line on stderr that names path, line and what is wrong there. */
json_t *onednn_log_read(const char *path, char *text);

#endif
