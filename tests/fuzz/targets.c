#include "targets.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../bench/advise.h"
#include "../../bench/select.h"
#include "../../bench/suite.h"
#include "../../harness/cli.h"
#include "../../harness/measure/wisdom.h"
#include "../../harness/network/convs.h"
#include "../../harness/network/internal.h"
#include "../../harness/npy.h"
#include "../../harness/train/checkpoint.h"
#include "../../harness/train/npz.h"
#include "../../harness/worker/process.h"
#include "../../harness/worker/protocol.h"

/* ---- an input as a file, as a text and as a run's folder */

/* What no input may bring about: a crash is what a fuzzer notices. */
static void require(int condition)
{
    if (!condition) abort();
}

/* The path of a file in memory that holds the input; the next call overwrites it. */
static const char *as_file(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("input", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    require(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

/* Freed by the caller. */
static char *as_text(const uint8_t *data, size_t size) { return strndup((const char *)data, size); }

static char folder[64];

static void remove_folder(void)
{
    char path[128];
    static const char *const names[] = {"/run.json",
                                        "/results.csv",
                                        "/train-images-idx3-ubyte",
                                        "/train-labels-idx1-ubyte",
                                        "/t10k-images-idx3-ubyte",
                                        "/t10k-labels-idx1-ubyte",
                                        "/data.npz",
                                        ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s%s", folder, names[i]);
        remove(path);
    }
}

static void put(const char *name, const void *data, size_t size)
{
    char path[128];
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/sepbench-fuzz-XXXXXX");
        require(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "wb");
    require(out != NULL && fwrite(data, 1, size, out) == size && fclose(out) == 0);
}

static void load_run(void)
{
    record_run run;
    conv_error err;
    if (record_load(folder, &run, &err)) record_free(&run);
}

/* ---- the targets */

/* What is understood is written again as the same problem. */
static void problem(const uint8_t *data, size_t size)
{
    char *text = as_text(data, size), name[PROBLEM_NAME_MAX], once[PROBLEM_STRING_MAX];
    char again[PROBLEM_STRING_MAX + 32], twice[PROBLEM_STRING_MAX];
    conv_problem p;
    conv_error err;
    conv_status status = problem_parse(text, &p, name, &err);
    if (status != CONV_INVALID) {
        snprintf(again, sizeof again, "%s:%s", conv_variant_name(p.variant), problem_format(&p, once));
        require(problem_parse(again, &p, NULL, &err) == status);
        require(strcmp(once, problem_format(&p, twice)) == 0);
    }
    if (status == CONV_OK) require(conv_flops(&p, CONV_FORWARD) >= 0 && conv_bytes_min(&p, CONV_BACKWARD) > 0);
    free(text);
}

static void shapes(const uint8_t *data, size_t size)
{
    suite_list list = {0};
    const suite_axes all = {0};
    if (suite_add_file(&list, as_file(data, size), &all) == EXIT_FINE) suite_merge(&list);
    suite_free(&list);
}

static void npy(const uint8_t *data, size_t size)
{
    static const npy_shape accepted[] = {{2, {2, 3}}, {1, {6}}};
    float values[6];
    conv_error err;
    npy_read(as_file(data, size), accepted, 2, values, &err);
}

/* As weights, and as a data set. */
static void npz(const uint8_t *data, size_t size)
{
    npz_file file;
    conv_error err;
    if (npz_read(as_file(data, size), &file, &err) == CONV_OK) npz_free(&file);
    char path[128];
    data_sets pair = {0};
    put("data.npz", data, size);
    snprintf(path, sizeof path, "%s/data.npz", folder);
    if (data_load(path, &pair, &err) == CONV_OK) data_free(&pair);
}

/* A network small enough to be made for every input, and what its checkpoints must agree with. */
static const char small_model[] =
    "{\"class_name\": \"Sequential\", \"config\": [{\"class_name\": \"Flatten\", \"config\": {\"name\": "
    "\"flatten\","
    " \"batch_input_shape\": [null, 1, 2, 1]}}, {\"class_name\": \"Dense\", \"config\": {\"name\": \"dense\","
    " \"units\": 2, \"activation\": \"softmax\"}}]}";

static void checkpoint(const uint8_t *data, size_t size)
{
    static uint8_t pixels[4], labels[2];
    const data_set images = {.count = 2, .image = {3, {1, 2, 1}}, .images = pixels, .labels = labels};
    const data_sets set = {images, images, "data"};
    fit_options options = {.epochs = 2, .batch_size = 2, .seed = 1, .shuffle = true};
    const char *path = as_file(data, size);
    fit_state state = {0};
    conv_error err;
    model *m = model_parse(small_model, "small.json", &err);
    require(m != NULL && optimizer_parse("adam", &options.opt, &err) == CONV_OK);
    net *n = net_create(m, &(net_options){.threads = 1, .batch = 2, .impls = "naive", .seed = 1}, &err);
    require(n != NULL && fit_state_create(m, &options, &state));
    const fit_session f = {n, m, &set, &options, &state};
    json_decref(checkpoint_choices(path, &f, &err));
    checkpoint_load(path, &f, &err);
    fit_state_destroy(&state);
    net_destroy(n);
    free(m);
}

static void model_text(const uint8_t *data, size_t size)
{
    char *text = as_text(data, size);
    conv_error err;
    free(model_parse(text, "model.json", &err));
    free(text);
}

/* A network of any kind, from the file to the problems that are measured. */
static void network_file(const uint8_t *data, size_t size)
{
    conv_error err = {""};
    network_convs convs;
    network *n = network_read(as_file(data, size), &err);
    require(n != NULL || err.text[0] != '\0');
    for (int i = 0; n != NULL && i < n->count; i++)
        for (int k = 0; k < n->nodes[i].input_count; k++) require(n->nodes[i].inputs[k] < i);
    if (n != NULL && network_find_convs(n, &(network_input){{20, 20}, 2}, &convs, &err) == CONV_OK) {
        suite_list list = {0};
        json_t *layers;
        if (advise_list(n, &convs, &list, &layers) == EXIT_FINE) suite_merge(&list);
        json_decref(layers);
        suite_free(&list);
        network_convs_free(&convs);
    }
    network_free(n);
}

/* As the training images of a set whose other files are right, then as its labels. */
static void idx(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    static const struct {
        const char *bytes;
        size_t size;
    } right[] = {{"\0\0\10\3\0\0\0\2\0\0\0\1\0\0\0\2\1\2\3\4", 20}, {"\0\0\10\1\0\0\0\2\0\1", 10}};
    for (int as = 0; as < 2; as++) {
        for (int i = 0; i < 4; i++) put(names[i], right[i % 2].bytes, right[i % 2].size);
        put(names[as], data, size);
        data_sets pair = {0};
        conv_error err;
        if (data_load(folder, &pair, &err) == CONV_OK) data_free(&pair);
    }
}

static void results(const uint8_t *data, size_t size)
{
    static const char run[] = "{\"schema\": 1, \"run_id\": \"fuzz\", \"kind\": \"bench\"}";
    put("run.json", run, sizeof run - 1);
    put("results.csv", data, size);
    load_run();
}

static void run_json(const uint8_t *data, size_t size)
{
    put("run.json", data, size);
    put("results.csv", "", 0);
    load_run();
}

/* A gate's question to a worker: the case that it names. */
static void worker(const uint8_t *data, size_t size)
{
    json_t *request = json_loadb((const char *)data, size, 0, NULL);
    record_row row;
    conv_error err;
    protocol_read_case(request, &row, &err);
    json_decref(request);
}

/* A worker's answer to its gate. */
static void gate(const uint8_t *data, size_t size)
{
    int pair[2] = {-1, -1}; /* requests go to a socket */
    pid_t child = fork();
    if (child == 0) _exit(0);
    conv_error err;
    bool paired = socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0;
    worker_process w = {
        .path = "fuzz", .pid = child, .to = pair[0], .from = open(as_file(data, size), O_RDONLY)};
    require(child > 0 && paired && w.from >= 0);
    json_decref(process_ask(&w, json_pack("{s:s}", "do", "quit"), PROCESS_PATIENCE, &err));
    process_stop(&w);
    close(pair[1]);
}

/* The options of a selection, a line each. */
static void wisdom_file(const uint8_t *data, size_t size)
{
    const strategy_options options = {.kind = STRATEGY_MEASURED, .file = as_file(data, size)};
    conv_error err = {""};
    wisdom *w = wisdom_open(&options, &err);
    require(w != NULL || err.text[0] != '\0');
    wisdom_close(w);
}

static void select_words(const uint8_t *data, size_t size)
{
    char *text = as_text(data, size), *rest = text, *word[11] = {NULL};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
        word[i] = strsep(&rest, "\n");
        if (word[i] != NULL && word[i][0] == '\0') word[i] = NULL;
    }
    const select_options options = {.problems = word,
                                    .problem_count = word[0] != NULL,
                                    .suite = word[1],
                                    .variants = word[2],
                                    .impls = word[3],
                                    .passes = word[4],
                                    .channels = word[5],
                                    .spatial = word[6],
                                    .batch = word[7],
                                    .threads = word[8],
                                    .layouts = word[9],
                                    .caches = word[10]};
    selection cases;
    if (select_cases(&options, &cases) == EXIT_FINE) select_free(&cases);
    free(text);
}

/* A file as ONNX whatever its name, with its own sizes and with others. */
static void onnx(const uint8_t *data, size_t size)
{
    static const network_input inputs[] = {{.count = 0}, {{32, 32}, 2}, {{3, 32, 32}, 3}};
    network *n = calloc(1, sizeof *n);
    network_convs convs;
    conv_error err;
    require(n != NULL);
    if (onnx_read(n, as_file(data, size), &err) == CONV_OK)
        for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
            if (network_find_convs(n, &inputs[i], &convs, &err) == CONV_OK) network_convs_free(&convs);
    network_free(n);
}

const fuzz_target fuzz_targets[] = {
    {"problem", problem}, {"shapes", shapes},         {"select", select_words}, {"npy", npy},
    {"npz", npz},         {"checkpoint", checkpoint}, {"model", model_text},    {"network", network_file},
    {"idx", idx},         {"results", results},       {"run", run_json},        {"worker", worker},
    {"gate", gate},       {"wisdom", wisdom_file},    {"onnx", onnx},           {NULL, NULL}};

const fuzz_target *fuzz_find(const char *name)
{
    const fuzz_target *t = fuzz_targets;
    while (t->name != NULL && strcmp(t->name, name) != 0) t++;
    return t->name != NULL ? t : NULL;
}
