/* Where the promise of the multiplications goes, of every comparison of dense and separable in a run. */
#ifndef SEPBENCH_REPORT_WATERFALLS_H
#define SEPBENCH_REPORT_WATERFALLS_H

#include "../limits/waterfall.h"
#include "report.h"

typedef void waterfall_sink(void *ctx, const report_setting *setting, const report_point *point,
                            const waterfall *w);
/* Best exact against best exact, as the verdict compares, where both have an interval. Returns how many. */
int report_waterfalls(const report_data *data, waterfall_sink *sink, void *ctx);

/* One as an SVG that stands in a page: a bar for each step, from where the one before ended, on a logarithmic
 * axis. Colours are the page's CSS variables. */
void waterfall_svg(FILE *out, const waterfall *w, const char *title);

#endif
