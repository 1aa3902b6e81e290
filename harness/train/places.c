#include "places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 16 };

typedef struct {
    const model *m;
    places_layout layout;
    weight_place *places;
    int leaves, layers; /* of the file: layers that are no models, and the model's own */
    int placed;         /* parameters */
} walk;

static const char *class_of(json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "class_name"));
    return name == NULL ? "" : strcmp(name, "Model") == 0 ? "Functional" : name; /* as older files call it */
}

/* Of the layer with that name; without one, of that number among a Sequential's. */
static const layer *find_layer(const model *m, const char *name, int number)
{
    if (name == NULL) return number < m->layer_count ? &m->layers[number] : NULL;
    for (int i = 0; i < m->layer_count; i++)
        if (strcmp(m->layers[i].name, name) == 0) return &m->layers[i];
    return NULL;
}

static void place_layer(walk *w, const layer *l, const char *group)
{
    for (int i = 0; l != NULL && i < l->parameter_count; i++) {
        weight_place *p = &w->places[l->first_parameter + i];
        snprintf(p->group, sizeof p->group, "%s", group);
        p->index = i;
        p->layer = w->layers;
        w->placed++;
    }
}

/* The group of an item of layers: its class, and its number among those of its class before it. */
static void group_of(const walk *w, json_t *layers, size_t at, const char *path, char *group, size_t size)
{
    char snake[128];
    int number = 0;
    const char *class_name = class_of(json_array_get(layers, at));
    for (size_t i = 0; i < at; i++) number += strcmp(class_of(json_array_get(layers, i)), class_name) == 0;
    if (w->layout == PLACES_TF_2_13) number *= 2;
    network_snake_case(class_name, snake, sizeof snake);
    snprintf(group, size, number > 0 ? "%.100s/%.80s_%d" : "%.100s/%.80s", path, snake, number);
}

/* path: of the layers' groups; prefix: of their names, "" of the model's own; own: of these the one that all of
 * these belong to, NULL when they are it. */
static void walk_layers(walk *w, json_t *layers, const char *path, const char *prefix, const char *own,
                        int depth)
{
    for (size_t i = 0; i < json_array_size(layers); i++) {
        json_t *item = json_array_get(layers, i), *config = json_object_get(item, "config");
        const char *given = json_string_value(json_object_get(config, "name"));
        char group[256], name[256];
        group_of(w, layers, i, path, group, sizeof group);
        snprintf(name, sizeof name, "%.120s%.120s", prefix, given != NULL ? given : "");
        json_t *inner = network_layers(item);
        if (inner != NULL && depth < DEEPEST) {
            char below[256], names[256];
            snprintf(below, sizeof below, "%.200s/%s", group,
                     w->layout == PLACES_TF_2_13 ? "_layer_checkpoint_dependencies" : "layers");
            snprintf(names, sizeof names, "%.250s/", name);
            walk_layers(w, inner, below, names, own != NULL ? own : name, depth + 1);
        } else if (inner == NULL && strcmp(class_of(item), "InputLayer") != 0) {
            const layer *l = find_layer(w->m, given != NULL ? name : NULL, w->leaves++);
            const char *top = own != NULL ? own : l != NULL ? l->name : name;
            place_layer(w, l, w->layout == PLACES_KERAS2 ? top : group);
        }
        if (own == NULL) w->layers++;
    }
}

/* In a group of Keras 2's, what is trained comes first: the order matters where a model within the model, or a
 * part of one, is such a group. */
static void trained_first(walk *w)
{
    int n = w->m->parameter_count;
    int *index = calloc((size_t)n + 1, sizeof *index);
    if (index == NULL) {
        w->placed = -1;
        return;
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            const parameter *p = &w->m->parameter[i], *q = &w->m->parameter[k];
            bool before = p->trainable == q->trainable ? k < i : q->trainable;
            index[i] += before && w->places[k].layer == w->places[i].layer;
        }
    for (int i = 0; i < n; i++) w->places[i].index = index[i];
    free(index);
}

bool places_find(const model *m, places_layout layout, weight_place *places)
{
    walk w = {.m = m, .layout = layout, .places = places};
    json_t *root = json_loads(m->json, 0, NULL);
    walk_layers(&w, network_layers(root),
                layout == PLACES_TF_2_13 ? "_layer_checkpoint_dependencies" : "layers", "", NULL, 0);
    json_decref(root);
    if (layout == PLACES_KERAS2) trained_first(&w);
    return w.placed == m->parameter_count;
}
