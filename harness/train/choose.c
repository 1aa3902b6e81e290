/* Which implementation runs a layer, and by which strategies: the one named, the one an earlier run chose, or the
 * best (best.c). What timing had a part in is remembered (measure/wisdom.h), whatever the number of threads, so
 * that the same command gives the same bits: also a contest that had no time, on a machine that was busy, and
 * would end otherwise another day. */
#include <stdio.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "net_internal.h"

/* Why impl cannot do forward and backward of o, or NULL. */
static const char *cannot(const op *o, const conv_impl *impl)
{
    if (impl->own_process) return "it runs in a process of its own: 'sepbench bench' measures it";
    const char *reason = conv_refuse(impl, &o->problem, CONV_FORWARD);
    return reason != NULL ? reason : conv_refuse(impl, &o->problem, CONV_BACKWARD);
}

/* One implementation for all uses, its workspace kept if its backward wants one. */
static void set_all(op *o, const conv_impl *impl)
{
    for (int use = 0; use < USE_COUNT; use++) o->impl[use] = impl;
    o->keep_workspace = true;
}

static const char *why_absent(const char *name, conv_variant variant)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    bool known = false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(e[i].name, name) != 0) continue;
        known = true;
        if (e[i].variant == variant && e[i].impl == NULL) return e[i].absent;
    }
    return known ? "it has no such variant" : "no implementation of that name: 'sepbench list' names them";
}

/* "dense mb8ic1ih28oc32oh26kh3 nhwc +bias first"; before it the name of an implementation that was asked for;
 * with --strategy its word behind. */
static void key_of(const net *n, const op *o, const conv_impl *named, char *key, size_t size)
{
    char text[PROBLEM_STRING_MAX], word[WISDOM_WORD] = "";
    const conv_problem p = pins_problem(n, o);
    if (!wisdom_measures(n->options.wisdom)) wisdom_word(n->options.wisdom, word);
    snprintf(key, size, "%s%s%s %s %s%s%s%s%s%s%s", named != NULL ? named->name : "", named != NULL ? ": " : "",
             conv_variant_name(p.variant), problem_format(&p, text), conv_layout_name(p.layout),
             p.bias ? " +bias" : "", p.post_op != CONV_POST_NONE ? " +" : "", conv_post_op_word(p.post_op),
             o->diff_wanted ? "" : " first", *word != '\0' ? " " : "", word);
}

static bool recall(const net *n, op *o, const conv_impl *named, json_t *entry, conv_error *err)
{
    if (!choice_read(o, entry)) return false;
    for (int use = 0; use < USE_COUNT && named != NULL; use++)
        if (o->impl[use] != named) return false;
    return pins_read(n, o, json_object_get(entry, "strategies"), err) == CONV_OK;
}

/* The one named; NULL: the best. */
static conv_status choose_now(net *n, op *o, const conv_impl *named, conv_error *err)
{
    if (named == NULL) return best_choose(n, o, err);
    set_all(o, named);
    return pins_choose_all(n, o, err);
}

static conv_status choose_once(net *n, op *o, const conv_impl *named, conv_error *err)
{
    char key[PROBLEM_STRING_MAX + 96];
    wisdom *w = n->options.wisdom;
    if (w == NULL || (named != NULL && !wisdom_measures(w))) return choose_now(n, o, named, err);
    key_of(n, o, named, key, sizeof key);
    if (recall(n, o, named, json_object_get(wisdom_layers(w), key), err)) return CONV_OK;
    conv_status status = choose_now(n, o, named, err);
    if (status != CONV_OK) return status;
    json_object_set_new(wisdom_layers(w), key, choice_json(o));
    wisdom_changed(w);
    wisdom_save(w);
    return CONV_OK;
}

static conv_status choose_named(net *n, op *o, conv_error *err)
{
    char names[256], *rest = names, last[64] = "";
    const char *reason = "none named";
    snprintf(names, sizeof names, "%s", n->options.impls);
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        if (strcmp(name, "best") == 0) return choose_once(n, o, NULL, err);
        const conv_impl *impl = conv_find(name, o->problem.variant);
        reason = impl == NULL ? why_absent(name, o->problem.variant) : cannot(o, impl);
        if (reason == NULL) return choose_once(n, o, impl, err);
        snprintf(last, sizeof last, "%s", name);
    }
    return conv_fail(err, CONV_REFUSED, "--impl %s: layer %s (%s): %.120s", last,
                     n->model->layers[o->layer].name, conv_variant_name(o->problem.variant), reason);
}

static const char *const use_names[] = {"forward", "backward", "inference"};

json_t *choice_json(const op *o)
{
    json_t *entry = json_pack("{s:b, s:o}", "workspace", o->keep_workspace, "strategies", pins_json(&o->pins));
    for (int use = 0; use < USE_COUNT; use++)
        json_object_set_new(entry, use_names[use], json_string(o->impl[use]->name));
    return entry;
}

bool choice_read(op *o, json_t *entry)
{
    for (int use = 0; use < USE_COUNT; use++) {
        const char *name = json_string_value(json_object_get(entry, use_names[use]));
        o->impl[use] = name != NULL ? conv_find(name, o->problem.variant) : NULL;
        if (o->impl[use] == NULL) return false;
    }
    o->keep_workspace = json_is_true(json_object_get(entry, "workspace"));
    return true;
}

static conv_status choose_recorded(net *n, op *o, conv_error *err)
{
    const char *layer_name = n->model->layers[o->layer].name;
    json_t *entry = json_object_get(n->options.choices, layer_name);
    if (choice_read(o, entry)) return pins_read(n, o, json_object_get(entry, "strategies"), err);
    for (int use = 0; use < USE_COUNT; use++) {
        const char *name = json_string_value(json_object_get(entry, use_names[use]));
        if (name != NULL && conv_find(name, o->problem.variant) == NULL)
            return conv_fail(err, CONV_INVALID, "layer %s: the checkpoint was trained with %s: %s", layer_name,
                             name, why_absent(name, o->problem.variant));
    }
    return conv_fail(err, CONV_INVALID, "layer %s: the checkpoint records no implementation for it",
                     layer_name);
}

/* "avx2", or "avx2 / im2col" where backward has another. */
static void name_both(const op *o, char *text, size_t size)
{
    const char *forward = o->impl[USE_TRAIN]->name, *backward = o->impl[USE_BACKWARD]->name;
    bool same = forward == backward;
    snprintf(text, size, "%s%s%s", forward, same ? "" : " / ", same ? "" : backward);
}

conv_status conv_op_choose(net *n, op *o, conv_error *err)
{
    conv_status status = n->options.choices != NULL ? choose_recorded(n, o, err) : choose_named(n, o, err);
    if (status != CONV_OK) return status;
    int used =
        snprintf(o->what, sizeof o->what, "%s%s%s ", conv_variant_name(o->problem.variant),
                 o->problem.post_op != CONV_POST_NONE ? " + " : "", conv_post_op_word(o->problem.post_op));
    name_both(o, o->what + used, sizeof o->what - (size_t)used);
    return CONV_OK;
}

json_t *net_choices(const net *n)
{
    json_t *all = json_object();
    for (int i = 0; i < n->op_count; i++) {
        const op *o = &n->ops[i];
        const char *name = n->model->layers[o->layer].name;
        json_t *entry = json_object_get(all, name); /* of its depthwise half, which comes before a pooled one */
        if (o->kind == OP_FIRST) json_object_set_new(all, name, json_pack("{s:b}", "first", 1));
        if (o->kind == OP_CONV) json_object_set_new(all, name, choice_json(o));
        if (o->kind == OP_POOLED && entry == NULL)
            json_object_set_new(all, name, json_pack("{s:b}", "pooled", 1));
        else if (o->kind == OP_POOLED)
            json_object_set_new(entry, "pooled", json_true());
    }
    return all;
}

char *net_impl(const net *n, int layer, char *buffer)
{
    buffer[0] = 0;
    if (layer == 0 && n->ops[0].kind == OP_FIRST) snprintf(buffer, 64, "nn %s", cpu_isa_name(n->nn->isa));
    for (int i = 0; i < n->op_count; i++)
        if (n->ops[i].kind == OP_CONV && n->ops[i].layer == layer) {
            name_both(&n->ops[i], buffer, 64);
        } else if (n->ops[i].kind == OP_POOLED && n->ops[i].layer == layer) {
            size_t used = strlen(buffer);
            snprintf(buffer + used, 64 - used, "%snn %s", used > 0 ? " + " : "", cpu_isa_name(n->nn->isa));
        }
    return buffer;
}
