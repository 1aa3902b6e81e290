#include "other_form.h"

#include <string.h>

#include "../harness/cli.h"
#include "../harness/layer.h"

typedef struct {
    suite_list *list;
    size_t first, end; /* where the network's layers are, among others */
    conv_variant form; /* CONV_DENSE or CONV_SEPARABLE */
} network;

static bool is_of(const network *n, size_t i)
{
    const suite_problem *a = &n->list->items[n->first], *b = &n->list->items[i];
    size_t length = strcspn(a->layer, ":") + 1;
    return a->problem.mb == b->problem.mb && strncmp(a->layer, b->layer, length) == 0;
}

static bool is_seen(network n)
{
    size_t own = n.first;
    for (n.first = 0; n.first < own; n.first++)
        if (layer_in_network(n.list->items[n.first].layer) && is_of(&n, own)) return true;
    return false;
}

/* ---- the rules */

static bool is_large(const conv_problem *p)
{
    return p->axis[CONV_D].kernel * p->axis[CONV_H].kernel * p->axis[CONV_W].kernel > 1;
}

static bool becomes_separable(const conv_problem *p)
{
    return p->variant == CONV_DENSE && p->groups == 1 && is_large(p);
}

bool other_form_of(conv_problem *p, conv_variant form)
{
    if (form == CONV_SEPARABLE ? !becomes_separable(p)
                               : p->variant != CONV_DEPTHWISE && p->variant != CONV_SEPARABLE)
        return false;
    p->variant = form == CONV_DENSE && !is_large(p) ? CONV_POINTWISE : form;
    p->groups = p->depth_multiplier = 1;
    return true;
}

/* False: it has no other form. */
static bool find_form(network *n)
{
    bool found = false;
    for (size_t i = n->first; i < n->end; i++) {
        const conv_problem *p = &n->list->items[i].problem;
        if (!is_of(n, i)) continue;
        if (p->variant == CONV_DEPTHWISE || p->variant == CONV_SEPARABLE) {
            n->form = CONV_DENSE;
            return true;
        }
        found = found || becomes_separable(p);
    }
    n->form = CONV_SEPARABLE;
    return found;
}

static bool reads(const suite_problem *pointwise, const suite_problem *depthwise)
{
    const conv_problem *p = &pointwise->problem, *d = &depthwise->problem;
    bool fits = p->variant == CONV_POINTWISE && p->ic == d->oc && p->rank == d->rank &&
                layer_times(pointwise->layer) == layer_times(depthwise->layer);
    for (int i = 0; i < CONV_AXES; i++)
        fits = fits && p->axis[i].in == conv_out(&d->axis[i]) && conv_out(&p->axis[i]) == p->axis[i].in;
    return fits;
}

/* The pointwise layer that makes a separable convolution of the depthwise one; n->end: none. */
static size_t reader_of(const network *n, size_t depthwise)
{
    const suite_problem *items = n->list->items;
    for (size_t i = depthwise + 1; i < n->end; i++) {
        if (!is_of(n, i)) continue;
        if (items[i].problem.variant == CONV_DEPTHWISE) break;
        if (reads(&items[i], &items[depthwise])) return i;
    }
    return n->end;
}

/* ---- appending */

static int append(const network *n, size_t i, const conv_problem *problem)
{
    suite_problem item = n->list->items[i]; /* a copy: the list moves */
    const char *colon = strchr(n->list->items[i].layer, ':');
    item.problem = *problem;
    item.other_form = true;
    int length = snprintf(item.layer, sizeof item.layer, "%.*s%c%s%s", (int)(colon - n->list->items[i].layer),
                          n->list->items[i].layer, LAYER_FORM, conv_variant_name(n->form), colon);
    if (length >= (int)sizeof item.layer)
        return cli_error("layer '%.60s...': its name is too long for that of its other form",
                         n->list->items[i].layer);
    return suite_append(n->list, &item, &(suite_axes){0});
}

/* The other form of layer i; where that is a dense one in place of two layers, `taken` learns of the second. */
static int append_layer(const network *n, size_t i, bool *taken)
{
    conv_problem p = n->list->items[i].problem;
    const size_t reader = p.variant == CONV_DEPTHWISE ? reader_of(n, i) : n->end;
    if (reader < n->end) {
        taken[reader] = true;
        p.oc = n->list->items[reader].problem.oc;
    }
    other_form_of(&p, n->form);
    return append(n, i, &p);
}

static int append_network(const network *n)
{
    bool *taken = calloc(n->end, sizeof *taken);
    if (taken == NULL) return cli_error("no memory for %zu layers", n->end);
    int code = EXIT_FINE;
    for (size_t i = n->first; i < n->end && code == EXIT_FINE; i++)
        if (is_of(n, i) && !taken[i]) code = append_layer(n, i, taken);
    free(taken);
    return code;
}

int other_form_append(suite_list *list, other_form_choice of)
{
    const size_t given = list->count;
    int code = EXIT_FINE;
    bool any = false;
    for (size_t i = 0; of != OTHER_FORM_NO && i < given && code == EXIT_FINE; i++) {
        network n = {.list = list, .first = i, .end = given};
        if (!layer_in_network(list->items[i].layer) || strchr(list->items[i].layer, LAYER_FORM) != NULL)
            continue;
        if (of == OTHER_FORM_BY_FILE && !list->items[i].wants_other_form) continue;
        if (is_seen(n) || !find_form(&n)) continue;
        any = true;
        code = append_network(&n);
    }
    if (code == EXIT_FINE && of == OTHER_FORM_YES && !any)
        return cli_error(
            "--other-form=yes: no problem is the layer n\"NETWORK:LAYER\" of a network that has one");
    return code;
}
