/* Builds the gnuplot text of one picture: data block, ranges, ticks, and labels that do not overlap. */
#include "chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../embed.h"

bool chart_begin(chart *c, const char *name, const char *section, const char *script)
{
    *c = (chart){.script = script,
                 .x = {.least = INFINITY, .most = -INFINITY, .label = ""},
                 .y = {.least = INFINITY, .most = -INFINITY, .label = ""}};
    snprintf(c->plot.name, sizeof c->plot.name, "%s", name);
    snprintf(c->plot.section, sizeof c->plot.section, "%s", section);
    c->out = open_memstream(&c->data, &c->data_size);
    c->extra = open_memstream(&c->extra_text, &c->extra_size);
    return c->out != NULL && c->extra != NULL;
}

void chart_drop(chart *c)
{
    if (c->out != NULL) fclose(c->out);
    if (c->extra != NULL) fclose(c->extra);
    free(c->data);
    free(c->extra_text);
    c->out = c->extra = NULL;
    c->data = c->extra_text = NULL;
}

void chart_add_line(chart *c, const char *label, const char *color, int dash, double width, bool dots)
{
    if (c->line_count == CHART_MAX_LINES) return;
    if (c->line_count > 0 && isnan(c->lines[c->line_count - 1].end_y)) { /* nothing on the one before */
        c->line_count--;
    } else if (c->line_count > 0) {
        fputs("\n\n", c->out);
    }
    chart_line *line = &c->lines[c->line_count++];
    *line =
        (chart_line){.color = color, .dash = dash, .width = width, .dots = dots, .end_x = NAN, .end_y = NAN};
    snprintf(line->label, sizeof line->label, "%s", label);
}

static void note_x(chart *c, double x)
{
    int at = 0;
    while (at < c->x_count && c->xs[at] < x) at++;
    if (c->x_count == CHART_MAX_X || (at < c->x_count && c->xs[at] == x)) return;
    memmove(&c->xs[at + 1], &c->xs[at], (size_t)(c->x_count - at) * sizeof *c->xs);
    c->xs[at] = x;
    c->x_count++;
}

static void widen(chart_axis *axis, double value)
{
    axis->least = fmin(axis->least, value);
    axis->most = fmax(axis->most, value);
}

void chart_show_x(chart *c, double x)
{
    widen(&c->x, x);
    note_x(c, x);
}

static void add_point(chart *c, double x, double y, double low, double high, bool hollow)
{
    if (!isfinite(x) || !isfinite(y) || (c->y.log && y <= 0) || c->line_count == 0) return;
    bool bar = isfinite(low) && isfinite(high);
    chart_line *line = &c->lines[c->line_count - 1];
    if (line->broken) fputc('\n', c->out);
    fprintf(c->out, "%.9g %.9g %.9g %.9g %d\n", x, y, bar ? low : y, bar ? high : y, hollow);
    widen(&c->x, x);
    widen(&c->y, bar && !c->clip ? low : y);
    widen(&c->y, bar && !c->clip ? high : y);
    note_x(c, x);
    line->broken = false;
    line->end_x = x;
    line->end_y = y;
}

void chart_add_point(chart *c, double x, double y, double low, double high)
{
    add_point(c, x, y, low, high, false);
}

void chart_add_rough(chart *c, double x, double y) { add_point(c, x, y, NAN, NAN, true); }

void chart_add_gap(chart *c)
{
    if (c->line_count == 0) return;
    chart_line *line = &c->lines[c->line_count - 1];
    line->broken = !isnan(line->end_y);
}

/* Between single quotes gnuplot takes every character for itself, `command` and \ too, but the quote, which is
 * doubled; `noenhanced` does away with the rest. The names in it were checked when they were read: none has a
 * line break, which would begin a command. */
static void put_string(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != 0; text++) {
        if (*text == '\'') fputc('\'', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

void chart_add_text(chart *c, double x, double y, const char *text, const char *color, const char *where)
{
    fputs("set label ", c->extra);
    put_string(c->extra, text);
    fprintf(c->extra, " at first %.9g, first %.9g %s tc rgb \"%s\" front\n", x, y, where, color);
}

/* ---- ticks */

static void put_tick(FILE *out, const chart_axis *axis, double value, bool first)
{
    char text[32];
    if (axis->ticks == TICKS_TIME)
        report_time(value, text);
    else if (axis->ticks == TICKS_PERCENT)
        snprintf(text, sizeof text, "%g%%", value);
    else
        snprintf(text, sizeof text, "%g", value);
    if (axis->ticks == TICKS_TIME) { /* "1.00 ms" as a round figure: "1 ms" */
        char *unit = strchr(text, ' ');
        snprintf(text, sizeof text, "%g%s", strtod(text, NULL), unit ? strdupa(unit) : "");
    }
    fprintf(out, "%s", first ? "" : ", ");
    put_string(out, text);
    fprintf(out, " %.9g", value);
}

/* Powers of two. */
static void put_doubling_ticks(FILE *out, const chart_axis *axis)
{
    double first = exp2(ceil(log2(axis->least)));
    for (double value = first; value <= axis->most; value *= 2) put_tick(out, axis, value, value == first);
}

/* Decades, and 2 and 5 between them where there is room. */
static void put_log_ticks(FILE *out, const chart_axis *axis)
{
    bool dense = log10(axis->most / axis->least) < 2.2, first = true;
    int last = (int)floor(log10(axis->most));
    for (int decade = (int)floor(log10(axis->least)); decade <= last; decade++)
        for (int step = 0; step < (dense ? 3 : 1); step++) {
            double value = pow(10, decade) * (step == 0 ? 1 : step == 1 ? 2 : 5);
            if (value < axis->least || value > axis->most) continue;
            put_tick(out, axis, value, first);
            first = false;
        }
}

/* The values themselves; where they are many, those at least a tenth of the axis apart. */
static void put_value_ticks(FILE *out, const chart *c)
{
    double last = -INFINITY, whole = log(c->x.most / c->x.least);
    for (int i = 0; i < c->x_count; i++) {
        double at = c->x.log ? log(c->xs[i]) / whole : c->xs[i] / (c->x.most - c->x.least);
        if (i > 0 && at - last < 0.105) continue;
        put_tick(out, &c->x, c->xs[i], i == 0);
        last = at;
    }
}

static void put_axis(FILE *out, const chart *c, const chart_axis *axis, char letter)
{
    if (axis->log) fprintf(out, "set logscale %c\n", letter);
    fprintf(out, "set %crange [%.9g:%.9g]\n", letter, axis->least, axis->most);
    fprintf(out, "set %clabel ", letter);
    put_string(out, axis->label);
    fprintf(out, "\n");
    if (axis->ticks == TICKS_CHANNELS || axis->log) {
        fprintf(out, "set %ctics (", letter);
        if (axis->ticks == TICKS_CHANNELS)
            put_value_ticks(out, c);
        else if (axis->ticks == TICKS_DOUBLING)
            put_doubling_ticks(out, axis);
        else
            put_log_ticks(out, axis);
        fprintf(out, ")\n");
    } else if (axis->ticks == TICKS_PERCENT) {
        fprintf(out, "set format %c \"%%g%%%%\"\n", letter);
    }
}

/* A little air around what is drawn. */
static void pad_axis(chart_axis *axis, double below, double above)
{
    if (axis->log) {
        axis->least *= below;
        axis->most *= above;
        if (axis->least == axis->most) axis->most *= 1.1;
    } else {
        axis->most += (above - 1) * (axis->most - axis->least);
        if (axis->least == axis->most) axis->most += 1;
    }
}

/* ---- labels */

/* Labels that would overlap form blocks, each centred on the mean of what its labels wish. */
void chart_spread(double *positions, int count, double gap)
{
    int order[CHART_MAX_LINES], size[CHART_MAX_LINES], blocks = 0;
    double middle[CHART_MAX_LINES];
    if (count > CHART_MAX_LINES) count = CHART_MAX_LINES;
    if (count > 1 && gap * (count - 1) > 1) gap = 1.0 / (count - 1);
    for (int i = 0; i < count; i++) { /* insertion sort */
        int at = i;
        for (; at > 0 && positions[order[at - 1]] > positions[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
    for (int i = 0; i < count; i++) {
        middle[blocks] = positions[order[i]];
        size[blocks++] = 1;
        for (;;) {
            int b = blocks - 1;
            double half = gap * (size[b] - 1) / 2;
            middle[b] = fmin(fmax(middle[b], half), 1 - half);
            if (b == 0 || middle[b] - middle[b - 1] >= gap * (size[b] + size[b - 1]) / 2 - 1e-12) break;
            middle[b - 1] = (middle[b] * size[b] + middle[b - 1] * size[b - 1]) / (size[b] + size[b - 1]);
            size[b - 1] += size[b];
            blocks--;
        }
    }
    for (int b = 0, i = 0; b < blocks; b++)
        for (int k = 0; k < size[b]; k++, i++)
            positions[order[i]] = middle[b] + gap * (k - (size[b] - 1) / 2.0);
}

static double fraction(const chart_axis *axis, double value)
{
    if (axis->log) return log(value / axis->least) / log(axis->most / axis->least);
    return (value - axis->least) / (axis->most - axis->least);
}

static void put_line_labels(const chart *c, FILE *out)
{
    double at[CHART_MAX_LINES];
    const chart_line *labelled[CHART_MAX_LINES];
    int count = 0;
    for (int i = 0; i < c->line_count; i++)
        if (c->lines[i].label[0] != 0 && !isnan(c->lines[i].end_y)) {
            labelled[count] = &c->lines[i];
            at[count++] = fraction(&c->y, c->lines[i].end_y);
        }
    chart_spread(at, count, 0.058);
    for (int i = 0; i < count; i++) {
        fputs("set label ", out);
        put_string(out, labelled[i]->label);
        fprintf(out, " at graph 1.03, graph %.4f left tc rgb \"%s\" font \",12\"\n", at[i], labelled[i]->color);
    }
}

/* ---- the text */

static void put_words(FILE *out, const chart *c, const char *name, char what)
{
    fprintf(out, "%s = \"", name);
    for (int i = 0; i < c->line_count; i++) {
        const chart_line *line = &c->lines[i];
        if (what == 'c') fprintf(out, " %s", line->color);
        if (what == 'd') fprintf(out, " %d", line->dash);
        if (what == 'w') fprintf(out, " %g", line->width);
        if (what == 'p') fprintf(out, " %g", line->dots ? 0.42 : 0);
    }
    fprintf(out, "\"\n");
}

static void put_script(FILE *out, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "reports/%s.gp", name);
    const embedded_file *file = embedded_find(path);
    if (file != NULL) fwrite(file->data, 1, file->size, out);
}

bool chart_end(chart *c, FILE *out)
{
    fflush(c->out);
    fflush(c->extra);
    while (c->line_count > 0 && isnan(c->lines[c->line_count - 1].end_y)) c->line_count--;
    if (c->line_count == 0 && c->extra_size == 0) {
        chart_drop(c);
        return false;
    }
    pad_axis(&c->x, c->x.log ? 0.93 : 1, c->x.log ? 1.07 : 1);
    pad_axis(&c->y, c->y.log ? 0.75 : 1, c->y.log ? 1.35 : 1.06);
    fprintf(out, "\n# ---- %s\nreset\n$lines << END_OF_DATA\n%s\nEND_OF_DATA\n", c->plot.name, c->data);
    fprintf(out, "lines = %d\n", c->line_count);
    put_words(out, c, "colors", 'c');
    put_words(out, c, "dashes", 'd');
    put_words(out, c, "widths", 'w');
    put_words(out, c, "dots", 'p');
    fprintf(out, "muted = \"%s\"; axis = \"%s\"; grid = \"%s\"; page = \"%s\"\n", CHART_MUTED, CHART_AXIS,
            CHART_GRID, CHART_PAGE);
    put_script(out, "common");
    put_axis(out, c, &c->x, 'x');
    put_axis(out, c, &c->y, 'y');
    fputs("set label ", out);
    put_string(out, c->plot.title);
    fprintf(out, " at screen 0.02, screen 0.955 left tc rgb \"%s\" font \",15\"\nset label ", CHART_INK);
    put_string(out, c->subtitle);
    fprintf(out, " at screen 0.02, screen 0.895 left tc rgb \"%s\" font \",12\"\n", CHART_MUTED);
    put_line_labels(c, out);
    fwrite(c->extra_text, 1, c->extra_size, out);
    for (int png = 0; png < 2; png++) {
        if (png)
            fprintf(out, "set terminal @png size %d,%d\nset output \"%s.png\"\n", 2 * CHART_WIDTH,
                    2 * CHART_HEIGHT, c->plot.name);
        else
            fprintf(out,
                    "set terminal svg size %d,%d dynamic noenhanced font \"sans-serif,13\"\n"
                    "set output \"%s.svg\"\n",
                    CHART_WIDTH, CHART_HEIGHT, c->plot.name);
        put_script(out, c->script);
        fprintf(out, "unset output\n");
    }
    chart_drop(c);
    return true;
}
