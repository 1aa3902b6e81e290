/* Where gnuplot draws: a folder of its own in the report's. gnuplot writes through symbolic links, and while it
 * draws, the report that is there stays whole. */
#ifndef SEPBENCH_REPORT_DRAWING_H
#define SEPBENCH_REPORT_DRAWING_H

#include <stdbool.h>
#include <stddef.h>

#include "../../kernels/conv.h"

/* Makes the folder, empty, and puts its path into drawing. */
bool drawing_open(const char *dir, char *drawing, size_t size, conv_error *err);
/* Runs gnuplot there on plots.gp. */
bool drawing_run(const char *drawing, const char *dir, conv_error *err);
/* fine: everything in it goes to dir; else the script and gnuplot's messages alone. The folder is gone then. */
bool drawing_close(const char *drawing, const char *dir, bool fine, conv_error *err);

#endif
