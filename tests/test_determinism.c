/* The same problem on the same instruction set gives the same bits on 1, 2, 3 and 5 threads, and twice in a
 * row: every implementation of our own, every pass, at shapes with several chunks, tiles and remainders to
 * divide, with small caches and with hardly any, by the cost model's picks and by every strategy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/measure/job.h"
#include "support.h"

static const char *const shapes[] = {
    "dense:mb1ic16ih28oc24kh3ph1",
    "dense:mb3ic17ih13oc33kh3sh2ph1",
    "dense:mb2ic64ih7oc96kh3ph1",
    "dense:mb1ic3ih33oc20kh5ph2",
    "dense:g2mb2ic20ih9oc12kh3dh1ph2",
    "dense:mb2ic64ih11iw1oc11oh4kh3kw3sh3pw2dw1",
    "dense:mb5ic8ih6oc300kh3ph1",
    "dense:mb86ic16ih5oc18kh3ph1",
    "depthwise:mb1ic40ih28oc40kh3ph1",
    "depthwise:mb2ic32ih14oc32kh3ph1",
    "depthwise:mb2ic1024ih7oc1024kh3ph1",
    "depthwise:mb3ic17ih15oc34kh5ph2",
    "depthwise:mb2ic96ih9oc96kh3sh2ph1",
    "depthwise:mb5ic3ih19oc3kh3ph1",
    "depthwise:mb4ic64ih28oc64kh3ph1",
    "pointwise:mb1ic64ih28oc48kh1",
    "pointwise:mb3ic100ih9oc130kh1",
    "pointwise:mb2ic20ih15oc24kh1sh2",
    "pointwise:mb6ic70ih27oc72kh1",
    "pointwise:mb6ic96ih27oc96kh1",
    "pointwise:mb1ic300ih5oc500kh1",
    "separable:mb1ic32ih28oc40kh3ph1",
    "separable:mb3ic20ih15oc36kh3sh2ph1",
    "separable:mb2ic96ih9oc130kh3ph1",
    "separable:mb2ic9ih13oc20kh5ph2dm2",
    "separable:mb1ic70ih14oc40kh3ph1dm3",
    "separable:mb1ic33iw900ow900oc24kw4pw3dm4",
    "separable:mb2ic5id5ih9iw6oc20kd3kh2kw3sd2sh1sw2pd1ph0pw1dm8",
    "separable:mb1ic20ih14oc24kh3ph1",
    "depthwise:mb4ic192ih28oc192kh3ph1",
    "dense:mb1ic16iw2000oc24kw3pw1",
    "dense:mb2ic33iw200ow200oc40kw4pw3",
    "dense:mb1ic20id9oc24kd3pd1",
    "dense:g2mb2ic20id5ih9iw6oc36kd3kh2kw3sd2sh1sw2pd1ph0pw1",
    "depthwise:mb1ic40id9oc40kd3pd1",
    "depthwise:mb1ic20iw2000oc20kw4pw3",
    "pointwise:mb1ic70iw900oc40kw1",
    "pointwise:mb2ic40id5ih6iw7oc70kd1kh1kw1",
    "separable:mb2ic20id7oc36kd3pd1",
    "separable:mb1ic40iw300ow300oc24kw4pw3",
};

static const int thread_counts[] = {1, 5, 2, 3, 2};
/* Sanitizers look at memory, which one number of threads and another show. */
enum { RUNS = SANITIZED ? 2 : sizeof thread_counts / sizeof *thread_counts };

/* The outputs of a pass and their sizes in bytes. */
static int list_outputs(const conv_problem *p, const conv_tensors *t, conv_pass pass, float **data,
                        size_t *bytes)
{
    conv_sizes n = conv_problem_sizes(p);
    float *const all[] = {pass == CONV_FORWARD ? t->dst : NULL, t->diff_src, t->diff_weights, t->diff_pointwise,
                          t->diff_bias};
    const int64_t sizes[] = {n.dst, n.src, n.weights, n.pointwise, n.bias};
    int count = 0;
    for (int i = 0; i < 5; i++)
        if (all[i] != NULL) {
            data[count] = all[i];
            bytes[count++] = (size_t)sizes[i] * sizeof(float);
        }
    return count;
}

static void run_once(const conv_impl *impl, const conv_problem *p, conv_pass pass, conv_context ctx,
                     conv_tensors *t)
{
    conv_job job;
    conv_error err = {""};
    conv_args args = conv_tensors_args(t);
    conv_tensors_poison(p, pass, t);
    conv_status status = job_plan(&job, impl, p, pass, &ctx, &err);
    if (status == CONV_OK) status = job_ready(&job, &args, NULL, &err);
    if (status == CONV_OK) status = job_run(&job, &err);
    if (status != CONV_OK) fail_msg("%s: %s", impl->name, err.text);
    job_finish(&job);
}

/* ctx: with the caches and, if it is told one, the strategy of every run. */
static void check_case(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                       int *ran, int *differ)
{
    conv_tensors t;
    float *outputs[5];
    void *first[5];
    size_t bytes[5];
    char text[PROBLEM_STRING_MAX + 128];
    if (conv_refuse(impl, p, pass) != NULL) return;
    assert_true(conv_tensors_create(p, pass, FILL_REALS, 7, &t));
    int count = list_outputs(p, &t, pass, outputs, bytes);
    for (int i = 0; i < count; i++) assert_non_null(first[i] = malloc(bytes[i]));
    for (int run = 0; run < RUNS; run++) {
        conv_context own = *ctx;
        own.threads = thread_counts[run];
        run_once(impl, p, pass, own, &t);
        for (int i = 0; i < count; i++) {
            if (run == 0) memcpy(first[i], outputs[i], bytes[i]);
            if (memcmp(first[i], outputs[i], bytes[i]) == 0) continue;
            print_message("%s on %d threads differs from 1%s, L2 of %zu bytes: %s\n", impl->name, own.threads,
                          ctx->told ? ", told a strategy" : "", ctx->l2,
                          test_describe(p, pass, text, sizeof text));
            ++*differ;
            break;
        }
    }
    ++*ran;
    for (int i = 0; i < count; i++) free(first[i]);
    conv_tensors_destroy(&t);
}

/* The cost model's pick for each number of threads, and in one layout every strategy, the same for all. */
static void check_strategies(const conv_impl *impl, const conv_problem *p, conv_pass pass, conv_context ctx,
                             int *ran, int *differ)
{
    conv_candidates candidates;
    check_case(impl, p, pass, &ctx, ran, differ);
    if (SANITIZED || p->layout != CONV_NHWC || conv_refuse(impl, p, pass) != NULL) return;
    conv_strategies(impl, p, pass, &ctx, &candidates);
    ctx.told = true;
    for (int i = 0; i < candidates.count; i++) {
        ctx.strategy = candidates.list[i];
        check_case(impl, p, pass, &ctx, ran, differ);
    }
}

static void test_entry(void **state)
{
    const conv_entry *entry = *state;
    int ran = 0, differ = 0;
    if (entry->impl == NULL || entry->impl->peer) {
        print_message("%s %s: %s\n", entry->name, conv_variant_name(entry->variant),
                      entry->impl == NULL ? entry->absent : "another project's: makes no such promise");
        skip();
    }
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int layout = 0; layout < CONV_LAYOUT_COUNT; layout++) {
            conv_problem p =
                test_problem(shapes[s], (conv_layout)layout, true, (conv_post_op)(s % CONV_POST_COUNT));
            if (p.variant != entry->variant) continue;
            for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
                check_strategies(entry->impl, &p, (conv_pass)pass, test_context(1), &ran, &differ);
                if (!SANITIZED)
                    check_strategies(entry->impl, &p, (conv_pass)pass, test_far_context(1), &ran, &differ);
            }
        }
    assert_true(ran > 0);
    assert_int_equal(differ, 0);
}

int main(void)
{
    size_t count;
    const conv_entry *entries = conv_entries(&count);
    struct CMUnitTest *tests = calloc(count, sizeof *tests);
    char(*names)[64] = calloc(count, sizeof *names);
    if (tests == NULL || names == NULL) return 1;
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%s %s", entries[i].name, conv_variant_name(entries[i].variant));
        tests[i] = (struct CMUnitTest){names[i], test_entry, NULL, NULL, (void *)(uintptr_t)&entries[i]};
    }
    int failed = _cmocka_run_group_tests("determinism", tests, count, NULL, NULL);
    free(tests);
    free(names);
    return failed != 0;
}
