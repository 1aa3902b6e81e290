/* One, two and three dimensions: every implementation of the project runs every variant it has, every pass, in
 * both layouts, but where the table says that it owes no more. What peers refuse is printed in their words, and
 * what they do is checked, too. */
#include <string.h>

#include "support.h"

/* An ordinary layer, and one with uneven padding, strides, dilation, groups or a multiplier. */
static const struct {
    int rank;
    bool ordinary;
    const char *problem;
} problems[] = {
    {1, true, "dense:mb2ic32iw19oc48kw3pw1"},
    {2, true, "dense:mb1ic32ih7oc48kh3ph1"},
    {3, true, "dense:mb1ic32id3ih5iw6oc48kd3kh3kw3pd1ph1pw1"},
    {1, false, "dense:g2mb2ic18iw23oc34kw4sw2dw1pw3ow11"},
    {2, false, "dense:g2mb2ic18ih9iw12oc34kh2kw3sh2sw1dh1dw2ph1pw3"},
    {3, false, "dense:g2mb2ic18id5ih7iw6oc34kd2kh3kw4sd1sh2sw3dd1dh0dw0pd1ph2pw1"},
    {1, true, "depthwise:mb2ic40iw19oc40kw3pw1"},
    {2, true, "depthwise:mb1ic40ih7oc40kh3ph1"},
    {3, true, "depthwise:mb1ic40id3ih5iw6oc40kd3kh3kw3pd1ph1pw1"},
    {1, false, "depthwise:mb2ic19iw23oc57kw4sw2dw1pw6ow12"},
    {2, false, "depthwise:mb2ic19ih9iw12oc57kh2kw5sh2sw1dh1dw2ph1pw3"},
    {3, false, "depthwise:mb2ic19id5ih7iw6oc57kd2kh3kw4sd1sh2sw3dd1dh0dw0pd1ph2pw1"},
    {1, true, "pointwise:mb2ic32iw19oc48kw1"},
    {2, true, "pointwise:mb1ic32ih7oc48kh1"},
    {3, true, "pointwise:mb1ic32id3ih5iw6oc48kd1kh1kw1"},
    {1, false, "pointwise:mb2ic33iw19oc50kw1sw3pw1"},
    {2, false, "pointwise:mb2ic33ih7iw9oc50kh1kw1sh2sw1"},
    {3, false, "pointwise:mb2ic33id4ih5iw6oc50kd1kh1kw1sd2sh1sw3pd1"},
    {1, true, "separable:mb2ic32iw19oc48kw3pw1"},
    {2, true, "separable:mb1ic32ih7oc48kh3ph1"},
    {3, true, "separable:mb1ic32id3ih5iw6oc48kd3kh3kw3pd1ph1pw1"},
    {1, false, "separable:mb2ic19iw23oc33kw4sw2dw1pw6ow12dm2"},
    {2, false, "separable:mb2ic19ih9iw12oc33kh2kw5sh2sw1dh1dw2ph1pw3dm2"},
    {3, false, "separable:mb2ic19id5ih7iw6oc33kd2kh3kw4sd1sh2sw3dd1dh0dw0pd1ph2pw1dm2"},
};

/* The ranks that names beginning so must run: of the ordinary layers, and of the others. The last that fits. */
static const struct {
    const char *prefix, *ordinary, *others;
} duties[] = {{"", "123", "123"},
              {"fip-", "123", ""},
              {"blocked-", "123", ""},
              {"tf-like", "12", ""},
              {"winograd-", "2", ""}};

static bool must_run(const char *name, int rank, bool ordinary)
{
    const char *ranks = "";
    for (size_t i = 0; i < sizeof duties / sizeof *duties; i++)
        if (strncmp(name, duties[i].prefix, strlen(duties[i].prefix)) == 0)
            ranks = ordinary ? duties[i].ordinary : duties[i].others;
    return strchr(ranks, '0' + rank) != NULL;
}

static void check(outcome *outcomes, size_t count, size_t at, conv_layout layout, conv_pass pass)
{
    bool apart = layout == CONV_NCHW;
    const conv_problem p = test_problem(problems[at].problem, layout, apart, apart);
    const conv_context ctx = apart ? test_far_context(3) : test_context(2);
    verify_options options = {
        .kind = FILL_INTEGERS, .seed = at + 1, .accumulate = apart && pass != CONV_FORWARD};
    char text[PROBLEM_STRING_MAX + 128];
    outcomes_check(outcomes, count, &p, pass, &options, &ctx);
    for (size_t i = 0; i < count; i++) {
        const conv_impl *impl = outcomes[i].entry->impl;
        if (impl == NULL || impl->peer || impl->variant != p.variant) continue;
        const char *reason = conv_refuse(impl, &p, pass);
        if (reason == NULL || !must_run(impl->name, p.rank, problems[at].ordinary)) continue;
        print_message("%s refuses %s: %s\n", impl->name, test_describe(&p, pass, text, sizeof text), reason);
        outcomes[i].failed++;
    }
}

int main(void)
{
    size_t count;
    outcome *outcomes = outcomes_create(&count);
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        for (int layout = 0; layout < CONV_LAYOUT_COUNT; layout++)
            for (int pass = 0; pass < CONV_PASS_COUNT; pass++)
                if (strncmp(problems[i].problem, "separable", strlen("separable")) != 0 ||
                    pass <= CONV_BACKWARD)
                    check(outcomes, count, i, (conv_layout)layout, (conv_pass)pass);
    return outcomes_report("ranks", outcomes, count, true);
}
