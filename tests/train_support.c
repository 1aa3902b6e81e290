#include "train_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/embed.h"

double noise(uint32_t stream, uint32_t i)
{
    uint32_t x = i * 2654435761u + stream * 40503u + 1;
    x ^= x >> 16;
    x *= 2246822519u;
    x ^= x >> 13;
    x *= 3266489917u;
    x ^= x >> 16;
    return x / 4294967296.0 - 0.5;
}

void noise_weights(const model *m, float *weights)
{
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        int64_t field = 1;
        for (int k = 0; k < p->rank - 2; k++) field *= p->shape[k];
        double limit =
            p->rank <= 1 ? 0.05 : sqrt(6 / (double)(field * (p->shape[p->rank - 2] + p->shape[p->rank - 1])));
        for (int64_t k = 0; k < p->count; k++)
            weights[p->offset + k] =
                (float)(noise((uint32_t)i, (uint32_t)k) * 2 * limit + (p->init.kind == INIT_ONES));
    }
}

char *test_path(const char *path, char *text, size_t size)
{
    snprintf(text, size, "%s", __FILE__);
    char *slash = strrchr(text, '/');
    size_t used = slash != NULL ? (size_t)(slash + 1 - text) : 0;
    snprintf(text + used, size - used, "%s", path);
    return text;
}

json_t *test_json(const char *path)
{
    char full[4096];
    json_error_t where;
    json_t *value = json_load_file(test_path(path, full, sizeof full), 0, &where);
    if (value == NULL) fail_msg("%s:%d: %s", full, where.line, where.text);
    return value;
}

char *test_quoted(const char *text, char *to)
{
    char *at = to;
    for (; *text != 0; text++) *at++ = *text == '\'' ? '"' : *text;
    *at = 0;
    return to;
}

model *test_model(const char *text)
{
    conv_error err = {""};
    model *m = model_parse(text, "test.json", &err);
    if (m == NULL) fail_msg("%s", err.text);
    return m;
}

static const char *network_text(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "bench/models/%s.json", name);
    const embedded_file *file = embedded_find(path);
    assert_non_null(file);
    return file->data;
}

model *test_network(const char *name) { return test_model(network_text(name)); }

model *test_model_undropped(const char *name)
{
    json_t *root = json_loads(network_text(name), 0, NULL),
           *layers = json_object_get(json_object_get(root, "config"), "layers");
    for (size_t i = json_array_size(layers); i-- > 0;) {
        const char *c = json_string_value(json_object_get(json_array_get(layers, i), "class_name"));
        if (strcmp(c, "Dropout") == 0) json_array_remove(layers, i);
    }
    char *text = json_dumps(root, 0);
    model *m = test_model(text);
    free(text);
    json_decref(root);
    return m;
}

net *test_net_with(const model *m, const net_options *options)
{
    conv_error err = {""};
    net *n = net_create(m, options, &err);
    if (n == NULL) fail_msg("%s", err.text);
    return n;
}

net *test_net(const model *m, const char *impls, int64_t batch, int threads)
{
    return test_net_with(m, &(net_options){.threads = threads, .batch = batch, .impls = impls, .seed = 1});
}
