#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/strategy.h"

conv_context test_context(int threads)
{
    return (conv_context){.threads = threads, .l1d = 32 << 10, .l2 = 256 << 10, .l3 = 1 << 20};
}

conv_context test_far_context(int threads)
{
    return (conv_context){.threads = threads, .l1d = 2 << 10, .l2 = 8 << 10, .l3 = 1 << 10};
}

conv_context test_wide_context(int threads)
{
    return (conv_context){.threads = threads, .l1d = 32 << 10, .l2 = 16 << 20, .l3 = 16 << 20};
}

conv_problem test_problem(const char *text, conv_layout layout, bool bias, conv_post_op post_op)
{
    conv_problem p;
    conv_error err = {""};
    if (problem_parse(text, &p, NULL, &err) != CONV_OK) fail_msg("%s: %s", text, err.text);
    p.layout = layout;
    p.bias = bias;
    p.post_op = post_op;
    return p;
}

char *test_describe(const conv_problem *p, conv_pass pass, char *text, size_t size)
{
    char problem[PROBLEM_STRING_MAX];
    snprintf(text, size, "%s:%s --pass %s --layout %s%s%s%s", conv_variant_name(p->variant),
             problem_format(p, problem), conv_pass_name(pass), conv_layout_name(p->layout),
             p->bias ? " --bias" : "", p->post_op != CONV_POST_NONE ? " --" : "",
             conv_post_op_word(p->post_op));
    return text;
}

outcome *outcomes_create(size_t *count)
{
    const conv_entry *entries = conv_entries(count);
    outcome *all = calloc(*count, sizeof *all);
    if (all == NULL) abort();
    for (size_t i = 0; i < *count; i++) all[i].entry = &entries[i];
    return all;
}

static void note_refusal(outcome *o, const char *reason)
{
    o->refused++;
    for (int i = 0; i < OUTCOME_REASONS; i++) {
        if (o->reasons[i].text == NULL) o->reasons[i].text = strdup(reason);
        if (o->reasons[i].text != NULL && strcmp(o->reasons[i].text, reason) == 0) {
            o->reasons[i].count++;
            return;
        }
    }
}

static void note_failure(outcome *o, const conv_problem *p, conv_pass pass, const verify_options *options,
                         const conv_context *ctx, const char *what)
{
    enum { SHOWN = 3 };
    char text[PROBLEM_STRING_MAX + 128];
    conv_candidates candidates;
    if (o->failed++ >= SHOWN) return;
    conv_strategies(o->entry->impl, p, pass, ctx, &candidates);
    if (ctx->told)
        print_message("%s told: %s\n", o->entry->name,
                      strategy_text(candidates.choices, &ctx->strategy, text, sizeof text));
    print_message("%s: %s\n    sepbench verify --impl %s --threads %d %s   (%s, seed %llu%s)\n", o->entry->name,
                  what, o->entry->name, ctx->threads, test_describe(p, pass, text, sizeof text),
                  options->kind == FILL_INTEGERS ? "integers" : "reals", (unsigned long long)options->seed,
                  options->accumulate ? ", accumulate" : "");
}

void outcome_check(outcome *o, verify_reference *reference, const conv_problem *p, conv_pass pass,
                   const verify_options *options, const conv_context *ctx)
{
    verify_result result;
    conv_error err = {""};
    const char *reason = conv_refuse(o->entry->impl, p, pass);
    if (reason != NULL) {
        note_refusal(o, reason);
        return;
    }
    conv_status status = verify_against(reference, o->entry->impl, ctx, &result, &err);
    if (status == CONV_REFUSED) { /* a library that says so only when asked to plan */
        note_refusal(o, err.text);
        return;
    }
    o->ran++;
    o->checked += result.checked;
    if (status != CONV_OK)
        note_failure(o, p, pass, options, ctx, err.text);
    else if (!result.ok)
        note_failure(o, p, pass, options, ctx, result.where);
    else if (result.checked == 0)
        note_failure(o, p, pass, options, ctx, "nothing was compared");
}

void outcomes_check(outcome *outcomes, size_t count, const conv_problem *p, conv_pass pass,
                    const verify_options *options, const conv_context *ctx)
{
    verify_reference *reference = NULL;
    conv_error err;
    char text[PROBLEM_STRING_MAX + 128];
    if (verify_prepare(p, pass, options, &reference, &err) != CONV_OK) {
        fprintf(stderr, "%s: %s\n", test_describe(p, pass, text, sizeof text), err.text);
        abort();
    }
    for (size_t i = 0; i < count; i++)
        if (outcomes[i].entry->variant == p->variant && outcomes[i].entry->impl != NULL)
            outcome_check(&outcomes[i], reference, p, pass, options, ctx);
    verify_release(reference);
}

static void test_outcome(void **state)
{
    const outcome *o = *state;
    if (o->failed > 0) fail_msg("%lld of %lld checks failed", (long long)o->failed, (long long)o->ran);
    if (o->ran == 0) {
        print_message("%s: nothing ran: %s\n", o->entry->name,
                      o->entry->impl == NULL ? o->entry->absent : "refused");
        /* A peer may refuse a whole machine or an ISA cap (its reasons are printed); ours may not. */
        if (o->entry->impl != NULL && o->must_run && !o->entry->impl->peer)
            fail_msg("every problem was refused");
        skip();
    }
}

/* One line per reason: how often, and whose it is. */
static void print_refusals(const outcome *o, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int r = 0; r < OUTCOME_REASONS && o[i].reasons[r].text != NULL; r++) {
            char names[256] = "";
            const char *text = o[i].reasons[r].text, *last = "";
            int64_t times = 0;
            bool told = false;
            for (size_t j = 0; j < count; j++)
                for (int q = 0; q < OUTCOME_REASONS && o[j].reasons[q].text != NULL; q++) {
                    if (strcmp(o[j].reasons[q].text, text) != 0) continue;
                    told = told || j < i;
                    times += o[j].reasons[q].count;
                    if (strcmp(last, o[j].entry->name) != 0)
                        snprintf(names + strlen(names), sizeof names - strlen(names), " %s", o[j].entry->name);
                    last = o[j].entry->name;
                }
            if (!told) print_message("# refused %lld times: %s (%s)\n", (long long)times, text, names + 1);
        }
}

int outcomes_report(const char *group, outcome *outcomes, size_t count, bool must_run)
{
    struct CMUnitTest *tests = calloc(count, sizeof *tests);
    char(*names)[64] = calloc(count, sizeof *names);
    int64_t ran = 0, checked = 0;
    if (tests == NULL || names == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%s %s", outcomes[i].entry->name,
                 conv_variant_name(outcomes[i].entry->variant));
        tests[i] = (struct CMUnitTest){names[i], test_outcome, NULL, NULL, &outcomes[i]};
        outcomes[i].must_run = must_run;
        ran += outcomes[i].ran;
        checked += outcomes[i].checked;
    }
    int failed = _cmocka_run_group_tests(group, tests, count, NULL, NULL);
    print_refusals(outcomes, count);
    print_message("# %s: %lld runs, %lld elements compared\n", group, (long long)ran, (long long)checked);
    for (size_t i = 0; i < count; i++)
        for (int j = 0; j < OUTCOME_REASONS; j++) free((char *)(uintptr_t)outcomes[i].reasons[j].text);
    free(names);
    free(tests);
    free(outcomes);
    return failed != 0 || ran == 0;
}
