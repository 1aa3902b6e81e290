/* What training would be on more ranks: messages fitted, a batch's parts, and the page of such a run. Runs
 * $SEPBENCH. What ranks measure is in test_ranks_mpi.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../bench/scaling.h"
#include "../harness/train/history.h"
#include "folder.h"
#include "train_support.h"

static char program[4096];

static int set_up(void **state)
{
    const char *given = getenv("SEPBENCH");
    if (realpath(given != NULL ? given : "build/sepbench", program) == NULL) return -1;
    return enter_folder(state);
}

/* ---- messages */

static void expect_near(double value, double want)
{
    if (!(fabs(value - want) <= 1e-9 * want)) fail_msg("%g instead of %g", value, want);
}

/* Of messages that take a + b bytes, an all-gather's over 4 ranks. */
static scaling_messages made_messages(double a, double b)
{
    scaling_messages m = {.ranks = 4};
    for (int i = 0; i < SCALING_SIZES; i++) m.gather[i] = 3 * a + 0.75 * b * (double)scaling_bytes(i);
    return m;
}

static void messages_are_fitted(void **state)
{
    scaling_messages m = made_messages(2e-6, 1e-10);
    scaling_fit(&m);
    expect_near(m.alpha, 2e-6);
    expect_near(m.beta, 1e-10);
    expect_near(scaling_gather_s(&m, 3), m.gather[3]);
}

/* Where one of the two comes out below 0 it is 0, and the other is the best without it. */
static void neither_is_below_0(void **state)
{
    scaling_messages m = made_messages(2e-6, 0);
    m.gather[0] *= 1.01;
    scaling_fit(&m);
    assert_true(m.beta == 0);
    assert_true(m.alpha > 2e-6 && m.alpha < 2.02e-6);
    m = made_messages(0, 1e-10);
    m.gather[0] *= 0.5;
    scaling_fit(&m);
    assert_true(m.alpha == 0);
    assert_true(m.beta > 0.7e-10 && m.beta < 1e-10);
}

/* ---- a rank's part */

static void parts_are_whole_chunks(void **state)
{
    model *m = test_network("conv");
    const net_options options = {.threads = 1, .batch = 250, .slice = 16, .impls = "tiled"};
    net *n = test_net_with(m, &options);
    net_share one = net_share_of(n, 250, 1), two = net_share_of(n, 250, 2), three = net_share_of(n, 250, 3),
              most = net_share_of(n, 250, 100), more = net_share_of(n, 250, 200);
    assert_int_equal(one.working, 1);
    assert_int_equal(one.images, 250);
    assert_true(one.hidden_bytes == 0 && one.waited_bytes == 0);
    assert_int_equal(two.images, 125);
    assert_int_equal(most.working, 16);
    assert_int_equal(most.images, 16);
    assert_int_equal(more.working, 16);
    assert_int_equal(more.images, 16);
    /* Of 16 chunks two ranks have a subtree each, three 2, 3 and 2: 4 + 2, 2 + 2 + 1 and 1 + 4 chunks. */
    expect_near(three.waited_bytes / two.waited_bytes, (7 - 1) / 3.0 * 2);
    net_destroy(n);
    free(m);
}

/* A part by itself has the slices that it has in the whole batch. */
static void slices_of_a_part_are_the_batchs(void **state)
{
    model *m = test_network("conv");
    net_options options = {.threads = 1, .batch = 250, .slice = 16, .impls = "tiled"};
    net *n = test_net_with(m, &options);
    assert_int_equal(net_share_of(n, 32, 100).working, 8);
    options.part = true;
    net *part = test_net_with(m, &options);
    assert_int_equal(net_share_of(part, 32, 100).working, 2);
    net_destroy(part);
    net_destroy(n);
    free(m);
}

/* naive does not promise a part of a dense layer the bits of the whole: each rank computes it whole, and waits. */
static void whole_layers_are_told(void **state)
{
    static const char *const impls[] = {"tiled", "naive"};
    bool whole[2] = {false};
    net_share share[2];
    model *m = test_network("conv");
    for (int k = 0; k < 2; k++) {
        net_profile_row rows[64];
        double wall;
        net *n = test_net(m, impls[k], 64, 1);
        int count = net_profile(n, rows, 64, &wall);
        for (int i = 0; i < count; i++) whole[k] = whole[k] || rows[i].whole;
        share[k] = net_share_of(n, 64, 2);
        net_destroy(n);
    }
    free(m);
    assert_false(whole[0]);
    assert_true(whole[1]);
    assert_true(share[1].waited > share[0].waited && share[1].hidden < share[0].hidden);
}

/* ---- the page */

static const char RUN[] = "{\"schema\": 1, \"kind\": \"training\", \"machine\": {\"cpu\": \"Example\"}, "
                          "\"options\": {\"ranks\": 2}, \"models\": []}";

static const char ROWS[] =
    SCALING_COLUMNS_TEXT "\nconv,1,250,12,0,0,12,2.4,1,1,,,,,,2,1,250,measured\n"
                         "conv,2,125,6,0.1,0.2,6.2,1.24,1.935,2,6.6,6.5,6.7,2.5,0.3,2,1,250,measured\n"
                         "conv,16,16,1,0.3,0.1,1.1,0.22,10.9,16,,,,,,2,1,250,measured\n"
                         "conv,32,16,1,1.5,0.2,1.7,0.34,7.06,16,,,,,,2,1,250,measured\n";

static const char MESSAGES[] = SCALING_MESSAGES_COLUMNS_TEXT "\n2,1024,0.7,1.3,1.4,1.4,0,Open MPI v4.1.4\n";

static void put_run(const char *rows)
{
    mkdir("run", 0777);
    write_text("run/run.json", RUN);
    write_text("run/scaling.csv", rows);
}

static int report(char *output, size_t size)
{
    return run_shell(output, size, "%s report run --out page 2>&1", program);
}

static void expect_on_page(const char *words)
{
    static char page[1 << 19];
    read_text("page/index.html", page, sizeof page);
    if (strstr(page, words) == NULL) fail_msg("not on the page: %s", words);
}

static void page_has_table_and_pictures(void **state)
{
    char output[8192];
    put_run(ROWS);
    write_text("run/scaling_messages.csv", MESSAGES);
    int code = report(output, sizeof output);
    if (code != 0 || strstr(output, "Predicted: on 16 ranks an epoch of the conv network takes 220 ms, on one "
                                    "2.40 s.") == NULL)
        fail_msg("exit %d: %s", code, output);
    expect_on_page(
        "predicted fastest on 16, an epoch in 220 ms, 10.9 times as fast as in 2.40 s on one; more than "
        "16 ranks have no images of a batch of 250.");
    expect_on_page(
        "Checked on 2 ranks: a step took 6.60 ms, the model says 6.20 ms, 6% less; beyond them it is "
        "not checked");
    expect_on_page("<td>16<small>on 16 ranks</small></td>");
    expect_on_page("<td>41%<span"); /* (1.7 - 1) / 1.7 */
    expect_on_page("&beta; = 0 ns a byte");
    expect_on_page("ranks-speedup.svg");
    expect_on_page("ranks-epoch.svg");
    expect_on_page("ranks-messages.svg");
    assert_int_equal(access("page/ranks-speedup.png", R_OK), 0);
    run_shell(output, sizeof output, "cat page/ranks-speedup.svg");
    assert_non_null(strstr(output, "ideal"));
    unlink("run/scaling_messages.csv");
}

/* Without messages there is no picture of them, and nothing is called checked. */
static void without_messages_it_says_so(void **state)
{
    char output[8192];
    static const char *const told[] = {"none", "shared"};
    static const char *const words[] = {"unchecked: there was one rank",
                                        "unchecked: the 4 ranks that there were"};
    for (int i = 0; i < 2; i++) {
        char rows[1024];
        snprintf(
            rows, sizeof rows,
            "%s\nconv,1,250,12,0,0,12,2.4,1,1,,,,,,4,1,250,%s\nconv,2,125,6,0,0,6,1.2,2,2,,,,,,4,1,250,%s\n",
            SCALING_COLUMNS_TEXT, told[i], told[i]);
        put_run(rows);
        run_shell(output, sizeof output, "rm -rf page");
        assert_int_equal(report(output, sizeof output), 0);
        expect_on_page(words[i]);
        assert_int_not_equal(access("page/ranks-messages.svg", F_OK), 0);
    }
}

static void bad_files_are_a_line(void **state)
{
    static const struct {
        const char *row, *words;
    } cases[] = {
        {"conv,2,125,6,0,0,6,1.2,2,2,,,,,,1,1,250,none",
         "scaling.csv:2: ranks is '2': of a model, 1 comes first"},
        {"conv,1,250,6,0,0,0,1.2,2,2,,,,,,1,1,250,none", "scaling.csv:2: ranks is '1'"},
        {"conv,1,250,-6,0,0,6,1.2,2,2,,,,,,1,1,250,none", "scaling.csv:2: compute_ms is '-6'"},
        {"conv,1,250,,0,0,6,1.2,2,2,,,,,,1,1,250,none", "scaling.csv:2: compute_ms is ''"},
        {"conv,1,250,6,0,0,6,1.2,2,1,,,,,,1,1,250,often", "scaling.csv:2: messages is 'often'"},
        {"conv,1,250,6,0,0,6,1.2,2,1,nan,,,,,1,1,250,none", "scaling.csv:2: measured_ms is 'nan'"},
        {"../x,1,250,6,0,0,6,1.2,2,1,,,,,,1,1,250,none", "scaling.csv:2: model is '../x'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rows[1024], output[4096];
        snprintf(rows, sizeof rows, "%s\n%s\n", SCALING_COLUMNS_TEXT, cases[i].row);
        put_run(rows);
        int code = report(output, sizeof output);
        if (code != 2 || strstr(output, cases[i].words) == NULL)
            fail_msg("%s: exit %d: %s", cases[i].row, code, output);
    }
}

/* Waited for and hidden, of a training over ranks. */
static void page_has_the_overlap(void **state)
{
    char output[8192];
    put_run(SCALING_COLUMNS_TEXT "\n");
    unlink("run/scaling.csv");
    mkdir("run/conv", 0777);
    write_text("run/runs.csv", RUNS_COLUMNS_TEXT "\nconv,1,1,best,1,250,ok,2,0.03,0.992,2,0.03,5,9600,,,,\n");
    write_text("run/conv/profile.csv", PROFILE_COLUMNS_TEXT
               "\nconv2d,dense avx512,forward,6000000,60,2075000000,345\n"
               "communication,packing and waiting,forward,500000,5,,\n"
               "communication,packing and waiting,backward,500000,5,,\nresidual,waiting and "
               "bookkeeping,,3000000,30,,\nstep,whole,,10000000,100,,\n"
               "hidden,messages under way meanwhile,,3000000,30,,\n");
    assert_int_equal(report(output, sizeof output), 0);
    expect_on_page("Of its messages between ranks computing hides 75%");
    expect_on_page("<td>under way while something else is computed</td><td>3.00 ms<span");
    expect_on_page("<td>packed and waited for</td><td>1.00 ms<span");
    expect_on_page("batch 250, 2 ranks of 1 thread");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_fitted),         cmocka_unit_test(neither_is_below_0),
        cmocka_unit_test(parts_are_whole_chunks),      cmocka_unit_test(slices_of_a_part_are_the_batchs),
        cmocka_unit_test(whole_layers_are_told),       cmocka_unit_test(page_has_table_and_pictures),
        cmocka_unit_test(without_messages_it_says_so), cmocka_unit_test(bad_files_are_a_line),
        cmocka_unit_test(page_has_the_overlap),
    };
    return cmocka_run_group_tests_name("scaling", tests, set_up, leave_folder);
}
