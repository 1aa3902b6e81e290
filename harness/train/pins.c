/* A layer's strategies: chosen, recorded and read back. The book that its plans read has these and no
 * others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../grow.h"
#include "../measure/chooser.h"
#include "net_internal.h"

static bool find(const conv_book *book, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                 int threads, conv_strategy *found)
{
    const pins *all = (const pins *)book;
    (void)p;
    (void)threads;
    for (size_t i = 0; i < all->count; i++) {
        if (all->list[i].impl != impl || all->list[i].pass != pass) continue;
        *found = all->list[i].strategy;
        return true;
    }
    return false;
}

void pins_free(pins *all)
{
    free(all->list);
    *all = (pins){0};
}

static conv_status add(pins *to, const atomic_part *part, const conv_strategy *strategy, conv_error *err)
{
    conv_candidates candidates;
    conv_strategy old;
    part_candidates(part, 1, &candidates);
    to->book.find = find;
    if (find(&to->book, part->impl, &part->problem, part->pass, 1, &old)) return CONV_OK;
    pin *added = grow(&to->list, &to->count, sizeof *added);
    if (added == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for strategies");
    *added = (pin){part->impl, part->pass, candidates.choices, *strategy};
    return CONV_OK;
}

conv_problem pins_problem(const net *n, const op *o)
{
    return op_problem(o, o->batched ? n->options.batch : n->slice_rows);
}

/* ---- choosing */

static conv_status hold_contests(net *n, const op *o, const conv_impl *impl, conv_pass pass, conv_error *err)
{
    record_row row = {.problem = pins_problem(n, o), .pass = pass, .threads = 1, .isa = conv_isa(impl)};
    record_clear_measured(&row);
    snprintf(row.impl, sizeof row.impl, "%s", impl->name);
    chooser *c = chooser_create(n->options.wisdom, NULL, NULL);
    if (c == NULL || !chooser_add(c, &row)) {
        chooser_destroy(c);
        return conv_fail(err, CONV_NO_MEMORY, "no memory to choose strategies");
    }
    chooser_limit(c, 0);
    chooser_run(c, &row, NULL, 1);
    chooser_destroy(c);
    if (row.reason[0] == '\0') return CONV_OK;
    return conv_fail(err, CONV_FAILED, "layer %s: %s: %.150s", n->model->layers[o->layer].name, impl->name,
                     row.reason);
}

/* What a contest has found, else the pick for one thread: recorded, so that what computes a layer depends on
 * neither the threads nor what another build would pick, and ranks compute their parts of it by the pick for the
 * whole (spread_dense.c). */
static bool chosen_for(const conv_book *book, const atomic_part *part, conv_strategy *s)
{
    conv_candidates candidates;
    if (book != NULL && book->find(book, part->impl, &part->problem, part->pass, 1, s)) return true;
    part_candidates(part, 1, &candidates);
    if (candidates.count > 0) *s = candidates.list[0];
    return candidates.count > 0;
}

conv_status pins_choose(net *n, const op *o, const conv_impl *impl, conv_pass pass, pins *to, conv_error *err)
{
    const conv_book *book = n->options.wisdom != NULL ? wisdom_book(n->options.wisdom) : NULL;
    const conv_problem p = pins_problem(n, o);
    atomic_part parts[PARTS_MAX];
    if (conv_refuse(impl, &p, pass) != NULL) return CONV_OK;
    conv_status status = book != NULL ? hold_contests(n, o, impl, pass, err) : CONV_OK;
    int count = parts_of(impl, &p, pass, 1, parts);
    for (int i = 0; i < count && status == CONV_OK; i++) {
        conv_strategy s;
        if (chosen_for(book, &parts[i], &s)) status = add(to, &parts[i], &s, err);
    }
    return status;
}

conv_status pins_choose_all(net *n, op *o, conv_error *err)
{
    conv_status status = CONV_OK;
    pins_free(&o->pins);
    for (int use = 0; use < USE_COUNT && status == CONV_OK; use++)
        status = pins_choose(n, o, o->impl[use], conv_use_pass((conv_use)use), &o->pins, err);
    return status;
}

/* ---- as JSON */

enum { PIN_NAME_MAX = 128 };

/* "avx512 dense backward_weights" */
static char *name_of(const conv_impl *impl, conv_pass pass, char *name)
{
    snprintf(name, PIN_NAME_MAX, "%s %s %s", impl->name, conv_variant_name(impl->variant),
             conv_pass_name(pass));
    return name;
}

json_t *pins_json(const pins *all)
{
    json_t *object = json_object();
    for (size_t i = 0; i < all->count; i++) {
        const pin *p = &all->list[i];
        char name[PIN_NAME_MAX];
        json_object_set_new(object, name_of(p->impl, p->pass, name), strategy_json(p->choices, &p->strategy));
    }
    return object;
}

static conv_status read_part(const net *n, op *o, const atomic_part *part, const json_t *object,
                             conv_error *err)
{
    char name[PIN_NAME_MAX];
    const json_t *recorded = json_object_get(object, name_of(part->impl, part->pass, name));
    conv_candidates candidates;
    conv_strategy s;
    part_candidates(part, 1, &candidates);
    if (recorded == NULL) return add(&o->pins, part, &candidates.list[0], err); /* by the cost model */
    if (strategy_read(&candidates, recorded, &s)) return add(&o->pins, part, &s, err);
    return conv_fail(err, CONV_INVALID,
                     "layer %s: the checkpoint was trained with a strategy of %s that is none here",
                     n->model->layers[o->layer].name, name);
}

conv_status pins_read(const net *n, op *o, const json_t *object, conv_error *err)
{
    const conv_problem p = pins_problem(n, o);
    conv_status status = CONV_OK;
    pins_free(&o->pins);
    for (int use = 0; use < USE_COUNT; use++) {
        const conv_impl *impl = o->impl[use];
        const conv_pass pass = conv_use_pass((conv_use)use);
        atomic_part parts[PARTS_MAX];
        int count = conv_refuse(impl, &p, pass) != NULL ? 0 : parts_of(impl, &p, pass, 1, parts);
        for (int i = 0; i < count && status == CONV_OK; i++) status = read_part(n, o, &parts[i], object, err);
    }
    return status;
}
