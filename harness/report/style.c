/* How implementations look and how figures are written. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "../text.h"
#include "chart.h"

typedef struct {
    const char *light, *dark;
} colours;

/* One hue per family of impl.def, a lighter shade for its AVX2 copy: greys and browns for the plain ones, blue
 * for SIMD, red for fused, violet for Winograd, wine for fip, indigo for blocked. Each colour has at least 3:1
 * on its page. */
static const struct {
    const char *family;
    colours shade[2]; /* the only copy's or AVX-512's; AVX2's */
} families[] = {
    {"naive", {{"#80868f", "#9aa3ad"}}},
    {"im2col", {{"#94661a", "#d3a54c"}}},
    {"tiled", {{CHART_GREEN, "#5cc47f"}}},
    {"simd", {{CHART_BLUE, "#4b97f5"}, {"#3f8fd0", "#79bdf0"}}},
    {"fused", {{CHART_RED, "#ff6f5f"}, {"#df7616", "#f7a35c"}}},
    {"winograd", {{"#6a3db8", "#a17df5"}, {"#9876d3", "#bfa8f0"}}},
    {"fip", {{"#8f1d3f", "#f08aa6"}}},
    {"blocked", {{"#4450b8", "#a3acff"}, {"#7f88d6", "#c0c6ff"}}},
    {"tflike", {{"#8c5a00", "#d9a441"}}},
    {"tflike_fma", {{"#a8324a", "#f0879b"}}},
    {"tflike_nocopy", {{"#1d6fa5", "#6bb6e8"}}},
    {"tflike_registers", {{"#3f7d20", "#8cc96a"}}},
    {"tflike_threads", {{"#7048b8", "#b79cf0"}}},
    {"onednn", {{"#b8156f", "#ff6db6"}}},
    {"onednn_any", {{"#d0509f", "#f59fd2"}}},
    {"onednn_winograd", {{"#9c5590", "#d58fc9"}}},
    {"openblas", {{"#66801a", "#adc94a"}}},
    {"xnnpack", {{"#0c8080", "#3fcaca"}}},
    {"onnxruntime", {{"#4d6a76", "#8fb1bf"}}},
    {"tensorflow", {{"#a63d00", "#ff9a5c"}}},
};

/* A family or an implementation that came later: a colour by its name, always the same. */
static colours spare_colours(const char *name)
{
    static const colours spare[] = {{"#4d6a76", "#8fb1bf"}, {"#8a4f3a", "#cf8f77"}, {"#4a7a1e", "#93c463"},
                                    {"#7a4a8a", "#c194d2"}, {"#99770a", "#d9b84a"}, {"#2f5f9a", "#86aee0"}};
    unsigned hash = 5381;
    for (const char *c = name; *c != 0; c++) hash = hash * 33 + (unsigned char)*c;
    return spare[hash % (sizeof spare / sizeof *spare)];
}

static colours colours_of(const char *name, const char *family, cpu_isa isa)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const colours *shade = families[i].shade;
        if (strcmp(families[i].family, family) == 0) return shade[isa == CPU_AVX2 && shade[1].light != NULL];
    }
    return spare_colours(name);
}

/* impl.def, absent implementations included: a run may be another machine's. */
static const struct {
    const char *name, *family;
    cpu_isa isa;        /* of one copy; CPU_BASE: any */
    const char *engine; /* of a peer; else NULL */
    bool study;
} known[] = {
#define IMPL(name, symbol, variants) {name, #symbol, CPU_BASE, NULL, false},
#define IMPL_AT(name, symbol, isa, variants) {name, #symbol, isa, NULL, false},
#define IMPL_STUDY(name, symbol, isa, variants) {name, #symbol, isa, NULL, true},
#define IMPL_PEER(name, symbol, variants, engine) {name, #symbol, CPU_BASE, engine, false},
#define IMPL_PEER_STUDY(name, symbol, variants, engine) {name, #symbol, CPU_BASE, engine, true},
#include "../../kernels/impl.def"
#undef IMPL
#undef IMPL_AT
#undef IMPL_STUDY
#undef IMPL_PEER
#undef IMPL_PEER_STUDY
};

/* By the implementation itself where this machine has it, else by its family's name. */
static bool is_inexact(const char *name)
{
    size_t count;
    const conv_entry *entries = conv_entries(&count);
    for (size_t i = 0; i < count; i++)
        if (entries[i].impl != NULL && strcmp(entries[i].name, name) == 0) return entries[i].impl->inexact;
    return strstr(name, "winograd") != NULL || strncmp(name, "fip-", 4) == 0;
}

report_impl report_style(const char *name)
{
    report_impl impl = {.inexact = is_inexact(name)};
    colours c = spare_colours(name);
    snprintf(impl.name, sizeof impl.name, "%s", name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0) {
            impl.peer = known[i].engine != NULL;
            if (impl.peer) snprintf(impl.engine, sizeof impl.engine, "%s", known[i].engine);
            impl.study = known[i].study;
            c = colours_of(name, known[i].family, known[i].isa);
        }
    impl.light = c.light;
    impl.dark = c.dark;
    impl.dash = impl.inexact ? REPORT_DOTTED : impl.peer ? REPORT_DASHED : REPORT_SOLID;
    snprintf(impl.css, sizeof impl.css, "--c-%s", name);
    for (char *at = impl.css; *at != 0; at++)
        if (!isalnum((unsigned char)*at) && *at != '-') *at = '-';
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
    for (size_t length; *text != 0; text += length) {
        const char instead = text_instead_of(text, &length);
        switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fwrite(instead != 0 ? &instead : text, 1, instead != 0 ? 1 : length, out);
        }
    }
}

void report_put(FILE *out, const char *before, const char *text, const char *after)
{
    fputs(before, out);
    report_escape(out, text);
    fputs(after, out);
}
