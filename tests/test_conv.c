/* Geometry and counts: the figures every report rests on. */
#include "support.h"

#include <string.h>

static conv_problem plain(const char *text) { return test_problem(text, CONV_NHWC, false, CONV_POST_NONE); }

/* "A Basic Introduction to Separable Convolutions": 15x15x3, ten 3x3 filters, valid. */
static void test_article(void **state)
{
    conv_problem dense = plain("mb1ic3ih15oc10kh3"), separable = plain("separable:mb1ic3ih15oc10kh3");
    assert_int_equal(conv_multiplications(&dense), 45630);
    assert_int_equal(conv_multiplications(&separable), 9633);
    assert_int_equal(conv_flops(&dense, CONV_FORWARD), 2 * 45630);
    assert_int_equal(conv_flops(&separable, CONV_FORWARD), 2 * 9633);
    assert_int_equal(conv_flops(&dense, CONV_BACKWARD), 4 * 45630);
    assert_int_equal(conv_flops(&dense, CONV_BACKWARD_DATA), 2 * 45630);
    assert_int_equal(conv_parameters(&dense), 3 * 3 * 3 * 10);
    assert_int_equal(conv_parameters(&separable), 3 * 3 * 3 + 3 * 10);
    dense.bias = separable.bias = true;
    assert_int_equal(conv_parameters(&dense), 280);
    assert_int_equal(conv_parameters(&separable), 67);
}

/* tf.nn's notes on padding: out = ceil(in / stride), the odd one after. */
static void test_same_padding(void **state)
{
    static const int64_t cases[][6] = {
        /* in kernel stride dilation: before after */
        {28, 3, 1, 1, 1, 1}, {28, 3, 2, 1, 0, 1}, {27, 3, 2, 1, 1, 1}, {224, 7, 2, 1, 2, 3},
        {28, 2, 1, 1, 0, 1}, {28, 4, 1, 1, 1, 2}, {28, 3, 1, 2, 2, 2}, {10, 1, 3, 1, 0, 0},
        {3, 7, 1, 1, 3, 3},  {5, 3, 4, 1, 1, 1},  {1, 3, 1, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t *c = cases[i];
        conv_axis a = {.in = c[0], .kernel = c[1], .stride = c[2], .dilation = c[3]};
        conv_pad_same(&a);
        assert_int_equal(a.pad_before, c[4]);
        assert_int_equal(a.pad_after, c[5]);
        assert_int_equal(conv_out(&a), (c[0] + c[2] - 1) / c[2]);
    }
}

static int64_t taps_by_counting(const conv_axis *a)
{
    int64_t taps = 0;
    for (int64_t o = 0; o < conv_out(a); o++)
        for (int64_t k = 0; k < a->kernel; k++) {
            int64_t i = o * a->stride - a->pad_before + k * a->dilation;
            taps += i >= 0 && i < a->in;
        }
    return taps;
}

static void test_real_taps(void **state)
{
    int checked = 0;
    for (int64_t in = 1; in < 9; in++)
        for (int64_t kernel = 1; kernel < 6; kernel++)
            for (int64_t stride = 1; stride < 4; stride++)
                for (int64_t dilation = 1; dilation < 4; dilation++)
                    for (int64_t before = 0; before < 8; before++)
                        for (int64_t after = -3; after < 8; after++) {
                            conv_axis a = {in, kernel, stride, dilation, before, after};
                            if (conv_out(&a) < 1) continue;
                            if (conv_real_taps(&a) != taps_by_counting(&a))
                                fail_msg("in %lld kernel %lld stride %lld dilation %lld pads %lld %lld",
                                         (long long)in, (long long)kernel, (long long)stride,
                                         (long long)dilation, (long long)before, (long long)after);
                            checked++;
                        }
    assert_true(checked > 10000);
}

/* Counted in closed form: a walk over these taps would take minutes. */
static void test_real_taps_of_huge_kernels(void **state)
{
    const int64_t many = 2000000000;
    const conv_axis last_five = {5, many, 1, 1, many - 5, 0}, sliding = {5, many, 1, 1, many - 1, many - 3};
    const conv_axis strided = {many, many / 2, 3, 1, 0, 0};
    assert_int_equal(conv_real_taps(&last_five), 5);
    assert_int_equal(conv_real_taps(&sliding), 5 * many - 3); /* the last two inputs miss one and two outputs */
    assert_int_equal(conv_real_taps(&strided), many / 2 * conv_out(&strided)); /* no padding: all of them */
}

/* Whether all pixels of src that pixel `out` of dst reads lie in [from, end); sets whether those at its ends are
 * among them. */
static bool holds(const conv_problem *p, int64_t out, int64_t from, int64_t end, bool *first, bool *last)
{
    for (int64_t tap = 0; tap < conv_taps(p); tap++) {
        int64_t pixel = 0, rest = out, k = tap, unit = 1;
        for (int i = CONV_AXES - 1; i >= 0 && pixel >= 0; i--) {
            const conv_axis *a = &p->axis[i];
            int64_t in = rest % conv_out(a) * a->stride - a->pad_before + k % a->kernel * a->dilation;
            pixel = in < 0 || in >= a->in ? -1 : pixel + in * unit;
            rest /= conv_out(a), k /= a->kernel, unit *= a->in;
        }
        if (pixel < 0) continue;
        if (pixel < from || pixel >= end) return false;
        *first |= pixel == from;
        *last |= pixel == end - 1;
    }
    return true;
}

/* Everything that is read, nothing beyond the image, and of one pixel without dilation nothing but it. */
static void test_reach(void **state)
{
    static const char *const shapes[] = {
        "mb1ic1iw9oc1kw3pw1",
        "mb1ic1iw9ow12oc1kw2dw2pw8sw1",
        "mb1ic1ih5iw6oc1kh3kw2sh2pw1",
        "mb1ic1ih4iw5oc1kh2kw3ph3pw3",
        "mb1ic1id4ih3iw5oc1kd3kh3kw3pd1ph1pw1",
        "mb1ic1id5ih4iw3oc1kd2kh3kw2sd2sh1sw3pd1ph2pw1dd1",
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        conv_problem p = plain(shapes[s]);
        int64_t out = conv_dst_pixels(&p), from, end;
        bool dilated = false, first, last;
        for (int i = 0; i < CONV_AXES; i++) dilated |= p.axis[i].dilation > 1;
        for (int64_t a = 0; a < out; a++)
            for (int64_t b = a; b < out; b++) {
                conv_reach(&p, a, b, &from, &end);
                assert_true(0 <= from && from <= end && end <= conv_src_pixels(&p));
                first = last = false;
                for (int64_t o = a; o <= b; o++) assert_true(holds(&p, o, from, end, &first, &last));
                if (a == b && !dilated) assert_true(first == (from < end) && last == first);
            }
    }
}

/* benchdnn counts 27 of 30 taps per row and axis: 28*28*9 - (2*28*3*2 - 4) edge taps. */
static void test_flops(void **state)
{
    conv_problem p = plain("mb1ic64ih28oc64kh3ph1");
    assert_int_equal(conv_flops(&p, CONV_FORWARD), INT64_C(2) * 64 * 64 * 82 * 82);
    assert_int_equal(conv_multiplications(&p), INT64_C(64) * 64 * 28 * 28 * 9);
    p = plain("g64mb2ic64ih28oc64kh3ph1");
    assert_int_equal(conv_flops(&p, CONV_FORWARD), INT64_C(2) * 2 * 64 * 82 * 82);
    p = plain("separable:mb1ic64ih28oc32kh3ph1dm2");
    assert_int_equal(conv_flops(&p, CONV_FORWARD), INT64_C(2) * (128 * 82 * 82 + 28 * 28 * 128 * 32));
    p = plain("g4mb1ic64ih28oc32kh3ph1");
    assert_int_equal(conv_flops(&p, CONV_FORWARD), INT64_C(2) * 82 * 82 * 16 * 32);
}

static void test_bytes(void **state)
{
    conv_problem p = plain("mb2ic3ih15oc10kh3");
    int64_t src = 2 * 15 * 15 * 3, dst = 2 * 13 * 13 * 10, weights = 270;
    assert_int_equal(conv_bytes_min(&p, CONV_FORWARD), 4 * (src + weights + dst));
    assert_int_equal(conv_bytes_min(&p, CONV_BACKWARD_DATA), 4 * (src + weights + dst));
    assert_int_equal(conv_bytes_min(&p, CONV_BACKWARD_WEIGHTS), 4 * (src + weights + dst));
    assert_int_equal(conv_bytes_min(&p, CONV_BACKWARD), 4 * (2 * src + 2 * weights + dst));
    p.bias = true;
    p.post_op = CONV_POST_RELU6;
    assert_int_equal(conv_bytes_min(&p, CONV_FORWARD), 4 * (src + weights + 10 + dst));
    assert_int_equal(conv_bytes_min(&p, CONV_BACKWARD), 4 * (2 * src + 2 * weights + 10 + 2 * dst));
    p = plain("separable:mb1ic3ih15oc10kh3dm2");
    assert_int_equal(conv_bytes_min(&p, CONV_FORWARD), 4 * (15 * 15 * 3 + 9 * 6 + 6 * 10 + 13 * 13 * 10));
}

/* In order: below, at, between, at and above the clips, and no number. */
static void test_post_ops(void **state)
{
    static const float below = 0x1.7ffffep2F;
    static const struct {
        float x, relu6;
        bool passes;
    } cases[] = {{-1, 0, false},       {-0.0F, 0, false}, {0, 0, false}, {0x1p-149F, 0x1p-149F, true},
                 {below, below, true}, {6, 6, false},     {7, 6, false}, {INFINITY, 6, false},
                 {NAN, 0, false}};
    assert_true(nextafterf(6, 0) == below);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const float x = cases[i].x, six = conv_clipped(x, conv_clip(CONV_POST_RELU6)),
                    relu = conv_clipped(x, conv_clip(CONV_POST_RELU)), none = conv_clipped(x, 0);
        assert_true(six == cases[i].relu6 && !signbit(six));
        assert_true(relu == (x > 0 ? x : 0) && !signbit(relu));
        assert_memory_equal(&none, &x, sizeof x);
        assert_int_equal(conv_passes(CONV_POST_RELU6, x), cases[i].passes);
        assert_int_equal(conv_passes(CONV_POST_RELU, x), x > 0);
    }
    for (int o = 0; o < CONV_POST_COUNT; o++) {
        conv_post_op read;
        assert_true(conv_post_op_parse(conv_post_op_name((conv_post_op)o), &read) && (int)read == o);
    }
    assert_string_equal(conv_post_op_word(CONV_POST_NONE), "");
    assert_string_equal(conv_post_op_word(CONV_POST_RELU6), "relu6");
}

static void test_sizes_and_stages(void **state)
{
    conv_problem p = plain("separable:mb2ic3ih15oc10kh3sh2dm2");
    conv_sizes n = conv_problem_sizes(&p);
    assert_int_equal(n.src, 2 * 15 * 15 * 3);
    assert_int_equal(n.mid, 2 * 7 * 7 * 6);
    assert_int_equal(n.dst, 2 * 7 * 7 * 10);
    assert_int_equal(n.weights, 9 * 6);
    assert_int_equal(n.pointwise, 60);
    conv_problem depthwise = conv_depthwise_stage(&p), pointwise = conv_pointwise_stage(&p);
    assert_int_equal(conv_problem_check(&depthwise, NULL), CONV_OK);
    assert_int_equal(conv_problem_check(&pointwise, NULL), CONV_OK);
    assert_int_equal(conv_problem_sizes(&depthwise).dst, n.mid);
    assert_int_equal(conv_problem_sizes(&pointwise).src, n.mid);
    assert_int_equal(conv_problem_sizes(&pointwise).dst, n.dst);
    assert_int_equal(conv_flops(&depthwise, CONV_FORWARD) + conv_flops(&pointwise, CONV_FORWARD),
                     conv_flops(&p, CONV_FORWARD));
}

/* Each spoils one field of a good problem; the message must hold the word. */
static void test_check_names_the_field(void **state)
{
    static const struct {
        size_t offset;
        int64_t value;
        const char *word;
    } cases[] = {
        {offsetof(conv_problem, mb), 0, "mb"},
        {offsetof(conv_problem, mb), -1, "mb"},
        {offsetof(conv_problem, ic), 0, "ic"},
        {offsetof(conv_problem, oc), INT64_MAX, "oc"},
        {offsetof(conv_problem, groups), 3, "groups"},
        {offsetof(conv_problem, depth_multiplier), 2, "multiplier"},
        {offsetof(conv_problem, axis[CONV_H].in), 0, "ih"},
        {offsetof(conv_problem, axis[CONV_W].kernel), -3, "kw"},
        {offsetof(conv_problem, axis[CONV_W].stride), 0, "sw"},
        {offsetof(conv_problem, axis[CONV_H].dilation), 0, "dh"},
        {offsetof(conv_problem, axis[CONV_H].pad_before), -1, "ph"},
        {offsetof(conv_problem, axis[CONV_H].kernel), 100, "no output along h"},
        {offsetof(conv_problem, axis[CONV_H].in), INT64_MAX, "ih"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_problem p = plain("mb1ic64ih28oc64kh3ph1");
        conv_error err = {""};
        memcpy((char *)&p + cases[i].offset, &cases[i].value, sizeof cases[i].value);
        conv_status expected = cases[i].value == INT64_MAX ? CONV_NO_MEMORY : CONV_INVALID;
        assert_int_equal(conv_problem_check(&p, &err), expected);
        if (strstr(err.text, cases[i].word) == NULL)
            fail_msg("'%s' does not name '%s'", err.text, cases[i].word);
    }
}

static void test_names_round_trip(void **state)
{
    conv_variant v;
    conv_pass p;
    conv_layout l;
    for (int i = 0; i < CONV_VARIANT_COUNT; i++)
        assert_true(conv_variant_parse(conv_variant_name((conv_variant)i), &v) && (int)v == i);
    for (int i = 0; i < CONV_PASS_COUNT; i++)
        assert_true(conv_pass_parse(conv_pass_name((conv_pass)i), &p) && (int)p == i);
    for (int i = 0; i < CONV_LAYOUT_COUNT; i++)
        assert_true(conv_layout_parse(conv_layout_name((conv_layout)i), &l) && (int)l == i);
    assert_false(conv_variant_parse("Dense", &v));
    assert_false(conv_pass_parse("", &p));
}

/* An implementation is never asked for another variant or for separable's single gradients. */
static void test_refusals(void **state)
{
    conv_problem dense = plain("mb1ic3ih15oc10kh3"), separable = plain("separable:mb1ic3ih15oc10kh3");
    conv_context ctx = test_context(1), none = test_context(0);
    conv_plan *plan;
    conv_error err;
    assert_non_null(conv_refuse(conv_find("naive", CONV_DENSE), &separable, CONV_FORWARD));
    assert_non_null(conv_refuse(conv_find("naive", CONV_SEPARABLE), &separable, CONV_BACKWARD_DATA));
    assert_null(conv_refuse(conv_find("naive", CONV_DENSE), &dense, CONV_FORWARD));
    assert_int_equal(
        conv_plan_create(conv_find("naive", CONV_DENSE), &separable, CONV_FORWARD, &ctx, &plan, &err),
        CONV_REFUSED);
    assert_null(plan);
    assert_int_equal(conv_plan_create(conv_find("naive", CONV_DENSE), &dense, CONV_FORWARD, &none, &plan, &err),
                     CONV_INVALID);
    assert_non_null(strstr(err.text, "threads"));
    assert_null(conv_find("nonesuch", CONV_DENSE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_article),
        cmocka_unit_test(test_same_padding),
        cmocka_unit_test(test_real_taps),
        cmocka_unit_test(test_real_taps_of_huge_kernels),
        cmocka_unit_test(test_reach),
        cmocka_unit_test(test_flops),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_post_ops),
        cmocka_unit_test(test_sizes_and_stages),
        cmocka_unit_test(test_names_round_trip),
        cmocka_unit_test(test_check_names_the_field),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("conv", tests, NULL, NULL);
}
