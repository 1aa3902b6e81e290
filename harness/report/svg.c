/* gnuplot's SVG made fit for a page: colours as CSS variables (light and dark), unique ids, no dead weight. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"

typedef struct {
    const char *css, *light, *dark;
} ink;

static const ink inks[] = {{"--ink", CHART_INK, "#e8eaed"},          {"--muted", CHART_MUTED, "#a3abb4"},
                           {"--axis", CHART_AXIS, "#69727c"},        {"--grid", CHART_GRID, "#2b3138"},
                           {"--page", CHART_PAGE, "#14171b"},        {"--forward", CHART_FORWARD, "#4fb9d6"},
                           {"--backward", CHART_BACKWARD, "#ee9a5f"}};

enum { INKS = sizeof inks / sizeof *inks };

void svg_write_variables(FILE *out, const report_data *data, bool dark)
{
    for (int i = 0; i < INKS; i++) fprintf(out, "%s:%s;", inks[i].css, dark ? inks[i].dark : inks[i].light);
    for (int i = 0; i < data->impl_count; i++)
        fprintf(out, "%s:%s;", data->impls[i].css, dark ? data->impls[i].dark : data->impls[i].light);
}

/* The variable of a colour, or NULL: heat maps keep their own. */
static const char *variable_of(const report_data *data, int r, int g, int b)
{
    char hex[16];
    snprintf(hex, sizeof hex, "#%02x%02x%02x", r & 255, g & 255, b & 255);
    for (int i = 0; i < INKS; i++)
        if (strcmp(inks[i].light, hex) == 0) return inks[i].css;
    for (int i = 0; i < data->impl_count; i++)
        if (strcmp(data->impls[i].light, hex) == 0) return data->impls[i].css;
    return NULL;
}

/* One piece of text to recognise at p: returns how many bytes were consumed, after writing what replaces it. */
static size_t replace_at(FILE *out, const char *p, const report_data *data)
{
    int rgb[3], length = 0;
    if (sscanf(p, "rgb(%3d,%3d,%3d)%n", &rgb[0], &rgb[1], &rgb[2], &length) == 3 && length > 0) {
        const char *variable = variable_of(data, rgb[0], rgb[1], rgb[2]);
        if (variable != NULL)
            fprintf(out, "var(%s)", variable);
        else
            fprintf(out, "#%02x%02x%02x", rgb[0] & 255, rgb[1] & 255, rgb[2] & 255);
        return (size_t)length;
    }
    static const struct {
        const char *from, *to;
    } words[] = {{"color='white'", "color='var(--page)'"},
                 {"fill=\"black\"", "fill=\"var(--ink)\""},
                 {" color=\"black\"", ""},
                 {" color=\"white\"", ""},
                 {" color=\"gray\"", ""},
                 {" font-family=\"sans-serif\"", ""},
                 {"stroke-width=\"1.00\" ", ""},
                 {" stroke-linecap=\"butt\" stroke-linejoin=\"miter\"", ""}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t size = strlen(words[i].from);
        if (strncmp(p, words[i].from, size) == 0) {
            fputs(words[i].to, out);
            return size;
        }
    }
    return 0;
}

static void put_line(FILE *out, const char *line, const char *name, const report_data *data)
{
    for (const char *p = line; *p != 0;) {
        const char *words_end = strncmp(p, "<text>", 6) == 0 ? strstr(p, "</text>") : NULL;
        if (words_end != NULL) { /* a name may look like anything */
            fwrite(p, 1, (size_t)(words_end - p), out);
            p = words_end;
        }
        if (strncmp(p, "#gpPt", 5) == 0) { /* every point is a filled circle */
            fprintf(out, "#%s-dot", name);
            p += 5;
            while (*p >= '0' && *p <= '9') p++;
            continue;
        }
        const char *id_end = strncmp(p, "id=\"gnuplot", 11) == 0 ? strchr(p + 4, '"') : NULL;
        if (id_end != NULL) { /* the same in every picture */
            p = id_end + 1;
            continue;
        }
        size_t used = replace_at(out, p, data);
        if (used == 0) fputc(*p++, out);
        p += used;
    }
}

static bool is_open_group(const char *line)
{
    return strncmp(line, "<g ", 3) == 0 && strstr(line, "</g>") == NULL && strstr(line, "id=") == NULL;
}

static void put_head(FILE *out, const char *name, const char *title, const report_data *data)
{
    fprintf(out,
            "<svg viewBox=\"0 0 %d %d\" xmlns=\"http://www.w3.org/2000/svg\" "
            "xmlns:xlink=\"http://www.w3.org/1999/xlink\" role=\"img\" aria-label=\"",
            CHART_WIDTH, CHART_HEIGHT);
    report_escape(out, title);
    fprintf(out, "\" font-family=\"system-ui, sans-serif\" stroke-width=\"1\">\n<style>:root{");
    svg_write_variables(out, data, false);
    fprintf(out, "}@media (prefers-color-scheme:dark){:root{");
    svg_write_variables(out, data, true);
    fprintf(out,
            "}}</style>\n<rect width=\"%d\" height=\"%d\" fill=\"var(--page)\"/>\n"
            "<defs><circle id=\"%s-dot\" r=\"1\" fill=\"currentColor\"/></defs>\n<g stroke=\"none\">\n",
            CHART_WIDTH, CHART_HEIGHT, name);
}

/* Drops gnuplot's own head, definitions, titles and the groups it opened for nothing. */
static void rewrite(FILE *in, FILE *out, const char *name, const report_data *data)
{
    char *line = NULL, *held = NULL; /* held: an opened group that may turn out empty */
    size_t capacity = 0;
    bool body = false, definitions = false;
    while (getline(&line, &capacity, in) > 0) {
        if (strstr(line, "<g id=\"gnuplot_canvas\"") != NULL) {
            body = true;
            continue;
        }
        if (strstr(line, "<defs>") != NULL) definitions = true;
        bool skip = !body || definitions || line[0] == '\n' || strncmp(line, "<rect x=\"0\" y=\"0\"", 17) == 0;
        if (strstr(line, "</defs>") != NULL) definitions = false;
        char *title = strstr(line, "<title>");
        if (title != NULL && strstr(title, "</title>") != NULL) memcpy(title, "\n", 2);
        if (skip) continue;
        if (held != NULL && strcmp(line, "</g>\n") == 0) {
            free(held);
            held = NULL;
            continue;
        }
        if (held != NULL) put_line(out, held, name, data);
        free(held);
        held = NULL;
        if (is_open_group(line))
            held = strdup(line);
        else
            put_line(out, line, name, data);
    }
    if (held != NULL) put_line(out, held, name, data);
    free(held);
    free(line);
}

bool svg_finish(const char *path, const char *name, const char *title, const report_data *data, conv_error *err)
{
    char *text = NULL;
    size_t size;
    FILE *in = fopen(path, "r"), *out = open_memstream(&text, &size);
    if (in == NULL || out == NULL) {
        conv_fail(err, CONV_FAILED, "gnuplot did not write %s: %s", path, strerror(errno));
        if (in != NULL) fclose(in);
        if (out != NULL) fclose(out);
        free(text);
        return false;
    }
    put_head(out, name, title, data);
    rewrite(in, out, name, data);
    fclose(in);
    fclose(out);
    FILE *file = fopen(path, "w");
    bool fine = file != NULL && fwrite(text, 1, size, file) == size;
    if (file != NULL && fclose(file) != 0) fine = false;
    if (!fine) conv_fail(err, CONV_FAILED, "cannot write %s: %s", path, strerror(errno));
    free(text);
    return fine;
}
