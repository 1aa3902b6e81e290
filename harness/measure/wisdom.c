#include "wisdom.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/strategy.h"
#include "../cli.h"
#include "../json.h"
#include "../machine/machine.h"
#include "../output.h"

struct wisdom {
    conv_book book; /* first: plans know its address */
    strategy_options options;
    char path[4400]; /* "": not kept */
    json_t *strategies, *layers;
    json_t *adopted; /* by name, before `strategies`, and not kept */
    bool changed, warned;
};

/* ---- a strategy as JSON */

json_t *strategy_json(const conv_choice *choices, const conv_strategy *s)
{
    json_t *object = json_object();
    for (int i = 0; choices[i].name != NULL; i++)
        json_object_set_new(object, choices[i].name,
                            choices[i].flag ? json_boolean(s->value[i] != 0) : json_integer(s->value[i]));
    return object;
}

bool strategy_read(const conv_candidates *candidates, const json_t *object, conv_strategy *s)
{
    for (int i = 0; i < candidates->count; i++) {
        json_t *candidate = strategy_json(candidates->choices, &candidates->list[i]);
        bool same = json_equal(candidate, object);
        json_decref(candidate);
        if (!same) continue;
        *s = candidates->list[i];
        return true;
    }
    return false;
}

/* ---- the file */

static json_t *identity(void)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "sepbench", "wisdom", "build", machine_build_id(), "cpu",
                     machine_get()->cpu, "isa", cpu_isa_name(cpu_allowed()));
}

/* Whether the file is of this build and machine. A build that cannot be told from another remembers nothing. */
static bool is_ours(const json_t *file)
{
    json_t *ours = identity(), *value;
    const char *key;
    bool same = strcmp(machine_build_id(), "unknown") != 0;
    json_object_foreach(ours, key, value) same = same && json_equal(value, json_object_get(file, key));
    json_decref(ours);
    return same;
}

static bool is_entry(const json_t *entry)
{
    const json_t *ns = json_object_get(entry, "ns"), *model = json_object_get(entry, "model_ns");
    return json_is_object(json_object_get(entry, "strategy")) && json_is_number(ns) && json_is_number(model) &&
           json_number_value(ns) > 0 && json_number_value(model) > 0;
}

static conv_status check_file(const char *path, json_t *file, conv_error *err)
{
    json_t *entries = json_object_get(file, "strategies"), *entry;
    const char *name;
    if (strcmp(json_text(file, "sepbench", ""), "wisdom") != 0)
        return conv_fail(err, CONV_INVALID, "%.180s: not a file of chosen strategies", path);
    if (!json_is_object(entries) || !json_is_object(json_object_get(file, "layers")))
        return conv_fail(err, CONV_INVALID, "%.180s: 'strategies' or 'layers' is missing or no object", path);
    json_object_foreach(entries, name, entry)
    {
        if (is_entry(entry)) continue;
        return conv_fail(err, CONV_INVALID,
                         "%.120s: strategies: '%.80s': not an object with strategy, ns and model_ns", path,
                         name);
    }
    return CONV_OK;
}

/* NULL with CONV_OK: there is no such file. */
static conv_status read_file(const char *path, json_t **file, conv_error *err)
{
    json_error_t where;
    FILE *in = fopen(path, "rb");
    *file = NULL;
    if (in == NULL)
        return errno == ENOENT ? CONV_OK : conv_fail(err, CONV_INVALID, "%.180s: %s", path, strerror(errno));
    *file = json_loadf(in, 0, &where);
    fclose(in);
    if (*file == NULL)
        return conv_fail(err, CONV_INVALID, "%.120s:%d: not JSON: %.80s", path, where.line, where.text);
    conv_status status = check_file(path, *file, err);
    if (status != CONV_OK) json_decref(*file);
    return status;
}

static void default_path(char *path, size_t size)
{
    char folder[4096];
    path[0] = '\0';
    if (strcmp(machine_build_id(), "unknown") == 0 || !machine_cache_dir(folder, sizeof folder)) return;
    snprintf(path, size, "%s/wisdom-%s.json", folder, cpu_isa_name(cpu_allowed()));
}

static conv_status load(wisdom *w, conv_error *err)
{
    json_t *file = NULL;
    if (w->path[0] == '\0') return CONV_OK;
    conv_status status = read_file(w->path, &file, err);
    bool named = w->options.file != NULL;
    if (status != CONV_OK && named) return status;
    if (status != CONV_OK) {
        cli_warning("%s; it is begun anew", err->text);
        return CONV_OK;
    }
    if (named && !output_check(w->path, err)) {
        json_decref(file);
        return CONV_INVALID;
    }
    if (file != NULL && is_ours(file)) {
        json_object_update(w->strategies, json_object_get(file, "strategies"));
        json_object_update(w->layers, json_object_get(file, "layers"));
    } else if (file != NULL && named) {
        cli_warning("%s: chosen by another build or on another CPU: begun anew", w->path);
    }
    json_decref(file);
    return CONV_OK;
}

void wisdom_changed(wisdom *w) { w->changed = true; }

void wisdom_save(wisdom *w)
{
    conv_error err;
    if (!w->changed || w->path[0] == '\0') return;
    w->changed = false;
    json_t *file = identity();
    json_object_set(file, "strategies", w->strategies);
    json_object_set(file, "layers", w->layers);
    char *text = json_dumps(file, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    bool named = w->options.file != NULL,
         written =
             text != NULL && output_write(w->path, named ? OUTPUT_NAMED : OUTPUT_OWN, text, strlen(text), &err);
    if (text == NULL) conv_fail(&err, CONV_NO_MEMORY, "%.180s: no memory to write it", w->path);
    if (!written && !w->warned) cli_warning("%s", err.text);
    w->warned = w->warned || !written;
    free(text);
    json_decref(file);
}

/* ---- the book */

static bool recall_in(json_t *entries, const atomic_part *part, int threads, wisdom_entry *found)
{
    char name[PART_NAME_MAX];
    const json_t *entry = json_object_get(entries, part_name(part, threads, name));
    conv_candidates candidates;
    if (entry == NULL) return false;
    part_candidates(part, threads, &candidates);
    const json_t *ns = json_object_get(entry, "ns"), *model = json_object_get(entry, "model_ns");
    found->ns = json_is_number(ns) ? json_number_value(ns) : NAN;
    found->model_ns = json_is_number(model) ? json_number_value(model) : NAN;
    return strategy_read(&candidates, json_object_get(entry, "strategy"), &found->strategy);
}

bool wisdom_recall(const wisdom *w, const atomic_part *part, int threads, wisdom_entry *found)
{
    return recall_in(w->adopted, part, threads, found) || recall_in(w->strategies, part, threads, found);
}

static void put(json_t *entries, const atomic_part *part, int threads, const wisdom_entry *e)
{
    char name[PART_NAME_MAX];
    conv_candidates candidates;
    part_candidates(part, threads, &candidates);
    json_object_set_new(entries, part_name(part, threads, name),
                        json_pack("{s:o, s:o, s:o}", "strategy",
                                  strategy_json(candidates.choices, &e->strategy), "ns", json_finite(e->ns),
                                  "model_ns", json_finite(e->model_ns)));
}

void wisdom_learn(wisdom *w, const atomic_part *part, int threads, const wisdom_entry *found)
{
    put(w->strategies, part, threads, found);
    w->changed = true;
}

static bool find(const conv_book *book, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                 int threads, conv_strategy *strategy)
{
    const wisdom *w = (const wisdom *)book;
    const atomic_part part = {impl, *p, pass};
    wisdom_entry found;
    conv_candidates candidates;
    if (w->options.kind == STRATEGY_MEASURED) {
        bool known = wisdom_recall(w, &part, threads, &found);
        if (known) *strategy = found.strategy;
        return known;
    }
    part_candidates(&part, threads, &candidates);
    if (w->options.nth >= candidates.count) return false;
    *strategy = candidates.list[w->options.nth];
    return true;
}

wisdom *wisdom_open(const strategy_options *options, conv_error *err)
{
    wisdom *w = calloc(1, sizeof *w);
    if (w == NULL) {
        conv_fail(err, CONV_NO_MEMORY, "no memory for strategies");
        return NULL;
    }
    w->book.find = find;
    w->options = *options;
    w->strategies = json_object();
    w->layers = json_object();
    w->adopted = json_object();
    if (options->file != NULL)
        snprintf(w->path, sizeof w->path, "%s", options->file);
    else
        default_path(w->path, sizeof w->path);
    if (load(w, err) == CONV_OK) return w;
    wisdom_close(w);
    return NULL;
}

void wisdom_close(wisdom *w)
{
    if (w == NULL) return;
    json_decref(w->strategies);
    json_decref(w->layers);
    json_decref(w->adopted);
    free(w);
}

const conv_book *wisdom_book(const wisdom *w) { return w->options.kind == STRATEGY_MODEL ? NULL : &w->book; }

bool wisdom_by_number(const wisdom *w) { return w->options.kind == STRATEGY_NTH; }

bool wisdom_measures(const wisdom *w) { return w->options.kind == STRATEGY_MEASURED; }

json_t *wisdom_layers(wisdom *w) { return w->layers; }

char *wisdom_word(const wisdom *w, char text[WISDOM_WORD])
{
    if (w->options.kind == STRATEGY_NTH)
        snprintf(text, WISDOM_WORD, "%d", w->options.nth);
    else
        snprintf(text, WISDOM_WORD, "%s", w->options.kind == STRATEGY_MODEL ? "model" : "measured");
    return text;
}

/* ---- rows */

static bool is_whole_row(const atomic_part *parts, int count, const record_row *row)
{
    return count == 1 && parts[0].pass == row->pass && parts[0].problem.variant == row->problem.variant;
}

/* "depthwise backward_data: ", or nothing where the row is that part. Returns label[64]. */
static char *label_of(const atomic_part *parts, int count, int i, const record_row *row, char *label)
{
    bool stage = parts[i].problem.variant != row->problem.variant, pass = parts[i].pass != row->pass;
    label[0] = '\0';
    if (is_whole_row(parts, count, row)) return label;
    snprintf(label, 64, "%s%s%s: ", stage ? conv_variant_name(parts[i].problem.variant) : "",
             stage && pass ? " " : "", pass || !stage ? conv_pass_name(parts[i].pass) : "");
    return label;
}

static void append(char *text, size_t size, const char *before, const char *word)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used > 0 ? before : "", word);
}

void wisdom_describe(const wisdom *w, record_row *row)
{
    static const char unmeasured[] = " (the model's pick)";
    atomic_part parts[PARTS_MAX];
    int count = parts_of_row(row, parts);
    char word[WISDOM_WORD], label[64], text[CONV_STRATEGY_TEXT];
    char *out = row->strategy;
    const size_t size = sizeof row->strategy;
    out[0] = '\0';
    row->model_ns = NAN;
    for (int i = 0; i < count; i++) {
        conv_candidates candidates;
        wisdom_entry e;
        part_candidates(&parts[i], row->threads, &candidates);
        const conv_strategy *used = &candidates.list[0];
        bool measured = wisdom_measures(w), known = measured && wisdom_recall(w, &parts[i], row->threads, &e);
        if (known) used = &e.strategy;
        if (w->options.kind == STRATEGY_NTH && w->options.nth < candidates.count)
            used = &candidates.list[w->options.nth];
        if (known && is_whole_row(parts, count, row)) row->model_ns = e.model_ns;
        append(out, size, "; ", label_of(parts, count, i, row, label));
        append(out, size, "", strategy_text(candidates.choices, used, text, sizeof text));
        if (measured && !known && candidates.count > 1) append(out, size, "", unmeasured);
    }
    if (count == 0 || wisdom_measures(w)) return;
    char all[sizeof row->strategy];
    snprintf(all, sizeof all, "%s", out);
    snprintf(out, size, "%s: %.*s", wisdom_word(w, word), (int)(size - sizeof word - 2), all);
}

void wisdom_refuse(const wisdom *w, record_row *row)
{
    atomic_part parts[PARTS_MAX];
    int count = w->options.kind == STRATEGY_NTH ? parts_of_row(row, parts) : 0, most = 0;
    if (w->options.kind != STRATEGY_NTH || row->status != CASE_SKIPPED || row->reason[0] != '\0') return;
    for (int i = 0; i < count; i++) {
        conv_candidates candidates;
        part_candidates(&parts[i], row->threads, &candidates);
        if (candidates.count > most) most = candidates.count;
    }
    if (w->options.nth < most) return;
    row->status = CASE_REFUSED;
    if (most == 0)
        snprintf(row->reason, sizeof row->reason, "--strategy %d: it has no strategies", w->options.nth);
    else
        snprintf(row->reason, sizeof row->reason, "--strategy %d: its strategies are 0 to %d", w->options.nth,
                 most - 1);
}

/* Whether the words of a row say so of a part: between semicolons. */
static bool says(const char *words, const char *said)
{
    size_t length = strlen(said);
    for (const char *at = words; (at = strstr(at, said)) != NULL; at++) {
        bool begins = at == words || (at >= words + 2 && at[-2] == ';'),
             ends = at[length] == '\0' || at[length] == ';' || at[length] == ' ';
        if (begins && ends) return true;
    }
    return false;
}

void wisdom_adopt(wisdom *w, const record_row *row)
{
    atomic_part parts[PARTS_MAX];
    int count = wisdom_measures(w) ? parts_of_row(row, parts) : 0;
    for (int i = 0; i < count; i++) {
        conv_candidates candidates;
        part_candidates(&parts[i], row->threads, &candidates);
        for (int c = 0; c < candidates.count; c++) {
            char label[64], text[CONV_STRATEGY_TEXT], said[sizeof label + sizeof text];
            label_of(parts, count, i, row, label);
            snprintf(said, sizeof said, "%s%s", label,
                     strategy_text(candidates.choices, &candidates.list[c], text, sizeof text));
            if (!says(row->strategy, said)) continue;
            const wisdom_entry e = {candidates.list[c], NAN, row->model_ns};
            put(w->adopted, &parts[i], row->threads, &e);
            break;
        }
    }
}
