/* sepbench advise: a network's convolutions measured as they are and in their other form. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/report/advice.h"
#include "../harness/text.h"
#include "advise.h"
#include "bench.h"
#include "commands.h"

enum { KEY_INPUT = 0x300, KEY_BATCH, KEY_TRAIN, KEY_ENGINE, KEY_THREADS, IMPLS_ROOM = 1024 };

typedef struct {
    bench_arguments bench; /* first: bench_take_arguments has its address */
    const char *model, *input, *engine;
    char impls[IMPLS_ROOM];
    bool train;
    network_input size;
} advise_arguments;

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What to measure:", 1},
    {"input", KEY_INPUT, "SIZES", 0,
     "of an input as 224x224 or 224x224x3: what the file leaves open, or instead of what it says; of several "
     "inputs "
     "that differ, of those that the file leaves open",
     0},
    {"batch", KEY_BATCH, "N", 0, "images at a time (default 1)", 0},
    {"train", KEY_TRAIN, NULL, 0, "backward too, and so a step of training", 0},
    {"engine", KEY_ENGINE, "NAME", 0,
     "by that engine, as onednn, or implementation (default: each layer by the fastest exact one of sepbench)",
     0},
    {"threads", KEY_THREADS, "N", 0, "default: OMP_NUM_THREADS, else one per physical core", 0},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    advise_arguments *a = state->input;
    int64_t number;
    int code = EXIT_FINE;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->bench;
        state->child_inputs[1] = &a->bench.strategy;
        return 0;
    case KEY_INPUT:
        a->input = arg;
        if (!network_input_parse(arg, &a->size))
            code =
                cli_error("--input: '%s' is not sizes with x between them, such as 224x224 or 224x224x3", arg);
        break;
    case KEY_BATCH:
        a->bench.select.batch = arg;
        code = cli_take_int("batch", arg, 1, INT32_MAX, &number);
        break;
    case KEY_TRAIN: a->train = true; break;
    case KEY_ENGINE: a->engine = arg; break;
    case KEY_THREADS:
        a->bench.select.threads = arg;
        code = cli_take_int("threads", arg, 1, MACHINE_MAX_THREADS, &number);
        break;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) argp_error(state, "one MODEL, this is the second: %s", arg);
        a->model = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (a->bench.bad_option == EXIT_FINE) a->bench.bad_option = code;
    return 0;
}

static int parse(int argc, char **argv, bench_arguments *bench)
{
    static const struct argp_child children[] = {
        {&bench_argp, 0, NULL, 0}, {&strategies_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        options,
        parse_option,
        "MODEL",
        "What separable convolutions would do for a network of yours, layer by layer: each k x k convolution "
        "is measured as it is and as a separable one, each separable one (or depthwise one with the 1x1 behind "
        "it) as it is and as an ordinary one. MODEL is what Keras writes, Keras 2 or 3: model.to_json(), plain "
        "or gzipped, or a .keras archive, or an ONNX file; or one that the program has: " NETWORK_BUNDLED
        ".\vA swapped layer must be trained again; what it "
        "does to the accuracy is not measured. Biases and what stands between convolutions are not in the "
        "times. The run's folder gets advise.csv and problems.txt, the network as it is for 'bench --shapes', "
        "and 'sepbench report' makes its page.\n\nExit: 0 measured, 2 "
        "usage, 3 something computed wrongly (its row says so), 4 nothing was measured.",
        children,
        NULL,
        NULL};
    if (cli_parse(&argp, argc, argv, bench) != 0) return EXIT_USAGE;
    return bench->bad_option;
}

/* ---- by what */

static bool is_by(const conv_entry *e, const char *engine)
{
    if (engine == NULL) return e->impl != NULL && !e->impl->peer && !e->impl->inexact && !e->study;
    return strcmp(e->name, engine) == 0 || (e->engine != NULL && strcmp(e->engine, engine) == 0 && !e->study);
}

/* The specification's plain loops are not in the race: they would take most of the time. */
static int list_impls(const char *engine, char *impls)
{
    size_t count, used = 0;
    const conv_entry *e = conv_entries(&count);
    const char *last = "", *by = engine != NULL ? engine : "sepbench";
    unsigned variants = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_by(&e[i], engine) || (engine == NULL && strcmp(e[i].name, "naive") == 0)) continue;
        variants |= 1u << e[i].variant;
        if (strcmp(e[i].name, last) == 0) continue;
        last = e[i].name;
        used += (size_t)snprintf(impls + used, IMPLS_ROOM - used, "%s%s", used > 0 ? "," : "", e[i].name);
        if (used >= IMPLS_ROOM) return cli_error("too many implementations to name");
    }
    if (used == 0)
        return cli_error(
            "--engine: '%.60s' is no engine and no implementation here; 'sepbench list' names them", by);
    const conv_variant lacks = (variants & 1u << CONV_DENSE) == 0 ? CONV_DENSE : CONV_SEPARABLE;
    if ((variants & 1u << lacks) != 0) return EXIT_FINE;
    return cli_error("--engine: '%.60s' has no %s convolution, so it cannot tell which form is faster", by,
                     conv_variant_name(lacks));
}

/* ---- the network */

static bool all_channels_first(const network_convs *convs)
{
    for (size_t i = 0; i < convs->count; i++)
        if (convs->at[i].problem.layout != CONV_NCHW) return false;
    return true;
}

static void say_left_out(const network_convs *convs)
{
    const char *key;
    json_t *value;
    size_t i;
    json_object_foreach(convs->unknown, key, value)
        cli_warning("%lld layer%s of a class that is not known: %s", (long long)json_integer_value(value),
                    json_integer_value(value) == 1 ? "" : "s", key);
    json_array_foreach(convs->lost, i, value)
        cli_warning("convolution %s is left out: %s", json_string_value(json_object_get(value, "layer")),
                    json_string_value(json_object_get(value, "why")));
}

/* The model's convolutions as problems, and what run.json says of them. */
static int read_model(advise_arguments *a, suite_list *list)
{
    conv_error err;
    network_convs convs;
    json_t *layers = NULL;
    const char *name;
    if (a->model == NULL) return cli_error("advise: a MODEL is missing");
    network *n = network_read(a->model, &err);
    if (n == NULL) return cli_error("%s", err.text);
    int code = EXIT_FINE;
    if (network_find_convs(n, &a->size, &convs, &err) != CONV_OK) {
        network_free(n);
        return cli_error("%s: %s", a->model, err.text);
    }
    say_left_out(&convs);
    code = advise_list(n, &convs, list, &layers);
    if (code == EXIT_FINE) {
        name = list->items[0].layer;
        a->bench.about = json_pack("{s:s%, s:s, s:b, s:b, s:o, s:O, s:O}", "network", name, strcspn(name, ":"),
                                   "by", a->engine != NULL ? a->engine : "sepbench", "train", a->train,
                                   "channels_first", all_channels_first(&convs), "layers", layers, "unknown",
                                   convs.unknown, "lost", convs.lost);
        if (a->bench.about == NULL) code = cli_error("no memory for %zu layers", convs.count);
    } else {
        json_decref(layers);
    }
    if (all_channels_first(&convs)) a->bench.select.layouts = "nchw";
    network_convs_free(&convs);
    network_free(n);
    return code;
}

/* The model may have changed since the run began. */
static int check_continued(const advise_arguments *a)
{
    const record_run *old = a->bench.continued;
    if (old == NULL || json_equal(json_object_get(old->run, "advise"), a->bench.about)) return EXIT_FINE;
    return cli_error("%s: %s is not the model that this run began with: start a new run", old->dir, a->model);
}

/* ---- the end */

static int summarise(const record_run *run)
{
    report_data data;
    report_advice advice;
    char impls[IMPLS_ROOM];
    conv_error err;
    int code = EXIT_FINE;
    if (!report_data_create(run, &data, &err)) return cli_error("%s", err.text);
    if (report_advice_create(&data, &advice)) {
        report_advice_print(stdout, &advice);
        for (int m = 0; m < ADVICE_MEASURES; m++) {
            char *words = report_advice_words(&advice, (advice_measure)m);
            if (words != NULL) report_wrap(stdout, "", "", words);
            free(words);
        }
        report_wrap(stdout, "", "", report_advice_caution);
        if (!report_advice_write(&advice, run->dir, &err)) code = cli_error("%s", err.text);
        if (code == EXIT_FINE) code = list_impls(strcmp(advice.by, "sepbench") != 0 ? advice.by : NULL, impls);
        if (code == EXIT_FINE) code = advise_write_problems(run, impls);
        report_advice_destroy(&advice);
    }
    report_data_destroy(&data);
    return code;
}

int cmd_advise(int argc, char **argv)
{
    advise_arguments a = {
        .bench = {
            .kind = RECORD_ADVISE,
            .summary = summarise,
            .select = {.batch = "1"},
            .measure = {.repetitions = 9, .min_time = 0.008, .verify = true, .replace = true, .seed = 1}}};
    bench_stored stored;
    suite_list list = {0};
    selection cases = {0};
    wisdom *w = NULL;
    a.bench.started = machine_now();
    int code = bench_take_arguments(argc, argv, parse, &a.bench, &stored);
    if (code == EXIT_FINE) code = list_impls(a.engine, a.impls);
    a.bench.select.impls = a.impls;
    if (code == EXIT_FINE) code = read_model(&a, &list);
    if (code == EXIT_FINE) code = check_continued(&a);
    a.bench.select.given = &list;
    a.bench.select.passes = a.train ? "forward,backward" : "forward";
    if (code == EXIT_FINE) code = select_cases(&a.bench.select, &cases);
    if (code == EXIT_FINE) code = strategies_open(&a.bench.strategy, &w);
    if (code == EXIT_FINE) code = bench_run(&a.bench, &cases, w);
    strategies_close(w);
    select_free(&cases);
    suite_free(&list);
    json_decref(a.bench.about);
    bench_stored_free(&stored);
    return code;
}
