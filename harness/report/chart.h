/* One gnuplot picture: data and labels from C, looks from reports/NAME.gp. */
#ifndef SEPBENCH_REPORT_CHART_H
#define SEPBENCH_REPORT_CHART_H

#include "report.h"

enum { CHART_MAX_LINES = 64, CHART_MAX_X = 64, CHART_WIDTH = 410, CHART_HEIGHT = 340 };

/* Colours of everything that is not an implementation: light, dark and CSS variable are in report/svg.c. */
#define CHART_INK "#1b1f24"
#define CHART_MUTED "#5c636b"
#define CHART_AXIS "#9aa0a6"
#define CHART_GRID "#e3e5e8"
#define CHART_PAGE "#ffffff"
#define CHART_FORWARD "#0a6e8a"
#define CHART_BACKWARD "#b3541e"
/* And of some that are (report/style.c), lent to variants where no implementation has a line. */
#define CHART_GREEN "#2a8a4a"
#define CHART_BLUE "#0b4fa0"
#define CHART_RED "#c1301f"

typedef enum { TICKS_NUMBER, TICKS_TIME, TICKS_CHANNELS, TICKS_PERCENT, TICKS_DOUBLING } chart_ticks;

typedef struct {
    chart_ticks ticks;
    bool log;
    double least, most; /* range; set by chart_begin to empty, widened by every point */
    const char *label;
} chart_axis;

typedef struct {
    char label[48];
    const char *color; /* "#rrggbb" of the light page */
    int dash;
    double width;
    bool dots, broken;   /* broken: the next point begins a new piece */
    double end_x, end_y; /* the last point, where the label goes */
} chart_line;

typedef struct {
    report_plot plot;
    char subtitle[160];
    const char *script; /* "lines": reports/lines.gp */
    chart_axis x, y;
    double xs[CHART_MAX_X]; /* distinct x values in order */
    int x_count;
    bool clip; /* bars do not widen the range */
    chart_line lines[CHART_MAX_LINES];
    int line_count;
    char *data; /* gnuplot's data block */
    size_t data_size;
    FILE *out;
    FILE *extra; /* more gnuplot commands, before the script runs */
    char *extra_text;
    size_t extra_size;
} chart;

/* False when memory is short. */
bool chart_begin(chart *c, const char *name, const char *section, const char *script);
/* label "" draws no label. */
void chart_add_line(chart *c, const char *label, const char *color, int dash, double width, bool dots);
/* A value that the x axis shows whether or not a point has it. */
void chart_show_x(chart *c, double x);
/* low and high: the interval's bar, NaN for none. */
void chart_add_point(chart *c, double x, double y, double low, double high);
/* A point whose value is not sure: hollow, without a bar. */
void chart_add_rough(chart *c, double x, double y);
/* The line is broken here. */
void chart_add_gap(chart *c);
void chart_add_text(chart *c, double x, double y, const char *text, const char *color, const char *where);
/* Writes the chart's part of plots.gp and frees it.
 * A chart without a point writes nothing and returns false. */
bool chart_end(chart *c, FILE *script);
/* Where charts go: gnuplot's script, and the list of what it draws. */
typedef struct {
    FILE *script;
    report_plots *plots;
} chart_album;
/* What one report draws. */
typedef struct {
    bool (*compose)(const void *subject, const chart_album *album); /* finishes each chart; false: no memory */
    const void *subject;
    const report_data *palette; /* the colours of its lines are those of its impls */
} chart_drawing;
/* report/plots.c: writes plots.gp and each picture as .svg and .png into dir. */
bool chart_draw(const chart_drawing *drawing, const char *dir, report_plots *plots, conv_error *err);
/* report/plots.c: chart_end, and into the list. False when memory is short. */
bool chart_finish(chart *c, const chart_album *album);
/* ---- report/plots.c: separable over dense against channels */
/* The x axis of channel counts. */
void chart_channels(chart *c);
/* How many times as fast, from 0 to `most` on the y axis, and the line at 1; behind chart_show_x of all x. */
void chart_speedup(chart *c, conv_pass pass, double most);
void chart_break_even(chart *c);
/* `most`, or what the ratio needs of the y axis: what is promised, and more where more arrives. */
double chart_most_speedup(double most, const report_ratio *ratio);
/* With its interval; a gap where it is not determined, or NULL. */
void chart_add_speedup(chart *c, double x, const report_ratio *ratio);

/* Frees a chart that shall not be drawn. */
void chart_drop(chart *c);

/* Moves positions (fractions of the height, in any order) apart to at least `gap`, inside [0, 1]. */
void chart_spread(double *positions, int count, double gap);

/* ---- report/map.c: begins the break-even map of that setting and its likes; false when there is none */
bool chart_map(chart *c, const report_data *data, size_t setting, conv_pass pass);

/* ---- report/svg.c */
/* The CSS custom properties of all colours for the light, then the dark page. */
void svg_write_variables(FILE *out, const report_data *data, bool dark);
/* Rewrites gnuplot's SVG in place: colours become CSS variables, ids unique, empty sections go. */
bool svg_finish(const char *path, const char *name, const char *title, const report_data *data,
                conv_error *err);

#endif
