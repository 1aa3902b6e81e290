/* How implementations look and how figures are written. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "report.h"

enum { SOLID = 1, DASHED = 2, DOTTED = 3 };

/* One hue per family: greys and browns for the plain ones, blue for SIMD, red for fused, violet for
 * Winograd, wine for fip, indigo for blocked; peers are dashed, inexact ones dotted. Each colour has at least
 * 3:1 on its page. */
static const struct {
    const char *name, *light, *dark;
    int dash;
} styles[] = {
    {"naive", "#80868f", "#9aa3ad", SOLID},
    {"im2col", "#94661a", "#d3a54c", SOLID},
    {"tiled", "#2a8a4a", "#5cc47f", SOLID},
    {"avx2", "#3f8fd0", "#79bdf0", SOLID},
    {"avx512", "#0b4fa0", "#4b97f5", SOLID},
    {"fused-avx2", "#df7616", "#f7a35c", SOLID},
    {"fused-avx512", "#c1301f", "#ff6f5f", SOLID},
    {"winograd-avx2", "#9876d3", "#bfa8f0", DOTTED},
    {"winograd-avx512", "#6a3db8", "#a17df5", DOTTED},
    {"fip-avx512", "#8f1d3f", "#f08aa6", DOTTED},
    {"blocked-avx2", "#7f88d6", "#c0c6ff", SOLID},
    {"blocked-avx512", "#4450b8", "#a3acff", SOLID},
    {"onednn", "#b8156f", "#ff6db6", DASHED},
    {"onednn-any", "#d0509f", "#f59fd2", DASHED},
    {"onednn-winograd", "#9c5590", "#d58fc9", DOTTED},
    {"openblas", "#66801a", "#adc94a", DASHED},
    {"xnnpack", "#0c8080", "#3fcaca", DASHED},
};

static const char *const spare[][2] = {{"#4d6a76", "#8fb1bf"}, {"#8a4f3a", "#cf8f77"}, {"#4a7a1e", "#93c463"},
                                       {"#7a4a8a", "#c194d2"}, {"#99770a", "#d9b84a"}, {"#2f5f9a", "#86aee0"}};

report_impl report_style(const char *name)
{
    report_impl impl = {.dash = 0};
    snprintf(impl.name, sizeof impl.name, "%s", name);
    impl.peer =
        strncmp(name, "onednn", 6) == 0 || strcmp(name, "openblas") == 0 || strcmp(name, "xnnpack") == 0;
    impl.inexact = strstr(name, "winograd") != NULL || strncmp(name, "fip-", 4) == 0;
    size_t count;
    const conv_entry *entries = conv_entries(&count);
    for (size_t i = 0; i < count; i++) /* this build's own word counts where it knows the name */
        if (entries[i].impl != NULL && strcmp(entries[i].name, name) == 0) {
            impl.peer = entries[i].impl->peer;
            impl.inexact = entries[i].impl->inexact;
        }
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++)
        if (strcmp(styles[i].name, name) == 0) {
            impl.light = styles[i].light;
            impl.dark = styles[i].dark;
            impl.dash = styles[i].dash;
        }
    if (impl.light == NULL) { /* one that came later: a colour by its name, always the same */
        unsigned hash = 5381;
        for (const char *c = name; *c != 0; c++) hash = hash * 33 + (unsigned char)*c;
        size_t i = hash % (sizeof spare / sizeof *spare);
        impl.light = spare[i][0];
        impl.dark = spare[i][1];
        impl.dash = impl.inexact ? DOTTED : impl.peer ? DASHED : SOLID;
    }
    snprintf(impl.css, sizeof impl.css, "--c-%s", name);
    for (char *c = impl.css; *c != 0; c++)
        if (!isalnum((unsigned char)*c) && *c != '-') *c = '-';
    return impl;
}

/* Three significant digits in fixed notation. */
char *report_number(double value, char *buffer)
{
    double size = fabs(value);
    if (!isfinite(value))
        snprintf(buffer, 16, "-");
    else if (size < 1e-4)
        snprintf(buffer, 16, "%.0f", value);
    else {
        int decimals = 2 - (int)floor(log10(size) + 1e-9);
        snprintf(buffer, 16, "%.*f", decimals < 0 ? 0 : decimals > 6 ? 6 : decimals, value);
    }
    return buffer;
}

static char *scaled(double value, const char *const *units, const double *scales, int count, char *buffer)
{
    char number[16];
    int i = count - 1;
    while (i > 0 && fabs(value) < 0.9995 * scales[i]) i--;
    snprintf(buffer, 24, "%s%s%s", report_number(value / scales[i], number), *units[i] ? " " : "", units[i]);
    return buffer;
}

char *report_time(double ns, char *buffer)
{
    static const char *const units[] = {"ns", "µs", "ms", "s"};
    static const double scales[] = {1, 1e3, 1e6, 1e9};
    if (isnan(ns)) return report_number(ns, buffer);
    return scaled(ns, units, scales, 4, buffer);
}

char *report_count(double value, char *buffer)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    static const double scales[] = {1, 1e3, 1e6, 1e9, 1e12};
    return scaled(value, units, scales, 5, buffer);
}

void report_escape(FILE *out, const char *text)
{
    for (; *text != 0; text++) switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
}
