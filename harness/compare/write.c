/* A comparison for machines: annotations of GitHub Actions, compare.csv, compare.json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../json.h"
#include "../output.h"
#include "../record/csv.h"
#include "../text.h"
#include "internal.h"

/* ---- annotations: docs.github.com, "Workflow commands for GitHub Actions"; in a message the percent sign and
 * line ends are escaped as in actions/toolkit, command.ts
 * ------------------------------------------------------------ */

static void annotate(FILE *out, const char *level, const char *title, char *text)
{
    fprintf(out, "::%s title=%s::", level, title);
    for (text_make_printable(text); *text != '\0'; text++) {
        if (strchr("%\r\n", *text) != NULL)
            fprintf(out, "%%%02X", (unsigned)*text);
        else
            putc(*text, out);
    }
    putc('\n', out);
}

static void annotate_case(FILE *out, const compare_result *r, const compare_case *c)
{
    char text[2 * CASE_NAME_MAX + 512];
    if (c->verdict == COMPARE_WRONG) {
        snprintf(text, sizeof text, "%s: %s%s%s", c->name, c->reason, c->repro[0] ? "; repro: " : "", c->repro);
        annotate(out, "error", "Wrong result", text);
    } else if (c->verdict == COMPARE_REGRESSED) {
        snprintf(text, sizeof text,
                 "%s is %.1f%% slower than base (95%% interval %+.1f%% to %+.1f%%, margin %.1f%%)", c->name,
                 100 * (c->ratio - 1), 100 * (c->low - 1), 100 * (c->high - 1), 100 * r->margin);
        annotate(out, r->invalid ? "warning" : "error", "Slower", text);
    } else if (c->verdict == COMPARE_INCONCLUSIVE && c->flagged) {
        snprintf(text, sizeof text, "%s: %+.1f%% against base: %s", c->name, 100 * (c->ratio - 1), c->reason);
        annotate(out, "warning", "Inconclusive", text);
    }
}

void compare_annotations(FILE *out, const compare_result *r)
{
    char text[512];
    size_t *order = compare_sorted(r);
    for (size_t i = 0; order != NULL && i < r->count; i++) annotate_case(out, r, &r->cases[order[i]]);
    free(order);
    size_t silent = 0;
    for (size_t i = 0; i < r->count; i++)
        silent += r->cases[i].verdict == COMPARE_INCONCLUSIVE && !r->cases[i].flagged;
    if (silent > 0) {
        snprintf(text, sizeof text, "%zu of %zu cases %s too noisy for a verdict", silent, r->count,
                 silent == 1 ? "was" : "were");
        annotate(out, "warning", "Noise", text);
    }
    size_t absent = compare_count(r, COMPARE_NOT_COMPARED);
    if (absent > 0) {
        snprintf(text, sizeof text, "%zu of %zu cases %s not compared: compare.csv says why", absent, r->count,
                 absent == 1 ? "was" : "were");
        annotate(out, "warning", "Not compared", text);
    }
    if (r->invalid) {
        compare_outcome(r, text, sizeof text);
        annotate(out, "error", "Measurement invalid", text);
    }
}

/* ---- CSV */

typedef enum { TEXT, REAL, COUNT_OF, FLAG, VERDICT } field_kind;

/* One list for the header and the rows, and for the scalar members of a case in compare.json. */
static const struct {
    const char *name;
    field_kind kind;
    size_t offset;
} fields[] = {
#define FIELD(name, kind, member)                                                                              \
    {                                                                                                          \
        name, kind, offsetof(compare_case, member)                                                             \
    }
    FIELD("case", TEXT, name),
    FIELD("verdict", VERDICT, verdict),
    FIELD("ratio", REAL, ratio),
    FIELD("ci95_low", REAL, low),
    FIELD("ci95_high", REAL, high),
    FIELD("catchable", REAL, catchable),
    FIELD("flagged", FLAG, flagged),
    FIELD("warning", FLAG, warning),
    FIELD("p_screen", REAL, p_screen),
    FIELD("p_confirm", REAL, p_confirm),
    FIELD("base_ns", REAL, base_ns),
    FIELD("head_ns", REAL, head_ns),
    FIELD("screen_pairs", COUNT_OF, screen_count),
    FIELD("confirm_pairs", COUNT_OF, confirm_count),
    FIELD("null_pairs", COUNT_OF, null_count),
    FIELD("base_plan", TEXT, base_plan),
    FIELD("head_plan", TEXT, head_plan),
    FIELD("reason", TEXT, reason),
    FIELD("repro", TEXT, repro),
#undef FIELD
};

static void put_field(FILE *out, const compare_case *c, size_t i)
{
    const void *at = (const char *)c + fields[i].offset;
    switch (fields[i].kind) {
    case TEXT: csv_put(out, at); break;
    case REAL:
        if (isfinite(*(const double *)at)) fprintf(out, "%.6g", *(const double *)at);
        break;
    case COUNT_OF: fprintf(out, "%zu", *(const size_t *)at); break;
    case FLAG: putc(*(const bool *)at ? '1' : '0', out); break;
    case VERDICT: fputs(compare_verdict_name(*(const compare_verdict *)at), out); break;
    }
}

static void write_csv(FILE *out, const compare_result *r)
{
    enum { FIELDS = sizeof fields / sizeof *fields };
    for (size_t i = 0; i < FIELDS; i++) fprintf(out, "%s%c", fields[i].name, i + 1 < FIELDS ? ',' : '\n');
    for (size_t k = 0; k < r->count; k++)
        for (size_t i = 0; i < FIELDS; i++) {
            put_field(out, &r->cases[k], i);
            putc(i + 1 < FIELDS ? ',' : '\n', out);
        }
}

/* ---- JSON */

static json_t *reals(const double *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_finite(values[i]));
    return list;
}

static json_t *field_json(const compare_case *c, size_t i)
{
    const void *at = (const char *)c + fields[i].offset;
    switch (fields[i].kind) {
    case TEXT: return json_string(at);
    case REAL: return json_finite(*(const double *)at);
    case COUNT_OF: return json_integer((json_int_t) * (const size_t *)at);
    case FLAG: return json_boolean(*(const bool *)at);
    case VERDICT: return json_string(compare_verdict_name(*(const compare_verdict *)at));
    }
    return NULL;
}

static json_t *case_json(const compare_case *c)
{
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        json_object_set_new(object, fields[i].name, field_json(c, i));
    json_object_set_new(object, "iterations", json_integer(c->iterations));
    json_object_set_new(object, "screen", reals(c->screen, c->screen_count));
    json_object_set_new(object, "confirm", reals(c->confirm, c->confirm_count));
    json_object_set_new(object, "null", reals(c->null, c->null_count));
    return object;
}

static json_t *side_json(const compare_side *s)
{
    return json_pack("{ss ss ss sb ss ss ss}", "path", s->path, "build", s->build, "commit", s->commit, "dirty",
                     s->dirty, "kernels", s->kernels, "compiler", s->compiler, "inject", s->inject);
}

static json_t *result_json(const compare_result *r)
{
    char outcome[512];
    json_t *cases = json_array();
    compare_outcome(r, outcome, sizeof outcome);
    for (size_t i = 0; i < r->count; i++) json_array_append_new(cases, case_json(&r->cases[i]));
    return json_pack(
        "{si ss ss si so so sb ss ss ss ss ss si sb si si sf so ss so so so sb ss sI sI so so so}", //
        "schema", COMPARE_SCHEMA, "kind", r->kind == COMPARE_GATE ? "gate" : "stored", "outcome", outcome,
        "exit_code", compare_exit_code(r), "base", side_json(&r->base), "head", side_json(&r->head),
        "kernels_identical", r->kernels_identical, "cpu", r->cpu, "host", r->host, "isa", r->isa, "suite",
        r->suite, "started", r->started, "threads", r->threads, "shared_runner", r->shared_runner,
        "screen_pairs", (int)r->screen_pairs, "confirm_pairs", (int)r->confirm_pairs, "seconds", r->seconds,
        "margin", json_finite(r->margin), "margin_why", r->margin_why, "null_shift", json_finite(r->null_shift),
        "null_spread", json_finite(r->null_spread), "control_drift", json_finite(r->control_drift), "invalid",
        r->invalid, "invalid_why", r->invalid_why, "samples", (json_int_t)r->samples, "disturbed",
        (json_int_t)r->disturbed, "control", reals(r->control, r->control_count), "control_ns",
        reals(r->control_ns, r->control_count), "cases", cases);
}

/* ---- files */

static bool write_file(const char *dir, const char *name, void (*put)(FILE *out, const compare_result *r),
                       const compare_result *r, conv_error *err)
{
    char path[4200];
    output o;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!output_open(&o, path, OUTPUT_OWN)) return output_fail(path, err);
    put(o.file, r);
    return output_close(&o, true) || output_fail(path, err);
}

bool compare_write(const char *dir, const compare_result *r, conv_error *err)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/compare.json", dir);
    json_t *json = result_json(r);
    bool fine = write_file(dir, "compare.csv", write_csv, r, err) &&
                output_json(path, OUTPUT_OWN, json, JSON_INDENT(1) | JSON_REAL_PRECISION(6), err) &&
                write_file(dir, "compare.md", compare_markdown, r, err);
    json_decref(json);
    return fine;
}
