/* Whatever strategy a plan is told, the result is right: every candidate of every implementation, told at
 * shapes at the edges, with caches of three sizes, on one thread and on three. Also the candidates of a larger
 * batch, whose sizes a plan cuts to the problem's, and values that nobody proposes. And nothing is a choice that
 * is always the same. test_determinism.c looks at the bits. */
#include "../kernels/strategy.h"
#include "support.h"

static const char *const shapes[] = {
    "dense:mb1ic1ih5oc1kh3ph1",
    "dense:mb2ic3ih11oc17kh3ph1",
    "dense:mb3ic8ih6oc32kh3ph1",
    "dense:mb1ic17ih9oc33kh3ph1",
    "dense:mb2ic32ih10oc96kh3ph1",
    "dense:mb1ic130ih7oc40kh3ph1",
    "dense:mb1ic24ih3oc728kh3ph1",
    "dense:mb1ic256ih4oc32kh3ph1",
    "dense:mb3ic20ih13iw10oc48kh3kw5sh2sw1ph1pw2",
    "dense:mb2ic16ih17oc18kh3sh2ph1",
    "dense:mb1ic24ih13oc16kh3dh1ph2",
    "dense:mb2ic6ih16oh8oc18kh3sh2",
    "dense:mb1ic16ih9oh9oc64kh4ph1",
    "dense:mb1ic16ih3oc20kh7ph3",
    "dense:mb12ic16ih12oc32kh3ph1",
    "dense:g2mb2ic34ih7oc66kh3ph1",
    "dense:g4mb1ic32ih9oc64kh3ph1sh2",
    "dense:mb2ic17ih5oc96kh1",
    "dense:mb1ic7iw33oc20kw3sw2dw1",
    "dense:mb1ic16iw900oc40kw3pw1",
    "dense:mb3ic64iw70ow70oc96kw4pw3",
    "dense:mb2ic24id4ih5iw6oc40kd3kh3kw3pd1ph1pw1",
    "dense:g2mb1ic34id9ih8iw7oc36kd3kh2kw3sd2sh3sw1dd0dh1pd1ph0pw1",
    "dense:mb1ic130id4ih4iw4oc33kd3kh3kw3pd1ph1pw1",
    "pointwise:mb1ic1ih3oc1kh1",
    "pointwise:mb2ic3ih9oc17kh1",
    "pointwise:mb3ic17ih7oc3kh1",
    "pointwise:mb1ic32ih14oc96kh1",
    "pointwise:mb5ic96ih7oc130kh1",
    "pointwise:mb1ic130ih9oc64kh1",
    "pointwise:mb1ic728ih5oc96kh1",
    "pointwise:mb1ic48ih5oc728kh1",
    "pointwise:mb1ic1024ih4oc48kh1",
    "pointwise:mb1ic1ih8oc2000kh1",
    "pointwise:mb2ic24ih15oc32kh1sh2",
    "pointwise:mb1ic40ih9oh4oc48kh1ph0",
    "pointwise:mb1ic24ih6oh4oc64kh1sh2ph1",
    "pointwise:mb2ic64iw37oc48kw1",
    "pointwise:mb7ic64ih27oc32kh1",
    "pointwise:mb1ic40iw700oc48kw1",
    "pointwise:mb2ic48id5ih6iw7oc130kd1kh1kw1",
    "pointwise:mb1ic40id5ih6iw7oc48kd1kh1kw1sd2sh1sw3pd1ph0pw2",
    "depthwise:mb1ic3ih7oc3kh3ph1",
    "depthwise:mb2ic17ih9oc17kh3ph1",
    "depthwise:mb3ic32ih14oc32kh3ph1",
    "depthwise:mb1ic130ih9oc130kh3ph1",
    "depthwise:mb1ic728ih5oc728kh3ph1",
    "depthwise:mb1ic96ih12oc96kh5ph2sh2",
    "depthwise:mb2ic40ih13oc40kh3dh1ph2",
    "depthwise:mb2ic16ih9oc48kh3ph1",
    "depthwise:mb1ic1024ih8oc1024kh3ph1",
    "separable:mb1ic3ih15oc17kh3ph1",
    "separable:mb2ic33ih9oc96kh3ph1",
    "separable:mb1ic130ih7oc32kh3sh2ph1",
    "separable:mb9ic32ih9oc40kh3ph1",
    "separable:mb2ic50ih9oc40kh3ph1dm3",
    "separable:mb2ic21iw300oc33kw3sw2pw1dm4",
};

static conv_context (*const caches[])(int threads) = {test_context, test_far_context, test_wide_context};
static const int thread_counts[] = {1, 3};
enum {
    SHAPES = sizeof shapes / sizeof *shapes,
    CACHES = sizeof caches / sizeof *caches,
    THREADS = sizeof thread_counts / sizeof *thread_counts,
    BATCHES = 4,
    MOST_TOLD = 2 * CACHES * CONV_STRATEGIES + 3
};

/* What one implementation is told on so many threads: each strategy once. */
typedef struct {
    const conv_choice *choices;
    int count, proposed; /* proposed: those of them that are candidates, which come first */
    struct {
        conv_strategy strategy;
        conv_context ctx;
    } list[MOST_TOLD];
} orders;

static void add(orders *o, const conv_strategy *s, const conv_context *ctx)
{
    for (int i = 0; i < o->count; i++)
        if (strategy_same(o->choices, &o->list[i].strategy, s)) return;
    o->list[o->count].strategy = *s;
    o->list[o->count++].ctx = *ctx;
}

/* The candidates with all caches, of this batch and a larger one; then nothing but zeros, ones, and sizes
 * without end, where there is a choice at all. */
static orders orders_of(const conv_impl *impl, const conv_problem *p, conv_pass pass, int threads)
{
    orders o = {0};
    conv_candidates candidates;
    for (int i = 0; i < 2 * CACHES; i++) {
        conv_context ctx = caches[i / 2](threads);
        conv_problem batch = *p;
        batch.mb *= i % 2 == 0 ? 1 : BATCHES;
        conv_strategies(impl, &batch, pass, &ctx, &candidates);
        o.choices = candidates.choices;
        for (int c = 0; c < candidates.count; c++) add(&o, &candidates.list[c], &ctx);
    }
    o.proposed = o.count;
    static const int64_t values[] = {0, 1, INT64_C(1) << 40};
    for (int v = 0; v < 3 && o.count > 0; v++) {
        conv_context ctx = test_context(threads);
        conv_strategy s;
        for (int i = 0; i < CONV_CHOICES; i++) s.value[i] = values[v];
        for (int i = 0; o.choices[i].name != NULL; i++)
            if (o.choices[i].flag && v == 2) s.value[i] = 1;
        add(&o, &s, &ctx);
    }
    return o;
}

/* ---- choices that are none: of a driver, whoever uses it */

typedef struct {
    const conv_choice *choices;
    const char *user; /* one of them */
    int64_t least[CONV_CHOICES], most[CONV_CHOICES];
} spread;
static spread seen[64];

static spread *spread_of(const conv_choice *choices, const char *user)
{
    size_t i = 0;
    while (i < sizeof seen / sizeof *seen && seen[i].choices != choices && seen[i].choices != NULL) i++;
    assert_true(i < sizeof seen / sizeof *seen);
    if (seen[i].choices == NULL) {
        seen[i] = (spread){.choices = choices, .user = user};
        for (int c = 0; c < CONV_CHOICES; c++) {
            seen[i].least[c] = INT64_MAX;
            seen[i].most[c] = INT64_MIN;
        }
    }
    return &seen[i];
}

static void note_candidates(const orders *o, const char *user)
{
    if (o->proposed == 0) return;
    spread *s = spread_of(o->choices, user);
    for (int i = 0; i < o->proposed; i++)
        for (int c = 0; o->choices[c].name != NULL; c++) {
            int64_t value = o->list[i].strategy.value[c];
            if (value < s->least[c]) s->least[c] = value;
            if (value > s->most[c]) s->most[c] = value;
        }
}

static int report_choices(void)
{
    int dead = 0;
    for (const spread *s = seen; s->choices != NULL; s++)
        for (int c = 0; s->choices[c].name != NULL; c++) {
            if (s->least[c] != s->most[c]) continue;
            print_message("%s: '%s' is always %lld: no choice\n", s->user, s->choices[c].name,
                          (long long)s->least[c]);
            dead++;
        }
    return dead;
}

static void check(outcome *o, verify_reference *reference, const conv_problem *p, conv_pass pass,
                  const verify_options *options)
{
    for (int t = 0; t < THREADS; t++) {
        orders all = orders_of(o->entry->impl, p, pass, thread_counts[t]);
        note_candidates(&all, o->entry->name);
        for (int i = 0; i < all.count; i++) {
            all.list[i].ctx.told = true;
            all.list[i].ctx.strategy = all.list[i].strategy;
            outcome_check(o, reference, p, pass, options, &all.list[i].ctx);
        }
    }
}

/* Whole numbers, which exact implementations must add up bit for bit. */
static void check_shape(outcome *outcomes, size_t count, int shape, conv_pass pass)
{
    verify_reference *reference = NULL;
    conv_error err = {""};
    conv_problem p = test_problem(shapes[shape], shape % 5 == 4 ? CONV_NCHW : CONV_NHWC, shape % 2 == 0,
                                  (conv_post_op)(shape % CONV_POST_COUNT));
    verify_options options = {.kind = FILL_INTEGERS,
                              .seed = (uint64_t)shape + 1,
                              .accumulate = pass != CONV_FORWARD && shape % 4 > 1};
    if (p.variant == CONV_SEPARABLE && pass > CONV_BACKWARD) return;
    if (verify_prepare(&p, pass, &options, &reference, &err) != CONV_OK)
        fail_msg("%s: %s", shapes[shape], err.text);
    for (size_t i = 0; i < count; i++)
        if (outcomes[i].entry->variant == p.variant && conv_refuse(outcomes[i].entry->impl, &p, pass) == NULL)
            check(&outcomes[i], reference, &p, pass, &options);
    verify_release(reference);
}

/* Moves the entries that have strategies to the front; how many. */
static size_t keep_those_that_choose(outcome *outcomes, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (outcomes[i].entry->impl != NULL && outcomes[i].entry->impl->strategies != NULL)
            outcomes[kept++] = outcomes[i];
    return kept;
}

int main(void)
{
    size_t count;
    outcome *outcomes = outcomes_create(&count);
    count = keep_those_that_choose(outcomes, count);
    for (int s = 0; s < SHAPES; s += SANITIZED ? 4 : 1)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) check_shape(outcomes, count, s, (conv_pass)pass);
    int dead = SANITIZED ? 0 : report_choices();
    return outcomes_report("strategies", outcomes, count, !SANITIZED) != 0 || dead > 0;
}
