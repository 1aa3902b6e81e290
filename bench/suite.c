/* The suites: generated ones, products of axes, are a table; the others are shape files (shapes.c). */
#include "suite.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/grow.h"
#include "../harness/layer.h"

typedef struct {
    const char *name, *summary;
    const char *channels, *spatial, *batch; /* defaults of the axes */
    const char *variants, *passes;          /* comma lists, NULL = all */
    bool study; /* why TensorFlow is slow: by default TensorFlow, tf-like and the exact ones of this project */
} suite;

static const suite suites[] = {
    {"sweep", "32 to 2048 channels doubling, 28x28, batch 1, 3x3 same", "32:2048", "28", "1", NULL, NULL,
     false},
    {"sweep32", "the same at batch 32, up to 512 channels", "32:512", "28", "32", NULL, NULL, false},
    {"map", "channels x spatial, dense and separable: break-even map", "32,64,96,128,192,256,512,728,1024",
     "7,14,28,56", "1", "dense,separable", "forward,backward", false},
    {"why", "why TensorFlow's depthwise is slow: tf-like, its variants", "32:2048", "28", "1", "depthwise",
     "forward,backward_data,backward_weights", true},
};

enum { SUITES = sizeof suites / sizeof *suites, LARGEST_SIZE = 1 << 20 };

static const suite *find_suite(const char *name)
{
    for (size_t i = 0; name != NULL && i < SUITES; i++)
        if (strcmp(suites[i].name, name) == 0) return &suites[i];
    return NULL;
}

const char *suite_default_variants(const char *name)
{
    const suite *s = find_suite(name);
    return s ? s->variants : NULL;
}

const char *suite_default_passes(const char *name)
{
    const suite *s = find_suite(name);
    return s ? s->passes : NULL;
}

bool suite_is_study(const char *name)
{
    const suite *s = find_suite(name);
    return s != NULL && s->study;
}

bool suite_default_impl(const char *name, const conv_entry *e)
{
    if (!suite_is_study(name)) return !e->study;
    bool ours = e->engine == NULL && (e->impl == NULL || !e->impl->inexact);
    return ours || strncmp(e->name, "tensorflow", strlen("tensorflow")) == 0;
}

/* Whether the file is a suite, and then its name. */
static bool file_suite(const embedded_file *f, char *name, size_t size)
{
    static const char folder[] = "bench/problems/", ending[] = ".txt";
    size_t length = strlen(f->path), around = sizeof folder - 1 + sizeof ending - 1;
    if (length <= around || strncmp(f->path, folder, sizeof folder - 1) != 0) return false;
    if (strcmp(f->path + length - (sizeof ending - 1), ending) != 0) return false;
    snprintf(name, size, "%.*s", (int)(length - around), f->path + sizeof folder - 1);
    return true;
}

void suite_print(FILE *out)
{
    char name[64];
    for (size_t i = 0; i < SUITES; i++) fprintf(out, "  %-20s%s\n", suites[i].name, suites[i].summary);
    for (const embedded_file *f = embedded_files; f->path != NULL; f++) {
        if (!file_suite(f, name, sizeof name)) continue;
        const char *first = f->data + strspn(f->data, "# ");
        fprintf(out, "  %-20s%.*s\n", name, f->data[0] == '#' ? (int)strcspn(first, "\n") : 0, first);
    }
}

/* ---- numbers */

static bool add_number(suite_numbers *n, int64_t value)
{
    for (int i = 0; i < n->count; i++)
        if (n->values[i] == value) return true;
    if (n->count == sizeof n->values / sizeof *n->values) return false;
    n->values[n->count++] = value;
    return true;
}

static int parse_range(const char *option, const char *word, char *colon, int64_t most, suite_numbers *n)
{
    int64_t low, high;
    *colon = '\0';
    bool ok = cli_parse_int(word, 1, most, &low) && cli_parse_int(colon + 1, 1, most, &high);
    *colon = ':';
    if (!ok)
        return cli_error("--%s: '%s' is not a range: two whole numbers from 1 to %lld, as in 32:2048", option,
                         word, (long long)most);
    if (low > high)
        return cli_error("--%s: range '%s' is reversed: the smaller number comes first", option, word);
    if (n->range_count == sizeof n->ranges / sizeof *n->ranges)
        return cli_error("--%s: more than %d ranges at '%s'", option, n->range_count, word);
    n->ranges[n->range_count].low = low;
    n->ranges[n->range_count++].high = high;
    for (; low <= high; low *= 2)
        if (!add_number(n, low)) return cli_error("--%s: too many numbers at '%s'", option, word);
    return EXIT_FINE;
}

int suite_numbers_parse(const char *option, const char *text, int64_t most, suite_numbers *n)
{
    *n = (suite_numbers){0};
    if (text == NULL) return EXIT_FINE;
    char *copy = strdup(text), *rest = copy, *word;
    int code = copy ? EXIT_FINE : cli_error("no memory for --%s", option);
    while (code == EXIT_FINE && (word = strsep(&rest, ",")) != NULL) {
        char *colon = strchr(word, ':');
        int64_t value;
        if (colon != NULL)
            code = parse_range(option, word, colon, most, n);
        else if (!cli_parse_int(word, 1, most, &value))
            code = cli_error("--%s: '%s' is not a whole number from 1 to %lld", option, word, (long long)most);
        else if (!add_number(n, value))
            code = cli_error("--%s: too many numbers at '%s'", option, word);
    }
    free(copy);
    return code;
}

bool suite_numbers_match(const suite_numbers *n, int64_t value)
{
    if (n->count == 0) return true;
    for (int i = 0; i < n->range_count; i++)
        if (value >= n->ranges[i].low && value <= n->ranges[i].high) return true;
    for (int i = 0; i < n->count; i++)
        if (n->values[i] == value) return true;
    return false;
}

/* ---- lists */

void suite_free(suite_list *list)
{
    free(list->items);
    *list = (suite_list){0};
}

static int append(suite_list *list, const suite_problem *item)
{
    suite_problem *added = grow(&list->items, &list->count, sizeof *added);
    if (added == NULL) return cli_error("no memory for %zu problems", list->count + 1);
    *added = *item;
    return EXIT_FINE;
}

int suite_append(suite_list *list, const suite_problem *item, const suite_axes *axes)
{
    suite_problem batched = *item;
    conv_problem *p = &batched.problem;
    if (axes->batch.count == 0) return append(list, item);
    for (int b = 0; b < axes->batch.count; b++) {
        p->mb = axes->batch.values[b];
        int code = append(list, &batched);
        if (code != EXIT_FINE) return code;
    }
    return EXIT_FINE;
}

void suite_filter(suite_list *list, const suite_axes *axes)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        const conv_problem *p = &list->items[i].problem;
        const conv_axis *side = &p->axis[p->rank == 1 ? CONV_W : CONV_H];
        if (suite_numbers_match(&axes->channels, p->ic) && suite_numbers_match(&axes->spatial, side->in))
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

static void name_layer(json_t *networks, const char *name)
{
    const char *colon = strchr(name, ':');
    char network[PROBLEM_NAME_MAX];
    if (!layer_in_network(name)) return;
    snprintf(network, sizeof network, "%.*s", (int)(colon - name), name);
    if (json_object_get(networks, network) == NULL) json_object_set_new(networks, network, json_array());
    json_t *layers = json_object_get(networks, network);
    for (size_t i = 0; i < json_array_size(layers); i++)
        if (strcmp(json_string_value(json_array_get(layers, i)), colon + 1) == 0) return;
    json_array_append_new(layers, json_string(colon + 1)); /* nothing, where it is not UTF-8 */
}

json_t *suite_networks(const suite_list *list)
{
    json_t *networks = json_object();
    for (size_t i = 0; i < list->count; i++) {
        char names[sizeof list->items->layer], *rest = names, *name;
        memcpy(names, list->items[i].layer, sizeof names);
        while ((name = strsep(&rest, "+")) != NULL) name_layer(networks, name);
    }
    return networks;
}

/* What makes two problems of a list the same case. */
static char *choice_key(const suite_problem *item)
{
    char problem[PROBLEM_STRING_MAX], *key;
    return asprintf(&key, "%s:%s %s %s", conv_variant_name(item->problem.variant),
                    problem_format(&item->problem, problem), item->passes, item->impls) < 0
               ? NULL
               : key;
}

static void add_layer(suite_problem *to, const char *layer)
{
    size_t used = strlen(to->layer), length = strlen(layer);
    if (length == 0 || strcmp(to->layer, layer) == 0) return;
    if (used + 1 + length >= sizeof to->layer) {
        cli_warning("layer '%.60s' has the shape of so many others that its name is left out", layer);
        return;
    }
    if (used > 0) to->layer[used++] = '+';
    memcpy(to->layer + used, layer, length + 1);
}

typedef struct {
    char *key;
    suite_problem *item;
} choice;

static int compare_choices(const void *a, const void *b)
{
    return strcmp(((const choice *)a)->key, ((const choice *)b)->key);
}

static void keep(void *node) { (void)node; }

int suite_merge(suite_list *list)
{
    choice *choices = calloc(list->count + 1, sizeof *choices), **found;
    void *tree = NULL;
    size_t kept = 0;
    bool fine = choices != NULL;
    for (size_t i = 0; fine && i < list->count; i++) {
        choice *own = &choices[kept];
        *own = (choice){choice_key(&list->items[i]), &list->items[kept]};
        found = own->key != NULL ? tsearch(own, &tree, compare_choices) : NULL;
        fine = found != NULL;
        if (fine && *found == own) {
            list->items[kept++] = list->items[i];
        } else {
            if (fine) add_layer((*found)->item, list->items[i].layer);
            if (fine && !list->items[i].other_form) (*found)->item->other_form = false;
            free(own->key);
        }
    }
    tdestroy(tree, keep);
    for (size_t i = 0; i < kept; i++) free(choices[i].key);
    free(choices);
    if (!fine) return cli_error("no memory for %zu problems", list->count);
    list->count = kept;
    return EXIT_FINE;
}

int suite_add_problem(suite_list *list, const char *text, const suite_axes *axes)
{
    suite_problem item = {0};
    conv_error err;
    if (problem_parse(text, &item.problem, item.layer, &err) != CONV_OK)
        return cli_error("problem '%s': %s", text, err.text);
    return suite_append(list, &item, axes);
}

/* ---- generated */

/* One problem of a sweep: C channels in and out, 3x3 same; the pointwise one is 1x1. */
static conv_problem square_problem(conv_variant variant, int64_t batch, int64_t channels, int64_t size)
{
    const conv_axis none = {.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
    conv_axis side = none;
    side.in = size;
    if (variant != CONV_POINTWISE) side.kernel = 3;
    conv_pad_same(&side);
    return (conv_problem){.variant = variant,
                          .rank = 2,
                          .mb = batch,
                          .ic = channels,
                          .oc = channels,
                          .groups = variant == CONV_DEPTHWISE ? channels : 1,
                          .depth_multiplier = 1,
                          .axis = {none, side, side}};
}

static const suite_numbers *axis_or_default(const suite_numbers *given, const char *text, suite_numbers *room)
{
    if (given->count > 0) return given;
    suite_numbers_parse("axis", text, LARGEST_SIZE, room);
    return room;
}

static int add_generated(suite_list *list, const suite *s, const suite_axes *axes)
{
    suite_numbers room[3];
    const suite_numbers *channels = axis_or_default(&axes->channels, s->channels, &room[0]);
    const suite_numbers *spatial = axis_or_default(&axes->spatial, s->spatial, &room[1]);
    const suite_numbers *batch = axis_or_default(&axes->batch, s->batch, &room[2]);
    for (int b = 0; b < batch->count; b++)
        for (int h = 0; h < spatial->count; h++)
            for (int c = 0; c < channels->count; c++)
                for (int v = 0; v < CONV_VARIANT_COUNT; v++) {
                    suite_problem item = {.problem = square_problem((conv_variant)v, batch->values[b],
                                                                    channels->values[c], spatial->values[h])};
                    snprintf(item.suite, sizeof item.suite, "%s", s->name);
                    conv_error err;
                    if (conv_problem_check(&item.problem, &err) != CONV_OK)
                        return cli_error("suite %s at batch %lld, channels %lld, spatial %lld: %s", s->name,
                                         (long long)batch->values[b], (long long)channels->values[c],
                                         (long long)spatial->values[h], err.text);
                    int code = append(list, &item);
                    if (code != EXIT_FINE) return code;
                }
    return EXIT_FINE;
}

int suite_add(suite_list *list, const char *name, const suite_axes *axes)
{
    const suite *s = find_suite(name);
    if (s != NULL) return add_generated(list, s, axes);
    char path[256];
    snprintf(path, sizeof path, "bench/problems/%.200s.txt", name);
    const embedded_file *file = embedded_find(path);
    if (file != NULL) return suite_add_embedded(list, name, file, axes);
    char known[512] = "", other[64];
    size_t used = 0;
    for (size_t i = 0; i < SUITES; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", suites[i].name);
    for (const embedded_file *f = embedded_files; f->path != NULL; f++)
        if (file_suite(f, other, sizeof other) && used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, ", %s", other);
    return cli_error("unknown suite '%s': %s; or --shapes FILE", name, known);
}
