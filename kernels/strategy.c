#include "strategy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan.h"

/* A driver may keep the likeliest of many: which those are, nominal ceilings say, so that what was found to be
 * fastest is a candidate on another day, too. */
void strategy_list(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                   conv_candidates *candidates)
{
    *candidates = (conv_candidates){0};
    if (impl->strategies == NULL) return;
    conv_context nominal = *ctx;
    nominal.ceilings = NULL;
    impl->strategies(impl, p, pass, &nominal, candidates);
    if (ctx->ceilings == NULL || candidates->count < 2) return;
    conv_candidates all = *candidates, ranked = {0};
    impl->strategies(impl, p, pass, ctx, &ranked);
    for (int i = 0; i < all.count; i++) all.model_ns[i] = INFINITY;
    candidates->count = 0;
    for (int r = 0; r < ranked.count; r++)
        for (int i = 0; i < all.count; i++)
            if (strategy_same(all.choices, &all.list[i], &ranked.list[r])) all.model_ns[i] = ranked.model_ns[r];
    for (int i = 0; i < all.count; i++)
        strategy_add(candidates, &all.list[i], sizeof all.list[i], all.model_ns[i]);
}

conv_context strategy_context(const conv_impl *impl, const conv_problem *p, conv_pass part,
                              const conv_context *ctx)
{
    conv_context own = *ctx;
    if (!own.told && own.book != NULL)
        own.told = own.book->find(own.book, impl, p, part, own.threads, &own.strategy);
    if (own.told) return own;
    conv_candidates candidates;
    strategy_list(impl, p, part, ctx, &candidates);
    own.told = candidates.count > 0;
    if (own.told) own.strategy = candidates.list[0];
    return own;
}

bool strategy_same(const conv_choice *choices, const conv_strategy *a, const conv_strategy *b)
{
    for (int i = 0; choices[i].name != NULL; i++)
        if (a->value[i] != b->value[i]) return false;
    return true;
}

void strategy_add(conv_candidates *candidates, const void *own, size_t bytes, double model_ns)
{
    conv_candidates *c = candidates;
    conv_strategy added = {{0}};
    memcpy(added.value, own, bytes);
    for (int i = 0; i < c->count; i++)
        if (strategy_same(c->choices, &c->list[i], &added)) return;
    if (c->count == CONV_STRATEGIES && c->model_ns[c->count - 1] <= model_ns) return;
    int at = c->count < CONV_STRATEGIES ? c->count++ : CONV_STRATEGIES - 1;
    for (; at > 0 && c->model_ns[at - 1] > model_ns; at--) {
        c->list[at] = c->list[at - 1];
        c->model_ns[at] = c->model_ns[at - 1];
    }
    c->list[at] = added;
    c->model_ns[at] = model_ns;
}

char *strategy_text(const conv_choice *choices, const conv_strategy *s, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (int i = 0; choices[i].name != NULL && length < size; i++) {
        const char *comma = length > 0 ? ", " : "";
        if (!choices[i].flag)
            length += (size_t)snprintf(text + length, size - length, "%s%s %lld", comma, choices[i].name,
                                       (long long)s->value[i]);
        else if (s->value[i] != 0)
            length += (size_t)snprintf(text + length, size - length, "%s%s", comma, choices[i].name);
    }
    return text;
}

void strategy_note(char note[CONV_NOTE], const conv_choice *choices, const void *own, size_t bytes)
{
    conv_strategy s = {{0}};
    char text[CONV_STRATEGY_TEXT];
    memcpy(s.value, own, bytes);
    conv_note(note, true, strategy_text(choices, &s, text, sizeof text));
}
