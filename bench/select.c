/* Words to cases. Problems come from suite.c; here they meet passes, implementations, threads, layouts and
 * cache modes, and are put in the order in which an interrupted run tells the most. */
#include "select.h"

#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/grow.h"
#include "../harness/layer.h"
#include "../harness/machine/machine.h"
#include "../harness/worker/engines.h"
#include "suite.h"

/* ---- options */

enum {
    KEY_SUITE = 0x100,
    KEY_SHAPES,
    KEY_VARIANT,
    KEY_IMPL,
    KEY_PASS,
    KEY_CHANNELS,
    KEY_SPATIAL,
    KEY_BATCH,
    KEY_THREADS,
    KEY_LAYOUT,
    KEY_CACHE,
    KEY_BIAS,
    KEY_RELU,
    KEY_RELU6,
    KEY_EXACT,
    KEY_OTHER_FORM,
    KEY_ENGINE
};

static const struct argp_option option_table[] = {
    {NULL, 0, NULL, 0, "What to measure (lists are separated by commas):", 1},
    {"suite", KEY_SUITE, "NAME", 0,
     "problems of a suite; 'sepbench list --suites' names them (bench: sweep, verify: smoke)", 0},
    {"shapes", KEY_SHAPES, "FILE", 0,
     "problems from a file in benchdnn's syntax or a log of ONEDNN_VERBOSE; - reads standard input", 0},
    {"variant", KEY_VARIANT, "LIST", 0, "dense, depthwise, pointwise, separable", 0},
    {"impl", KEY_IMPL, "LIST", 0, "implementations; 'sepbench list' names them", 0},
    {"engine", KEY_ENGINE, "NAME=KIND:PATH", 0,
     "measure another copy of an engine, too, in a process of its own: onednn3=onednn:/opt/onednn gives rows "
     "onednn3 beside onednn",
     0},
    {"pass", KEY_PASS, "LIST", 0, "forward, backward, backward_data, backward_weights", 0},
    {"channels", KEY_CHANNELS, "LIST", 0,
     "numbers or 32:2048 (doubling); filters problems that are not of a sweep", 0},
    {"spatial", KEY_SPATIAL, "LIST", 0,
     "height and width, as --channels; a filter goes by the height, in one dimension by the width", 0},
    {"batch", KEY_BATCH, "LIST", 0, "minibatch, also of problems that name another", 0},
    {"threads", KEY_THREADS, "LIST", 0, "default: OMP_NUM_THREADS, else one per physical core", 0},
    {"layout", KEY_LAYOUT, "LIST", 0, "nhwc (default), nchw", 0},
    {"cache", KEY_CACHE, "LIST", 0, "warm (default), cold", 0},
    {"bias", KEY_BIAS, NULL, 0, "problems with a bias", 0},
    {"relu", KEY_RELU, NULL, 0, "problems with ReLU after the bias", 0},
    {"relu6", KEY_RELU6, NULL, 0, "problems with ReLU6 after the bias: clipped to [0, 6]", 0},
    {"exact", KEY_EXACT, NULL, 0, "leave out inexact implementations (Winograd, fip)", 0},
    {"other-form", KEY_OTHER_FORM, "yes|no", 0,
     "networks also with ordinary convolutions in place of their separable ones, or the reverse (default of "
     "'bench': those of a shape file that says so, as each network's does)",
     0},
    {0}};

void select_take_post_op(conv_post_op op, conv_post_op *taken, struct argp_state *state)
{
    if (*taken != CONV_POST_NONE && *taken != op)
        argp_error(state, "--relu and --relu6: a convolution has one of them");
    *taken = op;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    select_options *o = state->input;
    conv_error err;
    switch (key) {
    case KEY_SUITE: o->suite = arg; return 0;
    case KEY_SHAPES: o->shapes = arg; return 0;
    case KEY_VARIANT: o->variants = arg; return 0;
    case KEY_IMPL: o->impls = arg; return 0;
    case KEY_PASS: o->passes = arg; return 0;
    case KEY_CHANNELS: o->channels = arg; return 0;
    case KEY_SPATIAL: o->spatial = arg; return 0;
    case KEY_BATCH: o->batch = arg; return 0;
    case KEY_THREADS: o->threads = arg; return 0;
    case KEY_LAYOUT: o->layouts = arg; return 0;
    case KEY_CACHE: o->caches = arg; return 0;
    case KEY_BIAS: o->bias = true; return 0;
    case KEY_RELU: select_take_post_op(CONV_POST_RELU, &o->post_op, state); return 0;
    case KEY_RELU6: select_take_post_op(CONV_POST_RELU6, &o->post_op, state); return 0;
    case KEY_EXACT: o->exact = true; return 0;
    case KEY_OTHER_FORM:
        o->other_form = strcmp(arg, "yes") == 0 ? OTHER_FORM_YES : OTHER_FORM_NO;
        if (o->other_form == OTHER_FORM_NO && strcmp(arg, "no") != 0 && !o->bad_option)
            o->bad_option = cli_error("--other-form: '%.40s' is neither yes nor no", arg);
        return 0;
    case KEY_ENGINE:
        if (o->bad_option) return 0;
        if (o->no_new_engine && !engines_named(arg))
            o->bad_option =
                cli_error("--engine %.200s of the run is not opened again: repeat it to have it", arg);
        else if (engines_add(arg, &err) != CONV_OK)
            o->bad_option = cli_error("--engine %.200s: %s", arg, err.text);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp select_argp = {option_table, parse_option, NULL, NULL, NULL, NULL, NULL};

void select_take_problems(select_options *o, struct argp_state *state)
{
    o->problems = state->argv + state->next - 1;
    o->problem_count = state->argc - state->next + 1;
    state->next = state->argc;
}

/* ---- comma lists of names */

static const char *variant_name(int i) { return conv_variant_name((conv_variant)i); }
static const char *pass_name(int i) { return conv_pass_name((conv_pass)i); }
static const char *layout_name(int i) { return conv_layout_name((conv_layout)i); }
static const char *cache_name(int i) { return cache_mode_name((cache_mode)i); }

/* Appends ", name" (or "name" first). */
static void append_name(char *list, size_t size, const char *name)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", name);
}

/* Sets a bit in *set for each name of the list. */
static int parse_set(const char *option, const char *text, int count, const char *(*name)(int), unsigned *set)
{
    char *copy = strdup(text), *rest = copy, *word;
    int code = copy ? EXIT_FINE : cli_error("no memory for --%s", option);
    *set = 0;
    while (code == EXIT_FINE && (word = strsep(&rest, ",")) != NULL) {
        int i = 0;
        while (i < count && strcmp(word, name(i)) != 0) i++;
        *set |= 1u << i;
        if (i < count) continue;
        char allowed[256] = "";
        for (i = 0; i < count; i++) append_name(allowed, sizeof allowed, name(i));
        code = cli_error("--%s: unknown %s '%s': %s", option, option, word, allowed);
    }
    free(copy);
    return code;
}

static bool is_listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        if (*at == ',') at++;
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0')) return true;
    }
    return false;
}

static int check_impls(const char *list)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    char *copy = strdup(list), *rest = copy, *word;
    int code = copy ? EXIT_FINE : cli_error("no memory for --impl");
    while (code == EXIT_FINE && (word = strsep(&rest, ",")) != NULL) {
        size_t i = 0;
        while (i < count && strcmp(e[i].name, word) != 0) i++;
        if (i < count) continue;
        char known[512] = "";
        for (i = 0; i < count; i++)
            if (!is_listed(known, e[i].name) && (i == 0 || strcmp(e[i].name, e[i - 1].name) != 0))
                append_name(known, sizeof known, e[i].name);
        code = strcmp(word, "best") == 0
                   ? cli_error("--impl: 'best' is a choice among the others, not one to measure: %s", known)
                   : cli_error("--impl: unknown implementation '%s': %s", word, known);
    }
    free(copy);
    return code;
}

/* ---- the axes of a selection */

typedef struct {
    const select_options *options;
    unsigned variants, passes, layouts, caches;
    suite_numbers threads;
    suite_axes axes;
    suite_list problems;
} plan;

static const char *or_default(const char *given, const char *by_suite, const char *otherwise)
{
    return given ? given : by_suite ? by_suite : otherwise;
}

static int read_axes(plan *p)
{
    const select_options *o = p->options;
    const char *suite = o->suite;
    const char *variants =
        or_default(o->variants, suite_default_variants(suite), "dense,depthwise,pointwise,separable");
    const char *passes =
        or_default(o->passes, suite_default_passes(suite), "forward,backward,backward_data,backward_weights");
    int code = parse_set("variant", variants, CONV_VARIANT_COUNT, variant_name, &p->variants);
    if (code == EXIT_FINE) code = parse_set("pass", passes, CONV_PASS_COUNT, pass_name, &p->passes);
    if (code == EXIT_FINE)
        code = parse_set("layout", or_default(o->layouts, NULL, "nhwc"), CONV_LAYOUT_COUNT, layout_name,
                         &p->layouts);
    if (code == EXIT_FINE)
        code = parse_set("cache", or_default(o->caches, NULL, "warm"), CACHE_COUNT, cache_name, &p->caches);
    if (code == EXIT_FINE && o->impls != NULL) code = check_impls(o->impls);
    if (code == EXIT_FINE) code = suite_numbers_parse("channels", o->channels, INT32_MAX, &p->axes.channels);
    if (code == EXIT_FINE) code = suite_numbers_parse("spatial", o->spatial, INT32_MAX, &p->axes.spatial);
    if (code == EXIT_FINE) code = suite_numbers_parse("batch", o->batch, INT32_MAX, &p->axes.batch);
    if (code == EXIT_FINE) code = suite_numbers_parse("threads", o->threads, MACHINE_MAX_THREADS, &p->threads);
    if (code == EXIT_FINE && p->threads.count == 0)
        p->threads.values[p->threads.count++] = machine_default_threads();
    return code;
}

static int read_problems(plan *p)
{
    const select_options *o = p->options;
    const char *suite = o->default_suite ? o->default_suite : "sweep";
    int code = EXIT_FINE;
    for (size_t i = 0; o->given != NULL && i < o->given->count && code == EXIT_FINE; i++)
        code = suite_append(&p->problems, &o->given->items[i], &p->axes);
    if (o->given != NULL) return code;
    for (int i = 0; i < o->problem_count && code == EXIT_FINE; i++)
        code = suite_add_problem(&p->problems, o->problems[i], &p->axes);
    if (code == EXIT_FINE && o->shapes != NULL) code = suite_add_file(&p->problems, o->shapes, &p->axes);
    if (code == EXIT_FINE && (o->suite != NULL || (o->problem_count == 0 && o->shapes == NULL)))
        code = suite_add(&p->problems, o->suite ? o->suite : suite, &p->axes);
    for (size_t i = 0; i < p->problems.count; i++) { /* the command line wins over a shape file */
        if (o->passes != NULL) p->problems.items[i].passes[0] = '\0';
        if (o->impls != NULL) p->problems.items[i].impls[0] = '\0';
    }
    return code == EXIT_FINE ? other_form_append(&p->problems, o->other_form) : code;
}

/* ---- groups and rows */

typedef struct {
    int rank; /* of how telling it is, 0 first */
    size_t order;
    const suite_problem *source;
    conv_problem problem;
    conv_pass pass;
    int threads;
    cache_mode cache;
} group;

/* What the title asks comes first: dense against separable, and networks, forward, then training; then the
 * separable's two stages; last the components of backward. */
int select_rank(conv_variant variant, conv_pass pass, const char *layer)
{
    bool headline = variant == CONV_DENSE || variant == CONV_SEPARABLE || layer_in_network(layer);
    switch (pass) {
    case CONV_FORWARD: return headline ? 0 : 2;
    case CONV_BACKWARD: return headline ? 1 : 3;
    default: return 4;
    }
}

static int compare_groups(const void *a, const void *b)
{
    const group *x = a, *y = b;
    if (x->rank != y->rank) return x->rank - y->rank;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* conv_refuse covers a separable's backward_data and backward_weights in words; they are not cases at all. */
static bool is_case(const plan *p, const suite_problem *source, conv_pass pass)
{
    const conv_variant variant = source->problem.variant;
    if (!(p->variants & (1u << variant)) || !(p->passes & (1u << pass))) return false;
    if (source->passes[0] != '\0' && !is_listed(source->passes, conv_pass_name(pass))) return false;
    if (source->other_form && pass > CONV_BACKWARD) return false; /* only the sums are asked for */
    return variant != CONV_SEPARABLE || pass == CONV_FORWARD || pass == CONV_BACKWARD;
}

/* All groups in the order of their ranks; *count of them. */
static group *list_groups(const plan *p, size_t *count)
{
    size_t most =
        p->problems.count * CONV_PASS_COUNT * CONV_LAYOUT_COUNT * CACHE_COUNT * (size_t)p->threads.count;
    group *groups = malloc((most + 1) * sizeof *groups);
    *count = 0;
    if (groups == NULL) return NULL;
    for (size_t i = 0; i < p->problems.count; i++)
        for (unsigned combination = 0; combination < CONV_LAYOUT_COUNT * CONV_PASS_COUNT * CACHE_COUNT;
             combination++)
            for (int t = 0; t < p->threads.count; t++) {
                group g = {
                    .source = &p->problems.items[i], .problem = p->problems.items[i].problem, .order = *count};
                g.pass = (conv_pass)(combination % CONV_PASS_COUNT);
                g.problem.layout = (conv_layout)(combination / CONV_PASS_COUNT % CONV_LAYOUT_COUNT);
                g.cache = (cache_mode)(combination / (CONV_PASS_COUNT * CONV_LAYOUT_COUNT));
                g.threads = (int)p->threads.values[t];
                g.problem.bias = p->options->bias;
                g.problem.post_op = p->options->post_op;
                g.rank = select_rank(g.problem.variant, g.pass, g.source->layer);
                if (is_case(p, g.source, g.pass) && (p->layouts & (1u << g.problem.layout)) &&
                    (p->caches & (1u << g.cache)))
                    groups[(*count)++] = g;
            }
    qsort(groups, *count, sizeof *groups, compare_groups);
    return groups;
}

static bool add_row(selection *out, const record_row *row)
{
    record_row *added = grow(&out->rows, &out->count, sizeof *added);
    if (added != NULL) *added = *row;
    return added != NULL;
}

/* Of a shape file's words: NAME, or A|B for the first of them that is there (the first, when none is). */
static bool is_chosen(const char *impls, const conv_entry *e)
{
    char copy[sizeof((suite_problem *)0)->impls], *rest = copy, *word;
    strcpy(copy, impls);
    while ((word = strsep(&rest, ",")) != NULL) {
        const char *first = NULL, *found = NULL;
        for (char *name; (name = strsep(&word, "|")) != NULL && found == NULL;) {
            if (first == NULL) first = name;
            if (conv_find(name, e->variant) != NULL) found = name;
        }
        if (strcmp(found != NULL ? found : first, e->name) == 0) return true;
    }
    return false;
}

static bool add_group(const plan *p, const group *g, int index, selection *out)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++) {
        if (e[i].variant != g->problem.variant) continue;
        if (p->options->impls != NULL && !is_listed(p->options->impls, e[i].name)) continue;
        if (g->source->impls[0] != '\0' && !is_chosen(g->source->impls, &e[i])) continue;
        if (p->options->impls == NULL && g->source->impls[0] == '\0' &&
            !suite_default_impl(g->source->suite, &e[i]))
            continue;
        if (p->options->exact && e[i].impl != NULL && e[i].impl->inexact) continue;
        record_row row = {.problem = g->problem, .pass = g->pass, .threads = g->threads, .cache = g->cache};
        row.group = index;
        record_clear_measured(&row);
        snprintf(row.suite, sizeof row.suite, "%s", g->source->suite);
        snprintf(row.layer, sizeof row.layer, "%s", g->source->layer);
        snprintf(row.impl, sizeof row.impl, "%s", e[i].name);
        row.isa = e[i].impl ? conv_isa(e[i].impl) : CPU_BASE;
        const char *why = e[i].absent;
        conv_error large;
        if (e[i].impl != NULL && conv_problem_check(&row.problem, &large) != CONV_OK)
            snprintf(row.reason, sizeof row.reason, "%.*s", (int)sizeof row.reason - 1, large.text);
        else if (e[i].impl != NULL)
            why = conv_refuse(e[i].impl, &row.problem, row.pass);
        if (why != NULL) {
            row.status = CASE_REFUSED;
            snprintf(row.reason, sizeof row.reason, "%s", why);
        }
        if (!add_row(out, &row)) return false;
    }
    return true;
}

int select_cases(const select_options *options, selection *out)
{
    plan p = {.options = options};
    group *groups = NULL;
    *out = (selection){0};
    int code = options->bad_option;
    if (code == EXIT_FINE) code = read_axes(&p);
    if (code == EXIT_FINE) code = read_problems(&p);
    out->networks = suite_networks(&p.problems);
    suite_filter(&p.problems, &p.axes);
    if (code == EXIT_FINE) code = suite_merge(&p.problems);
    if (code != EXIT_FINE) goto done;

    size_t count;
    groups = list_groups(&p, &count);
    bool fits = groups != NULL;
    for (size_t i = 0; fits && i < count; i++) fits = add_group(&p, &groups[i], (int)i, out);
    if (!fits)
        code = cli_error("no memory for the list of cases");
    else if (p.problems.count == 0)
        code = cli_error("no case is left: --channels, --spatial match no problem");
    else if (out->count == 0)
        code = cli_error("no case is left of %zu problems: --variant, --pass, --impl, --exact exclude each "
                         "other's (a separable has only the passes forward and backward)",
                         p.problems.count);
done:
    if (code != EXIT_FINE) select_free(out);
    free(groups);
    suite_free(&p.problems);
    return code;
}

size_t select_group_end(const selection *s, size_t first)
{
    size_t end = first + 1;
    while (end < s->count && s->rows[end].group == s->rows[first].group) end++;
    return end;
}

void select_free(selection *s)
{
    free(s->rows);
    json_decref(s->networks);
    *s = (selection){0};
}
