/* A model's weights in HDF5, in the layouts that Keras 3 (.weights.h5, and within .keras) and Keras 2 (.h5) use:
 * keras/src/saving/saving_lib.py and keras/src/legacy/saving/legacy_h5_format.py. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../text.h"
#include "h5.h"
#include "weights_internal.h"

enum { DATASET_MAX = 600, MOST_GROUPS = 1 << 14, DEEPEST_GROUP = 40, MOST_SECONDS = 120 };

typedef struct {
    const char *path;
    const model *m;
    hid_t file;
    float *weights;
    weight_place *places;
    int groups_left; /* that may still be looked into */
    conv_error *err;
} h5_reader;

/* A file's bytes; image NULL: it is read itself. */
typedef struct {
    const void *image;
    size_t size;
} h5_source;

/* A name of the file's for a message; buffer[DATASET_MAX]. */
static const char *show(const char *name, char *buffer)
{
    snprintf(buffer, DATASET_MAX, "%s", name);
    return text_make_printable(buffer);
}

static conv_status read_one(const h5_reader *r, const char *dataset, int at)
{
    const parameter *p = &r->m->parameter[at];
    const npy_shape want = parameter_shape(p);
    float *to = r->weights + p->offset;
    npy_shape found;
    conv_error inner;
    char shown[DATASET_MAX], what[400];
    snprintf(what, sizeof what, "dataset '%.120s' (%s)", show(dataset, shown), p->name);
    if (h5_read(r->file, dataset, &want, to, &found, &inner))
        return weights_check_finite(r->path, what, to, p, r->err);
    conv_status status = CONV_OK;
    if (found.rank >= 0) status = weights_check_shape(r->path, what, &found, p, r->err);
    return status != CONV_OK ? status : conv_fail(r->err, CONV_INVALID, "%s: %s %s", r->path, what, inner.text);
}

/* ---- Keras 3: a group for each layer, by class and number; its weights are vars/0, vars/1, ... */

static conv_status refuse_extra(const h5_reader *r, const char *dataset)
{
    char shown[DATASET_MAX];
    return conv_fail(r->err, CONV_INVALID, "%s: dataset '%.120s' is none of the model's", r->path,
                     show(dataset, shown));
}

/* As many in this group as the model's layer has. */
static conv_status check_vars(const h5_reader *r, const char *group, int64_t count)
{
    char dataset[DATASET_MAX];
    int known = 0;
    for (int i = 0; i < r->m->parameter_count; i++) known += strcmp(r->places[i].group, group) == 0;
    if (count == known) return CONV_OK; /* which they are, reading them found out */
    snprintf(dataset, sizeof dataset, "%.500s/vars/%d", group, known);
    return refuse_extra(r, dataset);
}

/* Every group below is the model's, or has no weights. */
static conv_status check_groups(h5_reader *r, const char *group, int depth)
{
    int64_t count = h5_count(r->file, group);
    conv_status status = CONV_OK;
    for (int64_t i = 0; i < count && status == CONV_OK; i++) {
        char name[256], below[DATASET_MAX];
        if (depth == DEEPEST_GROUP || --r->groups_left < 0 || !h5_name(r->file, group, i, name, sizeof name))
            return conv_fail(r->err, CONV_INVALID, "%s: has more groups than a model can have", r->path);
        snprintf(below, sizeof below, "%.300s/%s", group, name);
        int64_t inside = h5_count(r->file, below);
        if (inside > 0)
            status =
                strcmp(name, "vars") == 0 ? check_vars(r, group, inside) : check_groups(r, below, depth + 1);
    }
    return status;
}

static conv_status read_keras3(h5_reader *r, const char *root)
{
    conv_status status = CONV_OK;
    for (int i = 0; i < r->m->parameter_count && status == CONV_OK; i++) {
        char dataset[DATASET_MAX];
        snprintf(dataset, sizeof dataset, "%s/vars/%d", r->places[i].group, r->places[i].index);
        status = read_one(r, dataset, i);
    }
    if (status == CONV_OK && h5_count(r->file, "vars") > 0) status = refuse_extra(r, "vars/0");
    return status == CONV_OK ? check_groups(r, root, 0) : status;
}

/* ---- Keras 2: lists of layers and of each layer's weights, in their order */

typedef struct {
    char group[300];
    h5_texts weights;
} h5_layer;

/* Those with weights. */
static conv_status list_layers(const h5_reader *r, const char *root, const h5_texts *names, h5_layer *layers,
                               int *count)
{
    conv_error inner;
    for (int i = 0; i < names->count; i++) {
        h5_layer *l = &layers[*count];
        snprintf(l->group, sizeof l->group, "%s%s%.255s", root, *root != 0 ? "/" : "", names->text[i]);
        if (!h5_read_texts(r->file, l->group, "weight_names", &l->weights, &inner)) {
            char shown[DATASET_MAX];
            return conv_fail(r->err, CONV_INVALID, "%s: '%.100s' %s", r->path, show(l->group, shown),
                             inner.text);
        }
        *count += l->weights.count > 0;
    }
    return CONV_OK;
}

/* The first weight of each of the model's layers that have some, in the order of the file; their number. */
static int own_layers(const model *m, const weight_place *places, int *first)
{
    int count = 0;
    for (int layer = 0, last = 0; layer <= last; layer++) {
        int found = -1;
        for (int i = 0; i < m->parameter_count; i++) {
            if (places[i].layer > last) last = places[i].layer;
            if (found < 0 && places[i].layer == layer) found = i;
        }
        if (found >= 0) first[count++] = found;
    }
    return count;
}

static const h5_layer *find_named(const h5_layer *layers, int count, const char *root, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(layers[i].group + (*root != 0 ? strlen(root) + 1 : 0), name) == 0) return &layers[i];
    return NULL;
}

/* Weights of one layer: those whose place has the number of the model's parameter `first`. */
static conv_status read_layer(const h5_reader *r, const h5_layer *l, int first)
{
    conv_status status = CONV_OK;
    int number = r->places[first].layer, count = 0;
    char shown[DATASET_MAX];
    for (int i = 0; i < r->m->parameter_count; i++) count += r->places[i].layer == number;
    if (l->weights.count != count)
        return conv_fail(r->err, CONV_INVALID, "%s: layer '%.80s' has %d weights: the model's '%.60s' has %d",
                         r->path, show(l->group, shown), l->weights.count, r->places[first].group, count);
    for (int i = 0; i < r->m->parameter_count && status == CONV_OK; i++) {
        char dataset[DATASET_MAX];
        if (r->places[i].layer != number) continue;
        snprintf(dataset, sizeof dataset, "%s/%.255s", l->group, l->weights.text[r->places[i].index]);
        status = read_one(r, dataset, i);
    }
    return status;
}

/* By the names of layers when they are the model's, else in their order, as Keras always does. */
static conv_status assign_layers(const h5_reader *r, const char *root, const h5_layer *layers, int count,
                                 int *first)
{
    int own = own_layers(r->m, r->places, first);
    bool named = true;
    conv_status status = CONV_OK;
    if (own != count)
        return conv_fail(r->err, CONV_INVALID, "%s: %d layers with weights: the model has %d", r->path, count,
                         own);
    for (int i = 0; i < own; i++)
        named = named && find_named(layers, count, root, r->places[first[i]].group) != NULL;
    for (int i = 0; i < own && status == CONV_OK; i++)
        status = read_layer(r, named ? find_named(layers, count, root, r->places[first[i]].group) : &layers[i],
                            first[i]);
    return status;
}

static conv_status read_keras2(const h5_reader *r, const char *root, const h5_texts *names)
{
    int count = 0, *first = calloc((size_t)r->m->parameter_count + 1, sizeof *first);
    h5_layer *layers = calloc((size_t)names->count + 1, sizeof *layers);
    conv_status status = first != NULL && layers != NULL
                             ? list_layers(r, root, names, layers, &count)
                             : conv_fail(r->err, CONV_NO_MEMORY, "%s: no memory", r->path);
    if (status == CONV_OK) status = assign_layers(r, root, layers, count, first);
    for (int i = 0; layers != NULL && i <= names->count; i++) h5_free_texts(&layers[i].weights);
    free(layers);
    free(first);
    return status;
}

/* ---- which of them */

static conv_status read_file(h5_reader *r)
{
    static const struct {
        places_layout layout;
        const char *root;
    } kinds[] = {{PLACES_KERAS2, "model_weights"},
                 {PLACES_KERAS2, ""},
                 {PLACES_KERAS3, "layers"},
                 {PLACES_TF_2_13, "_layer_checkpoint_dependencies"}};
    h5_texts names = {0};
    size_t k = 0;
    for (; k < sizeof kinds / sizeof *kinds; k++) {
        bool old = kinds[k].layout == PLACES_KERAS2;
        if (h5_count(r->file, kinds[k].root) < 0) continue;
        if (!old || (h5_read_texts(r->file, kinds[k].root, "layer_names", &names, NULL) && names.count > 0))
            break;
    }
    if (k == sizeof kinds / sizeof *kinds)
        return conv_fail(r->err, CONV_INVALID,
                         "%s: no weights of Keras's: neither a group layers nor an attribute layer_names",
                         r->path);
    conv_status status =
        !places_find(r->m, kinds[k].layout, r->places)
            ? conv_fail(r->err, CONV_INVALID, "%s: the model's layers cannot be told apart", r->path)
        : kinds[k].layout == PLACES_KERAS2 ? read_keras2(r, kinds[k].root, &names)
                                           : read_keras3(r, kinds[k].root);
    h5_free_texts(&names);
    return status;
}

static conv_status read_here(const char *path, const h5_source *from, const model *m, float *weights,
                             conv_error *err)
{
    conv_error inner;
    h5_reader r = {.path = path, .m = m, .weights = weights, .groups_left = MOST_GROUPS, .err = err};
    r.places = calloc((size_t)m->parameter_count + 1, sizeof *r.places);
    if (r.places == NULL) return conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path);
    r.file = h5_open(path, from->image, from->size, &inner);
    conv_status status = r.file >= 0 ? read_file(&r) : conv_fail(err, CONV_INVALID, "%s: %s", path, inner.text);
    h5_close(r.file);
    free(r.places);
    return status;
}

/* What a reading process leaves. */
typedef struct {
    conv_status status;
    conv_error err;
    float weights[];
} h5_result;

/* In a process of its own: a damaged file crashes libhdf5 (1.10.8 reads beyond a global heap that lies about its
 * sizes) or keeps it busy for ever. */
static conv_status read_apart(const char *path, const h5_source *from, const model *m, h5_result *result,
                              conv_error *err)
{
    int state = 0;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        setrlimit(RLIMIT_CPU, &(struct rlimit){MOST_SECONDS, MOST_SECONDS});
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(1); /* malloc's last words */
        result->status = read_here(path, from, m, result->weights, &result->err);
        _exit(0);
    }
    while (child > 0 && waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    if (child < 0) return conv_fail(err, CONV_FAILED, "%s: %s", path, strerror(errno));
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
        return conv_fail(err, CONV_INVALID, "%s: is damaged: reading it ended with signal %d", path,
                         WIFSIGNALED(state) ? WTERMSIG(state) : 0);
    return result->status == CONV_OK ? CONV_OK : conv_fail(err, result->status, "%s", result->err.text);
}

conv_status weights_read_h5(const char *path, const void *image, size_t size, const model *m, float *weights,
                            conv_error *err)
{
    const h5_source from = {image, size};
    size_t floats = (size_t)m->total * sizeof *weights, bytes = sizeof(h5_result) + floats;
    h5_result *result = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED) return conv_fail(err, CONV_NO_MEMORY, "%s: no memory", path);
    memcpy(result->weights, weights, floats);
    conv_status status = read_apart(path, &from, m, result, err);
    if (status == CONV_OK) memcpy(weights, result->weights, floats);
    munmap(result, bytes);
    return status;
}

/* ---- writing */

static bool write_keras3(hid_t file, const model *m, const float *weights, const weight_place *places)
{
    bool fine = h5_write_group(file, "vars"); /* before Keras 3.6 the model's own had to be there */
    for (int i = 0; i < m->parameter_count && fine; i++) {
        const npy_shape shape = parameter_shape(&m->parameter[i]);
        char dataset[DATASET_MAX];
        snprintf(dataset, sizeof dataset, "%s/vars/%d", places[i].group, places[i].index);
        fine = h5_write(file, dataset, &shape, weights + m->parameter[i].offset);
    }
    return fine;
}

/* The weights of one layer and the list of their names, in the order of their places. */
static bool write_layer(hid_t file, const model *m, const float *weights, const weight_place *places, int first,
                        const char **names)
{
    int count = 0;
    bool fine = true;
    char group[300];
    snprintf(group, sizeof group, "model_weights/%s", places[first].group);
    for (int i = 0; i < m->parameter_count && fine; i++) {
        const npy_shape shape = parameter_shape(&m->parameter[i]);
        char dataset[DATASET_MAX];
        if (places[i].layer != places[first].layer) continue;
        names[places[i].index] = m->parameter[i].name;
        count++;
        snprintf(dataset, sizeof dataset, "%s/%s", group, m->parameter[i].name);
        fine = h5_write(file, dataset, &shape, weights + m->parameter[i].offset);
    }
    return fine && h5_write_texts(file, group, "weight_names", names, count);
}

/* As Keras 2's model.save: with the model beside its weights. Without the version Keras takes it for its first. */
static bool write_keras2(hid_t file, const model *m, const float *weights, const weight_place *places)
{
    static const char *const groups[] = {"/", "model_weights"};
    const char **names = calloc((size_t)m->parameter_count + 1, sizeof *names);
    int *first = calloc((size_t)m->parameter_count + 1, sizeof *first);
    char *text = weights_model_text(m, PLACES_KERAS2);
    bool fine =
        names != NULL && first != NULL && text != NULL && h5_write_text(file, "/", "model_config", text);
    for (int i = 0; i < 2 && fine; i++)
        fine = h5_write_text(file, groups[i], "keras_version", "2.15.0") &&
               h5_write_text(file, groups[i], "backend", "tensorflow");
    int count = fine ? own_layers(m, places, first) : 0;
    for (int i = 0; i < count && fine; i++) fine = write_layer(file, m, weights, places, first[i], names);
    for (int i = 0; i < count; i++) names[i] = places[first[i]].group;
    fine = fine && h5_write_texts(file, "model_weights", "layer_names", names, count);
    free(text);
    free(first);
    free(names);
    return fine;
}

char *weights_make_h5(const model *m, const float *weights, places_layout layout, size_t *size)
{
    weight_place *places = calloc((size_t)m->parameter_count + 1, sizeof *places);
    hid_t file = h5_create();
    bool fine = places != NULL && file >= 0 && places_find(m, layout, places) &&
                (layout == PLACES_KERAS2 ? write_keras2 : write_keras3)(file, m, weights, places);
    char *image = fine ? h5_image(file, size) : NULL;
    h5_close(file);
    free(places);
    return image;
}
