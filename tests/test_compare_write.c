/* What a comparison says, to people and to machines: one made-up session with every verdict in it. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/compare/compare.h"
#include "../harness/record/csv.h"
#include "unit.h"

static const struct {
    const char *name;
    compare_verdict verdict;
    double ratio;
    const char *reason;
} table[] = {
    {"dense/forward/avx2/mb1ic32/nhwc/t2/warm", COMPARE_UNCHANGED, 1.001, ""},
    {"separable/forward/fused-avx512/mb1ic64ih28oc64kh3ph1/nhwc/t2/warm", COMPARE_REGRESSED, 1.102, ""},
    {"dense/forward/tiled/mb1ic64/nhwc/t2/warm", COMPARE_REGRESSED, 1.3, ""},
    {"dense/forward/im2col/mb1ic64/nhwc/t2/warm", COMPARE_FASTER, 0.8, ""},
    {"dense/forward/im2col/mb1ic65/nhwc/t2/warm", COMPARE_INCONCLUSIVE, 1.05, "not confirmed | slower"},
    {"dense/forward/im2col/mb1ic66/nhwc/t2/warm", COMPARE_NOT_COMPARED, NAN, "base does not have it"},
    {"dense/forward/im2col/mb1ic67/nhwc/t2/warm", COMPARE_INCONCLUSIVE, 1.0, "too noisy"},
};
enum { CASES = sizeof table / sizeof *table };

static compare_case cases[CASES];

static compare_result made_up(void)
{
    compare_result r = {.count = CASES,
                        .cases = cases,
                        .threads = 2,
                        .isa = "avx512",
                        .seconds = 211,
                        .samples = 4000,
                        .disturbed = 20,
                        .margin = 0.03,
                        .margin_why = "the floor",
                        .null_shift = 0.0012,
                        .null_spread = 0.008,
                        .control_drift = -0.003,
                        .base = {.commit = "0123456789abcdef"},
                        .head = {.commit = "fedcba9876543210", .dirty = true, .path = "build/sepbench"}};
    memset(cases, 0, sizeof cases);
    for (size_t i = 0; i < CASES; i++) {
        compare_case *c = &cases[i];
        strcpy(c->name, table[i].name);
        strcpy(c->reason, table[i].reason);
        c->verdict = table[i].verdict;
        c->ratio = table[i].ratio;
        c->low = c->ratio - 0.01;
        c->high = c->ratio + 0.012;
        c->catchable = 1.041;
        c->base_ns = c->head_ns = NAN;
        c->screen[0] = 0.125;
        c->screen_count = 1;
    }
    cases[4].flagged = true;
    return r;
}

static char *printed(const compare_result *r, char what)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    if (what == 't') compare_print(out, r, false);
    if (what == 'a') compare_print(out, r, true);
    if (what == 'm') compare_markdown(out, r);
    if (what == 'g') compare_annotations(out, r);
    fclose(out);
    return text;
}

static void holds(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL) fail_msg("no \"%s\" in:\n%s", wanted, text);
}

static void test_terminal(void **state)
{
    compare_result r = made_up();
    char *text = printed(&r, 't'), *line = text;
    holds(text, "head fedcba987654+changes against base 0123456789ab: 7 cases, 2 threads, avx512,\n211 s\n");
    holds(text, "margin 3.0%: the floor\nbase against base: shift +0.1%, spread 0.8%; control drift -0.3%\n"
                "4000 samples, 0.5% of them disturbed by another program\n");
    holds(text, "case; all nhwc/t2/warm\n");
    holds(text, "REGRESSED     +30.0%  +29.0 .. +31.2%    4.1% dense/forward/tiled/mb1ic64\n"
                "REGRESSED     +10.2%   +9.2 .. +11.4%    4.1%\n"
                "             separable/forward/fused-avx512/mb1ic64ih28oc64kh3ph1\n"
                "INCONCLUSIVE   +5.0%    +4.0 .. +6.2%    4.1% dense/forward/im2col/mb1ic65\n"
                "             not confirmed | slower\n");
    holds(text, "NOT COMPARED                                  dense/forward/im2col/mb1ic66\n"
                "             base does not have it\n");
    holds(text, "\nREGRESSED: 2 of 6 cases are slower than base by more than 3.0%\n");
    holds(text, "1 UNCHANGED: a slowdown of 4.1%");
    assert_null(strstr(text, "mb1ic32"));
    for (char *end; *line != '\0'; line = end + 1) { /* a terminal's 80 columns */
        end = strchr(line, '\n');
        assert_non_null(end);
        if (end - line > 80) fail_msg("%td columns: %.*s", end - line, (int)(end - line), line);
    }
    free(text);
    text = printed(&r, 'a');
    holds(text, "UNCHANGED      +0.1%    -0.9 .. +1.3%    4.1% dense/forward/avx2/mb1ic32\n");
    free(text);
}

static void test_outcomes(void **state)
{
    compare_result r = made_up();
    cases[1].verdict = cases[2].verdict = COMPARE_UNCHANGED;
    char *text = printed(&r, 't');
    holds(text,
          "\nNO REGRESSION: of 6 cases none is confirmed slower; 1 faster, 2 inconclusive, 1\nnot compared\n");
    free(text);
    r.invalid = true;
    strcpy(r.invalid_why, "base differs from itself by +4.0%");
    text = printed(&r, 't');
    holds(text, "\nINVALID: base differs from itself by +4.0%: no verdict counts\n");
    free(text);
    cases[0].verdict = COMPARE_WRONG;
    strcpy(cases[0].repro, "sepbench verify 'mb1ic32' --impl avx2");
    text = printed(&r, 't');
    holds(text, "\nWRONG: 1 of 7 cases: head computes a wrong result\n");
    holds(text, "repro: sepbench verify 'mb1ic32' --impl avx2\n");
    free(text);
    compare_result none = {
        .margin_why = "the floor", .null_shift = NAN, .null_spread = NAN, .control_drift = NAN};
    text = printed(&none, 'a');
    holds(text, "NO REGRESSION: of 0 cases");
    free(text);
}

static void test_markdown(void **state)
{
    compare_result r = made_up();
    char *text = printed(&r, 'm');
    holds(text, "### REGRESSED: 2 of 6 cases are slower than base by more than 3.0%\n");
    holds(
        text,
        "\n| REGRESSED | +30.0% | +29.0 .. +31.2% | 4.1% | `dense/forward/tiled/mb1ic64/nhwc/t2/warm` |  |\n");
    holds(text, "not confirmed \\| slower |\n");
    holds(text, "<details><summary>1 unchanged</summary>\n\n|");
    free(text);
}

static void test_annotations(void **state)
{
    compare_result r = made_up();
    char *text = printed(&r, 'g');
    holds(text, "::error title=Slower::dense/forward/tiled/mb1ic64/nhwc/t2/warm is 30.0%25 slower than base "
                "(95%25 interval +29.0%25 to +31.2%25, margin 3.0%25)\n");
    holds(text, "::warning title=Inconclusive::dense/forward/im2col/mb1ic65/nhwc/t2/warm: +5.0%25 against "
                "base: not confirmed | slower\n");
    holds(text, "::warning title=Noise::1 of 7 cases was too noisy for a verdict\n");
    holds(text, "::warning title=Not compared::1 of 7 cases was not compared: compare.csv says why\n");
    assert_null(strstr(text, "invalid"));
    free(text);
    r.invalid = true;
    strcpy(r.invalid_why, "base differs from itself by +4.0%");
    text = printed(&r, 'g');
    assert_null(strstr(text, "::error title=Slower"));
    holds(
        text,
        "::error title=Measurement invalid::INVALID: base differs from itself by +4.0%25: no verdict counts\n");
    free(text);
}

/* What a stored run says arrives as text, on a terminal, in a log and in a summary. */
static void test_hostile_texts(void **state)
{
    static const char how[] = {'t', 'm', 'g'};
    compare_result r = made_up();
    strcpy(cases[4].reason, "::error::forged\n\033c::error::forged `<img>` [x](y)");
    strcpy(cases[5].reason, cases[4].reason);
    strcpy(r.head.commit, "\033]0;x <b>");
    for (size_t i = 0; i < sizeof how; i++) {
        char *text = printed(&r, how[i]);
        holds(text, how[i] == 't' ? ": error::forged c::error::forged " : ": error::forged  c::error::forged ");
        assert_null(strchr(text, '\033'));
        assert_null(strstr(text, "\n::error::"));
        free(text);
    }
    char *text = printed(&r, 'm');
    holds(text, "\\`\\<img>\\` \\[x](y)");
    holds(text, "x \\<b>+changes");
    free(text);
}

static char *slurp(const char *dir, const char *name)
{
    char path[256], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_true(getdelim(&text, &size, '\0', in) > 0);
    fclose(in);
    unlink(path);
    return text;
}

static void test_files(void **state)
{
    char dir[] = "/tmp/sepbench-compare-XXXXXX";
    compare_result r = made_up();
    conv_error err;
    assert_non_null(mkdtemp(dir));
    assert_true(compare_write(dir, &r, &err));

    char *text = slurp(dir, "compare.csv");
    csv_reader csv;
    csv_open(&csv, text, strlen(text));
    assert_true(csv_next(&csv));
    size_t columns = csv.count;
    assert_string_equal(csv.field[0], "case");
    for (size_t i = 0; i < CASES; i++) {
        assert_true(csv_next(&csv));
        assert_int_equal(csv.count, columns);
        assert_string_equal(csv.field[0], table[i].name);
        assert_string_equal(csv.field[1], compare_verdict_name(table[i].verdict));
    }
    assert_false(csv_next(&csv));
    csv_close(&csv);
    free(text);

    text = slurp(dir, "compare.json");
    json_t *json = json_loads(text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "schema")), COMPARE_SCHEMA);
    assert_int_equal(json_integer_value(json_object_get(json, "exit_code")), EXIT_REGRESSION);
    const json_t *second = json_array_get(json_object_get(json, "cases"), 1);
    assert_string_equal(json_string_value(json_object_get(second, "verdict")), "REGRESSED");
    assert_true(json_is_null(json_object_get(second, "base_ns")));
    assert_true(json_real_value(json_array_get(json_object_get(second, "screen"), 0)) > 0.12);
    json_decref(json);
    free(text);

    text = slurp(dir, "compare.md");
    holds(text, "### REGRESSED");
    free(text);
    rmdir(dir);
    assert_false(compare_write(dir, &r, &err));
    holds(err.text, "compare.csv: cannot be written: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),      cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_markdown),      cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_hostile_texts), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
