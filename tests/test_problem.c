/* Problem strings: benchdnn's rules, the canonical form's round trip, and the words for malformed ones. */
#include <stdio.h>
#include <string.h>

#include "../kernels/problem.h"
#include "unit.h"

static conv_problem parsed(const char *text)
{
    conv_problem p;
    conv_error err = {""};
    if (problem_parse(text, &p, NULL, &err) != CONV_OK) fail_msg("%s: %s", text, err.text);
    return p;
}

/* in, out, kernel, stride, dilation, pad before, pad after */
static char *axis_text(const conv_axis *a, char *text, size_t size)
{
    snprintf(text, size, "%lld %lld %lld %lld %lld %lld %lld", (long long)a->in, (long long)conv_out(a),
             (long long)a->kernel, (long long)a->stride, (long long)a->dilation, (long long)a->pad_before,
             (long long)a->pad_after);
    return text;
}

/* Expected values follow from str2desc, sanitize_desc and init_pad_r of oneDNN's benchdnn; most strings are
 * from its own shape files. */
static void test_benchdnn_rules(void **state)
{
    static const struct {
        const char *text, *means;
    } cases[] = {
        {"mb1ic32ih28oc32kh3ph1", "dense 2d mb1 ic32 oc32 g1 h 28 28 3 1 1 1 1 w 28 28 3 1 1 1 1"},
        {"ic32oc13_ih13oh12kh3ph0_n\"tails_conv:1\"",
         "dense 2d mb2 ic32 oc13 g1 h 13 12 3 1 1 0 1 w 13 12 3 1 1 0 1"},
        {"g32mb1ic32ih28oc32kh3ph1n\"layer\"",
         "depthwise 2d mb1 ic32 oc32 g32 h 28 28 3 1 1 1 1 w 28 28 3 1 1 1 1"},
        {"ic32oc13_ih13oh13kh1ph0", "pointwise 2d mb2 ic32 oc13 g1 h 13 13 1 1 1 0 0 w 13 13 1 1 1 0 0"},
        {"ic1ih28oc32kh3", "dense 2d mb2 ic1 oc32 g1 h 28 26 3 1 1 0 0 w 28 26 3 1 1 0 0"},
        {"g1ic4ih84oc16oh20kh8sh4ph0", "dense 2d mb2 ic4 oc16 g1 h 84 20 8 4 1 0 0 w 84 20 8 4 1 0 0"},
        {"g4ic20ih5oc20oh5kh3ph1", "dense 2d mb2 ic20 oc20 g4 h 5 5 3 1 1 1 1 w 5 5 3 1 1 1 1"},
        {"mb1_g64ic64oc64_ih201oh202kh1sh1dh0ph0_iw202ow202kw7sw1dw0pw3",
         "depthwise 2d mb1 ic64 oc64 g64 h 201 202 1 1 1 0 1 w 202 202 7 1 1 3 3"},
        {"mb1_g16ic16oc16_ih10oh10kh3_iw15ow8kw1sw2pw0",
         "depthwise 2d mb1 ic16 oc16 g16 h 10 10 3 1 1 1 1 w 15 8 1 2 1 0 0"},
        {"mb1_g16ic16oc16_ih14oh8kh2sh2ph1_iw10ow10kw3",
         "depthwise 2d mb1 ic16 oc16 g16 h 14 8 2 2 1 1 1 w 10 10 3 1 1 1 1"},
        {"mb1ic16oc16_ih10kh5_kh5ph7sh1", "dense 2d mb1 ic16 oc16 g1 h 10 20 5 1 1 7 7 w 10 20 5 1 1 7 7"},
        {"mb1ic3ih224oc32kh3sh2ph1", "dense 2d mb1 ic3 oc32 g1 h 224 112 3 2 1 1 0 w 224 112 3 2 1 1 0"},
        {"mb1ic3ih224oh112oc32kh3sh2", "dense 2d mb1 ic3 oc32 g1 h 224 112 3 2 1 0 1 w 224 112 3 2 1 0 1"},
        {"mb1ic8ih7oc8kh2sh2", "dense 2d mb1 ic8 oc8 g1 h 7 3 2 2 1 0 -1 w 7 3 2 2 1 0 -1"},
        {"mb1ic8ih14oc8kh3dh1ph2", "dense 2d mb1 ic8 oc8 g1 h 14 14 3 1 2 2 2 w 14 14 3 1 2 2 2"},
        {"g1mb50ic256iw56oc512ow28kw1sw2pw0",
         "pointwise 1d mb50 ic256 oc512 g1 h 1 1 1 1 1 0 0 w 56 28 1 2 1 0 -1"},
        {"g128ic128iw16oc128ow16kw3sw1pw1n\"conv_dw\"",
         "depthwise 1d mb2 ic128 oc128 g128 h 1 1 1 1 1 0 0 w 16 16 3 1 1 1 1"},
        {"ic8oc8_iw5ow2kw3sw1dw2pw3n\"conv1d_gemm:1\"",
         "dense 1d mb2 ic8 oc8 g1 h 1 1 1 1 1 0 0 w 5 2 3 1 3 3 0"},
        {"g17mb16ic17id5oc17od5kd3pd1", "depthwise 3d mb16 ic17 oc17 g17 h 5 5 3 1 1 1 1 w 5 5 3 1 1 1 1"},
        {"ic32oc13_id13od11kd3pd0_ih13oh12kh3ph0_iw13ow12kw3pw0",
         "dense 3d mb2 ic32 oc13 g1 h 13 12 3 1 1 0 1 w 13 12 3 1 1 0 1"},
        {"separable:mb1ic3ih15oc10kh3", "separable 2d mb1 ic3 oc10 g1 h 15 13 3 1 1 0 0 w 15 13 3 1 1 0 0"},
        {"depthwise:mb1ic3ih15oc6kh3", "depthwise 2d mb1 ic3 oc6 g3 h 15 13 3 1 1 0 0 w 15 13 3 1 1 0 0"},
        {"dense:g3mb1ic3ih15oc6kh3", "dense 2d mb1 ic3 oc6 g3 h 15 13 3 1 1 0 0 w 15 13 3 1 1 0 0"},
        {"dense:mb1ic3ih15oc6kh1", "dense 2d mb1 ic3 oc6 g1 h 15 15 1 1 1 0 0 w 15 15 1 1 1 0 0"},
        {"g3mb1ic3ih15oc6kh1", "depthwise 2d mb1 ic3 oc6 g3 h 15 15 1 1 1 0 0 w 15 15 1 1 1 0 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_problem p = parsed(cases[i].text);
        char got[160], h[64], w[64];
        snprintf(got, sizeof got, "%s %dd mb%lld ic%lld oc%lld g%lld h %s w %s", conv_variant_name(p.variant),
                 p.rank, (long long)p.mb, (long long)p.ic, (long long)p.oc, (long long)p.groups,
                 axis_text(&p.axis[CONV_H], h, sizeof h), axis_text(&p.axis[CONV_W], w, sizeof w));
        if (strcmp(got, cases[i].means) != 0)
            fail_msg("%s is %s, expected %s", cases[i].text, got, cases[i].means);
    }
}

static void test_multiplier_and_name(void **state)
{
    conv_problem p = parsed("separable:mb1ic8ih7oc24kh3ph1dm2");
    char name[PROBLEM_NAME_MAX];
    conv_error err;
    assert_int_equal(p.depth_multiplier, 2);
    assert_int_equal(parsed("depthwise:mb1ic8ih7oc24kh3").depth_multiplier, 3);
    assert_int_equal(parsed("depthwise:mb1ic8ih7oc24kh3dm3").depth_multiplier, 3);
    assert_int_equal(problem_parse("ic8ih7oc24kh3_n\"resnet: conv_1 ic9\"", &p, name, &err), CONV_OK);
    assert_string_equal(name, "resnet: conv_1 ic9");
    assert_int_equal(problem_parse("ic8ih7oc24kh3nbare", &p, name, &err), CONV_OK);
    assert_string_equal(name, "bare");
    assert_int_equal(problem_parse("ic8ih7oc24kh3", &p, name, &err), CONV_OK);
    assert_string_equal(name, "");
}

/* Each must be refused with words that hold the given piece. */
static void test_malformed(void **state)
{
    static const struct {
        const char *text, *piece;
    } cases[] = {
        {"", "empty"},
        {"separable:", "empty"},
        {"seperable:ic3ih8oc8kh3", "seperable"},
        {"ic3ih8oc8kh3x4", "x4"},
        {"banana", "banana"},
        {"ic", "ic"},
        {"ic3ih8ockh3", "oc"},
        {"ic-3ih8oc8kh3", "ic"},
        {"ic 3ih8oc8kh3", "ic"},
        {"ic+3ih8oc8kh3", "ic"},
        {"ic3.5ih8oc8kh3", ".5"},
        {"ic0ih8oc8kh3", "ic0"},
        {"mb0ic3ih8oc8kh3", "mb0"},
        {"ic3ih0oc8kh3", "ih0"},
        {"ic3ih8oc8kh0", "kh0"},
        {"ic3ih8oc8oh0kh3", "oh0"},
        {"ic3ih8oc8kh3sh0", "sh0"},
        {"g0ic3ih8oc8kh3", "g0"},
        {"separable:ic3ih8oc8kh3dm0", "dm0"},
        {"ic99999999999999999999ih8oc8kh3", "ic9999"},
        {"ic3oc8", "spatial"},
        {"ih8kh3oc8", "ic"},
        {"ih8kh3ic8", "oc"},
        {"ic3ih8oc8", "kh"},
        {"ic3oc8kh3", "ih"},
        {"ic3ih8oc8kh3sw2", "iw"},
        {"ic3id8kd3ih8kh3oc8", "iw"},
        {"ic3ih8oc8kh9", "kh9"},
        {"ic3ih8oc8kh5dh3sh5", "kh5"},
        {"ic3ih28oc8oh12kh3", "oh12"},
        {"ic3id7od1kd6492973311dd815ih8kh3iw17kw3oc8", "od1 does not fit"},
        {"g5ic16ih8oc16kh3", "g 5"},
        {"g16ic16ih8oc24kh3", "oc24"},
        {"depthwise:g4ic16ih8oc16kh3", "g 4"},
        {"separable:g16ic16ih8oc16kh3", "g is 16"},
        {"pointwise:ic16ih8oc16kh3", "kernel"},
        {"ic16ih8oc16kh3dm2", "dm"},
        {"depthwise:ic16ih8oc16kh3dm2", "dm2"},
        {"ic3ih8oc8kh3n\"open", "quote"},
        {"ic3ih8oc8kh3n\"a\"b\"", "quote"},
        {"ic3ih8oc8kh2147483647dh2147483647", "kh2147483647"},
        {"ic3ih8oc8kh1099511627776dh1099511627776", "kh1099511627776"},
        {"ic3ih8oc8oh1099511627776kh3sh1099511627776", "sh1099511627776"},
        {"ic1099511627777ih8oc8kh3", "between 1 and 1099511627776"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_problem p;
        conv_error err = {""};
        char name[PROBLEM_NAME_MAX];
        if (problem_parse(cases[i].text, &p, name, &err) != CONV_INVALID)
            fail_msg("'%s' was accepted", cases[i].text);
        if (strstr(err.text, cases[i].piece) == NULL || strchr(err.text, '\n') != NULL)
            fail_msg("'%s': the message '%s' does not name '%s'", cases[i].text, err.text, cases[i].piece);
    }
    conv_problem p;
    conv_error err;
    char long_text[4096];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    assert_int_equal(problem_parse(long_text, &p, NULL, &err), CONV_INVALID);
    memcpy(long_text, "ic3ih8oc8kh3n", 13);
    assert_int_equal(problem_parse(long_text, &p, NULL, &err), CONV_INVALID);
}

/* What no machine could hold is understood all the same, and written again as it was. */
static void test_too_large(void **state)
{
    static const struct {
        const char *text, *piece;
    } cases[] = {
        {"mb2ic2147483648ih8oc8kh3", "ic is 2147483648"},
        {"mb1ic1iw4294967311oc1kw3", "iw is 4294967311"},
        {"mb1ic3ih8oc8kh4294967311ph4294967311", "kh is 4294967311"},
        {"mb2147483647ic2147483647ih2147483647oc2147483647kh1", "overflow"},
        {"mb1ic65536ih65536oc65536kh65535", "overflow"},
        {"mb2ic3ih8oc8oh2147483647kh3sh1000ph2147483647", "padding after"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_problem p;
        conv_error err = {""};
        char text[PROBLEM_STRING_MAX];
        assert_int_equal(problem_parse(cases[i].text, &p, NULL, &err), CONV_NO_MEMORY);
        if (strstr(err.text, cases[i].piece) == NULL)
            fail_msg("'%s': the message '%s' does not name '%s'", cases[i].text, err.text, cases[i].piece);
        assert_string_equal(problem_format(&p, text), cases[i].text);
    }
}

static void test_format(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"mb1ic64_ih28iw28_oc64oh28ow28_kh3kw3_sh1sw1_ph1pw1_dh0dw0_n\"x\"", "mb1ic64ih28oc64kh3ph1"},
        {"ic8ih7oc8kh1", "mb2ic8ih7oc8kh1"},
        {"mb1ic3ih224oh112oc32kh3sh2", "mb1ic3ih224oc32oh112kh3sh2"},
        {"mb1ic3ih224oh112oc32kh3sh2ph1", "mb1ic3ih224oc32kh3sh2ph1"},
        {"g32mb1ic32ih28oc32kh3ph1", "g32mb1ic32ih28oc32kh3ph1"},
        {"mb1ic8iw16oc8kw3", "mb1ic8iw16oc8kw3"},
        {"mb1ic8id16oc8kd3", "mb1ic8id16oc8kd3"},
        {"mb1ic8ih5iw7oc8kh3kw3pw1", "mb1ic8ih5iw7oc8kh3kw3pw1"},
        {"separable:mb1ic8ih5oc8kh3dh1ph2dm2", "mb1ic8ih5oc8kh3ph2dh1dm2"},
    };
    char text[PROBLEM_STRING_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_problem p = parsed(cases[i].in);
        assert_string_equal(problem_format(&p, text), cases[i].out);
    }
}

/* Every combination of a small grid of axes, in every rank and variant, must come back the same. */
static void test_round_trip(void **state)
{
    int checked = 0;
    for (uint32_t n = 0; n < 40000; n++) {
        uint32_t bits = n * 2654435761u;
        conv_problem p = {.mb = 1 + n % 3, .ic = 6, .oc = 12, .groups = 1, .depth_multiplier = 1};
        p.variant = (conv_variant)(n % CONV_VARIANT_COUNT);
        p.rank = 1 + (int)(n / 4 % 3);
        for (int i = 0; i < CONV_AXES; i++) {
            conv_axis *a = &p.axis[i];
            *a = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
            if (i < CONV_AXES - p.rank) continue;
            uint32_t b = bits >> (8 * (uint32_t)i);
            *a = (conv_axis){5 + b % 3,      1 + b / 3 % 3, 1 + b / 9 % 2,
                             1 + b / 18 % 2, b / 36 % 3,    (int64_t)(b / 108 % 4) - 1};
            if (p.variant == CONV_POINTWISE) a->kernel = 1;
            if (conv_out(a) > 0) /* as canonical: what the last output reads */
                a->pad_after = (conv_out(a) - 1) * a->stride + conv_effective_kernel(a) - a->in - a->pad_before;
        }
        if (p.variant == CONV_DENSE) p.groups = 1 + n / 16 % 3;
        if (p.variant == CONV_DEPTHWISE) p.groups = 6, p.depth_multiplier = 2;
        if (p.variant == CONV_SEPARABLE) p.depth_multiplier = 1 + n / 16 % 2;
        conv_error err;
        if (conv_problem_check(&p, &err) != CONV_OK) continue;
        char text[PROBLEM_STRING_MAX], prefixed[PROBLEM_STRING_MAX + 16], again[PROBLEM_STRING_MAX];
        snprintf(prefixed, sizeof prefixed, "%s:%s", conv_variant_name(p.variant), problem_format(&p, text));
        conv_problem q = parsed(prefixed);
        for (int i = 0; i < CONV_AXES; i++)
            if (memcmp(&p.axis[i], &q.axis[i], sizeof p.axis[i]) != 0)
                fail_msg("%s: axis %d differs", prefixed, i);
        if (p.variant != q.variant || p.rank != q.rank || p.mb != q.mb || p.ic != q.ic || p.oc != q.oc ||
            p.groups != q.groups || p.depth_multiplier != q.depth_multiplier)
            fail_msg("%s does not come back", prefixed);
        assert_string_equal(problem_format(&q, again), text);
        checked++;
    }
    assert_true(checked > 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_benchdnn_rules), cmocka_unit_test(test_multiplier_and_name),
        cmocka_unit_test(test_malformed),      cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_format),         cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests_name("problem", tests, NULL, NULL);
}
