#include "advise.h"

#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/grow.h"
#include "../harness/layer.h"
#include "../harness/output.h"
#include "other_form.h"

enum { NETWORK_ROOM = 40, LAYER_ROOM = 80 };

/* Layers of one shape, and of one shape of the pair. */
typedef struct {
    size_t first, pair; /* in convs; pair == first: none */
    int times;
    char layer[LAYER_ROOM];
    json_t *names; /* of all */
} alike;

typedef struct {
    alike *at;
    size_t count;
} groups;

typedef struct {
    const network_convs *convs;
    char network[NETWORK_ROOM];
    suite_list *list;
    groups shapes; /* the network as it is: pairs are two */
    groups items;  /* what is swapped at once */
} advice;

/* ---- names: rows join them by "+", and ":", "@" and "*" mean something in them */

static void put_name(char *to, size_t size, const char *name)
{
    size_t i = 0;
    for (; name[i] != 0 && i < size - 1; i++) to[i] = strchr(":+@*\",", name[i]) != NULL ? '_' : name[i];
    while (i > 0 && name[i] != 0 && ((unsigned char)name[i] & 0xC0) == 0x80) i--; /* no part of a character */
    to[i] = 0;
}

static bool is_taken(const groups *g, const alike *added)
{
    for (const alike *a = g->at; a < added; a++)
        if (strcmp(a->layer, added->layer) == 0) return true;
    return false;
}

/* Of names that are cut short, or changed into another's, the number tells them apart. */
static void name_group(groups *g, alike *added, const char *name)
{
    put_name(added->layer, sizeof added->layer, name);
    for (size_t i = g->count; is_taken(g, added); i++) {
        char number[24];
        snprintf(number, sizeof number, "_%zu", i);
        put_name(added->layer, sizeof added->layer - strlen(number), name);
        strcat(added->layer, number);
    }
}

/* ---- what is alike */

static bool same_problem(const conv_problem *a, const conv_problem *b)
{
    char x[PROBLEM_STRING_MAX], y[PROBLEM_STRING_MAX];
    return a->variant == b->variant && a->bias == b->bias &&
           strcmp(problem_format(a, x), problem_format(b, y)) == 0;
}

static bool add_to(const advice *a, groups *g, size_t conv, size_t pair)
{
    const network_conv *convs = a->convs->at;
    alike *to = NULL;
    for (size_t i = 0; i < g->count && to == NULL; i++)
        if (same_problem(&convs[g->at[i].first].problem, &convs[conv].problem) &&
            (g->at[i].pair == g->at[i].first) == (pair == conv) &&
            same_problem(&convs[g->at[i].pair].problem, &convs[pair].problem))
            to = &g->at[i];
    if (to == NULL) {
        if ((to = grow(&g->at, &g->count, sizeof *to)) == NULL) return false;
        *to = (alike){.first = conv, .pair = pair, .names = json_array()};
        name_group(g, to, convs[conv].name);
    }
    to->times++;
    char both[2 * PROBLEM_NAME_MAX];
    snprintf(both, sizeof both, "%s%s%s", convs[conv].name, pair != conv ? " + " : "",
             pair != conv ? convs[pair].name : "");
    return json_array_append_new(to->names, json_string(both)) == 0;
}

static bool group_all(advice *a)
{
    bool fine = true;
    for (size_t i = 0; i < a->convs->count && fine; i++) {
        const network_conv *c = &a->convs->at[i];
        const bool first = c->problem.variant == CONV_DEPTHWISE || c->pair < 0;
        fine = add_to(a, &a->shapes, i, i);
        if (fine && first) fine = add_to(a, &a->items, i, c->pair < 0 ? i : (size_t)c->pair);
    }
    return fine;
}

/* ---- problems */

/* As its case's name says it, which leaves out trailing pixels that no tap reads. */
static int add_problem(advice *a, const conv_problem *p, const char *form, const alike *of)
{
    suite_problem item = {.suite = "advise", .other_form = *form != 0};
    char text[PROBLEM_STRING_MAX], whole[PROBLEM_STRING_MAX + 16];
    conv_error err;
    snprintf(whole, sizeof whole, "%s:%s", conv_variant_name(p->variant), problem_format(p, text));
    if (problem_parse(whole, &item.problem, NULL, &err) == CONV_INVALID)
        return cli_error("layer %s: problem '%s': %s", of->layer, whole, err.text);
    snprintf(item.layer, sizeof item.layer, of->times > 1 ? "%s%s:%s*%d" : "%s%s:%s", a->network, form,
             of->layer, of->times);
    return suite_append(a->list, &item, &(suite_axes){0});
}

static const alike *shape_of(const advice *a, const conv_problem *p)
{
    const alike *s = a->shapes.at;
    while (!same_problem(&a->convs->at[s->first].problem, p)) s++;
    return s;
}

static json_t *key_of(const advice *a, size_t conv)
{
    const alike *s = shape_of(a, &a->convs->at[conv].problem);
    return s->times > 1 ? json_sprintf("%s*%d", s->layer, s->times) : json_string(s->layer);
}

/* Two models may differ in these alone, and a run is of one. */
static json_t *problem_text(const conv_problem *p)
{
    char text[PROBLEM_STRING_MAX];
    return json_sprintf("%s:%s", conv_variant_name(p->variant), problem_format(p, text));
}

static json_t *describe(const advice *a, const alike *item, const conv_problem *other)
{
    const conv_problem *own = &a->convs->at[item->first].problem, *pair = &a->convs->at[item->pair].problem;
    const bool two = item->pair != item->first;
    json_int_t parameters = conv_parameters(own) + (two ? conv_parameters(pair) : 0);
    json_int_t multiplications = conv_multiplications(own) + (two ? conv_multiplications(pair) : 0);
    json_t *keys = json_pack("[o]", key_of(a, item->first)), *problems = json_pack("[o]", problem_text(own));
    if (two) json_array_append_new(keys, key_of(a, item->pair));
    if (two) json_array_append_new(problems, problem_text(pair));
    json_t *entry = json_pack("{s:s, s:i, s:O, s:o, s:o, s:I, s:I}", "layer", item->layer, "times", item->times,
                              "layers", item->names, "own", keys, "problems", problems, "parameters",
                              parameters, "multiplications", multiplications);
    if (other != NULL)
        json_object_update_new(entry,
                               json_pack("{s:s, s:I, s:I}", "form", conv_variant_name(other->variant),
                                         "other_parameters", (json_int_t)conv_parameters(other),
                                         "other_multiplications", (json_int_t)conv_multiplications(other)));
    return entry;
}

/* A layer of the network as it would be; what has no other form stays, so that the network is whole. */
static int add_item(advice *a, const alike *item, json_t *layers)
{
    const network_conv *own = &a->convs->at[item->first], *pair = &a->convs->at[item->pair];
    conv_problem other = own->problem;
    const bool two = item->pair != item->first;
    bool swaps;
    if (two) {
        other.oc = pair->problem.oc;
        other.bias = pair->problem.bias;
    }
    swaps = (own->problem.variant != CONV_DEPTHWISE || two) &&
            (other_form_of(&other, CONV_SEPARABLE) || other_form_of(&other, CONV_DENSE));
    json_t *entry = describe(a, item, swaps ? &other : NULL);
    if (entry == NULL || json_array_append_new(layers, entry) != 0)
        return cli_error("no memory for the layers");
    return add_problem(a, &other, "@" LAYER_SWAPPED, item);
}

static void free_groups(groups *g)
{
    for (size_t i = 0; i < g->count; i++) json_decref(g->at[i].names);
    free(g->at);
}

int advise_list(const network *n, const network_convs *convs, suite_list *list, json_t **layers)
{
    advice a = {.convs = convs, .list = list};
    put_name(a.network, sizeof a.network, n->name);
    *layers = json_array();
    int code =
        *layers != NULL && group_all(&a) ? EXIT_FINE : cli_error("no memory for %zu layers", convs->count);
    for (size_t i = 0; i < a.shapes.count && code == EXIT_FINE; i++)
        code = add_problem(&a, &convs->at[a.shapes.at[i].first].problem, "", &a.shapes.at[i]);
    for (size_t i = 0; i < a.items.count && code == EXIT_FINE; i++)
        code = add_item(&a, &a.items.at[i], *layers);
    free_groups(&a.shapes);
    free_groups(&a.items);
    return code;
}

/* ---- problems.txt */

/* A shape that is part of several pairs once. */
static void put_problems(FILE *out, const json_t *about)
{
    json_t *named = json_object();
    const char *network = json_string_value(json_object_get(about, "network"));
    const json_t *layers = json_object_get(about, "layers");
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *own = json_object_get(json_array_get(layers, i), "own"),
                     *problems = json_object_get(json_array_get(layers, i), "problems");
        for (size_t k = 0; k < json_array_size(own); k++) {
            const char *name = json_string_value(json_array_get(own, k));
            if (json_object_get(named, name) != NULL) continue;
            json_object_set_new_nocheck(named, name, json_true());
            fprintf(out, "%sn\"%s:%s\"\n", json_string_value(json_array_get(problems, k)), network, name);
        }
    }
    json_decref(named);
}

int advise_write_problems(const record_run *run, const char *impls)
{
    const json_t *about = json_object_get(run->run, "advise");
    char path[4352], *text = NULL;
    size_t size;
    conv_error err;
    snprintf(path, sizeof path, "%s/problems.txt", run->dir);
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return cli_error("%.200s: no memory", path);
    fprintf(out,
            "# The convolutions of %s as they are, for 'sepbench bench' to measure alone:\n"
            "#   sepbench bench --threads %d%s --shapes problems.txt\n"
            "--pass=%s\n--impl=%s\n--mb=%lld\n",
            json_string_value(json_object_get(about, "network")), run->rows[0].threads,
            json_is_true(json_object_get(about, "channels_first")) ? " --layout nchw" : "",
            json_is_true(json_object_get(about, "train")) ? "forward,backward" : "forward", impls,
            (long long)run->rows[0].problem.mb);
    put_problems(out, about);
    fclose(out);
    const bool fine = output_write(path, OUTPUT_OWN, text, size, &err);
    free(text);
    return fine ? EXIT_FINE : cli_error("%s", err.text);
}
