/* Every present implementation, pass and layout over shapes at the edges: channels below, equal to, one above
 * and multiples of vectors and tiles, odd sizes, strides, dilations, paddings of every kind, multipliers,
 * groups, ranks; small integers bit for bit and reals within the bound; bias, post-op, accumulation; and with
 * caches so small that everything comes from memory. Ways of a driver are test_strategies.c's. */
#include <string.h>

#include "support.h"

static const char *const shapes[] = {
    /* dense: channels around vectors (8, 16) and tiles */
    "dense:mb1ic1ih5oc1kh3ph1",
    "dense:mb1ic3ih15oc10kh3",
    "dense:mb2ic3ih9oc7kh3ph1",
    "dense:mb1ic7ih6oc8kh3ph1",
    "dense:mb1ic8ih7oc9kh3ph1",
    "dense:mb1ic9ih7oc15kh3ph1",
    "dense:mb1ic15ih5oc16kh3ph1",
    "dense:mb1ic16ih5oc17kh3ph1",
    "dense:mb2ic17ih5oc31kh3ph1",
    "dense:mb1ic32ih8oc32kh3ph1",
    "dense:mb1ic33ih4oc65kh3ph1",
    "dense:mb1ic64ih7oc48kh3ph1",
    "dense:mb1ic96ih5oc192kh3ph1",
    "dense:mb1ic192ih3oc96kh3ph1",
    "dense:mb1ic728ih2oc24kh3ph1",
    "dense:mb1ic20ih3oc728kh3ph1",
    "dense:mb86ic16ih5oc16kh3ph1",
    /* sizes, strides, dilations */
    "dense:mb2ic3ih28oc10kh3ph1",
    "dense:mb3ic16ih40oc16kh3ph1",
    "dense:mb3ic5ih1iw1oc6kh1kw1",
    "dense:mb1ic5ih1iw23oc6kh1kw3pw1",
    "dense:mb1ic5ih23iw1oc6kh3kw1ph1",
    "dense:mb1ic6ih13iw11oc20kh3kw5ph1pw2",
    "dense:mb1ic6ih17oc18kh3sh2ph1",
    "dense:mb1ic6ih16oh8oc18kh3sh2",
    "dense:mb1ic6ih16oc18kh2sh3",
    "dense:mb1ic4ih17iw14oc18kh3kw3sh1sw3ph1pw2",
    "dense:mb1ic6ih13oc18kh3dh1ph2",
    "dense:mb1ic6ih19oc9kh3sh2dh2ph3",
    "dense:mb1ic6ih29iw30oc9kh2kw3sh4sw5dw1pw1",
    "dense:mb1ic12ih14oc20kh7sh2ph3",
    "dense:mb1ic4ih9oc8kh9ph4",
    /* paddings: asymmetric, after below before, negative after, wider than the kernel,
     * kernel over the interior */
    "dense:mb1ic5ih9oh9oc8kh4ph1",
    "dense:mb1ic5ih9oh9oc8kh4ph2",
    "dense:mb1ic5ih9oh8oc8kh3ph2",
    "dense:mb1ic5ih7oc8kh2sh2",
    "dense:mb1ic5ih19oh4oc8kh3ph1",
    "dense:mb1ic5ih4oc8kh3ph4",
    "dense:mb1ic5ih3oc8kh7ph3",
    "dense:mb1ic5ih1oc8kh3ph1",
    "dense:mb1ic5ih2oc8kh3dh2ph4sh2",
    "dense:mb2ic16ih5oh3oc16kh2sh2ph1",
    /* groups, 1x1 as dense, ranks */
    "dense:g2mb1ic6ih7oc10kh3ph1",
    "dense:g4mb2ic32ih5oc64kh3ph1sh2",
    "dense:g3mb1ic9ih5oc3kh3",
    "dense:g8mb1ic8ih5oc8kh3ph1",
    "dense:mb2ic17ih5oc19kh1",
    "dense:mb2ic7iw33oc20kw5pw2",
    "dense:mb1ic7iw33oc20kw3sw2dw1",
    "dense:mb1ic3id5ih6iw7oc10kd3kh2kw3pd1ph0pw1",
    /* one dimension: a row to be cut, causal, several rows in for one out */
    "dense:mb1ic16iw1500oc17kw3pw1",
    "dense:mb3ic9iw70oc24kw3pw1",
    "dense:mb1ic8iw90ow90oc8kw4pw3",
    "dense:mb2ic8iw90ow90oc12kw2dw15pw16",
    "dense:mb2ic6iw101oc9kw4sw3pw2",
    "dense:mb1ic6iw120ow20oc9kw3pw1",
    "dense:g2mb1ic12iw64oc10kw5sw2pw2",
    "dense:mb1ic4ih5iw200oc8kh5kw3pw1",
    "dense:mb1ic40iw600oc33kw1",
    /* three */
    "dense:mb2ic8id4ih5iw6oc16kd3kh3kw3pd1ph1pw1",
    "dense:mb1ic17id9oc20kd3pd1",
    "dense:mb2ic6id9ih8iw7oc20kd3kh2kw3sd2sh3sw2pd1ph0pw1",
    "dense:mb1ic6id11ih8iw10oc9kd2kh3kw2dd3dh1dw2pd1ph2pw0",
    "dense:mb1ic6id9ih9iw9od5oh4ow9oc9kd3kh4kw3sd2sh2pd2ph1pw2",
    "dense:g3mb2ic9id4ih5iw6oc12kd3kh3kw3pd1ph1pw1",
    "dense:mb1ic5id1ih6iw7oc8kd3kh3kw3pd1ph1pw1",
    "dense:mb1ic5id7ih1iw1oc8kd3kh1kw1pd1ph0pw0",
    "dense:mb1ic5id2ih3iw2oc8kd5kh3kw7pd2ph1pw3",
    "dense:mb1ic5id9ih6iw6od3oh6ow6oc8kd3kh3kw3pd0ph1pw1",
    "dense:mb1ic5id3ih3iw40oc8kd3kh3kw5",
    "dense:mb3ic10id3ih3iw3oc19kd1kh1kw1",

    "depthwise:mb1ic1ih7oc1kh3ph1",
    "depthwise:mb2ic1024ih7oc1024kh3ph1",
    "depthwise:mb2ic1024ih14oc1024kh3ph1",
    "depthwise:mb3ic2048ih5iw9oc2048kh3kw3ph1pw1",
    "depthwise:mb1ic1024ih6oh6oc1024kh3ph2",
    "depthwise:mb2ic1024ih9oc1024kh5ph2sh2",
    "depthwise:mb1ic1024ih8oc1024kh7ph3",
    "depthwise:mb1ic1024ih11iw4oc1024kh3kw3dh1dw1ph2pw2",
    "depthwise:mb1ic512ih5oc1024kh3ph1",
    "depthwise:mb2ic3ih7oc3kh3ph1",
    "depthwise:mb1ic7ih9oc7kh3ph1",
    "depthwise:mb1ic8ih9oc8kh3ph1",
    "depthwise:mb1ic9ih9oc9kh3ph1",
    "depthwise:mb1ic16ih6oc16kh3ph1",
    "depthwise:mb3ic17ih6oc17kh3ph1",
    "depthwise:mb1ic31ih28oc31kh3ph1",
    "depthwise:mb2ic32ih14oc32kh3ph1",
    "depthwise:mb2ic48ih4oc48kh3ph1",
    "depthwise:mb1ic48ih13iw3oc48kh3kw3pw1",
    "depthwise:mb1ic16ih7iw2oc16kh3kw3ph1pw2",
    "depthwise:mb1ic16ih8oc16kh3ph2",
    "depthwise:mb1ic40ih9iw4oc40kh3kw3ph1pw1",
    "depthwise:mb1ic40ih9iw7oc40kh3kw3ph1pw1",
    "depthwise:mb1ic33ih5oc33kh3",
    "depthwise:mb1ic64ih14oc64kh3ph1",
    "depthwise:mb2ic96ih7oc96kh5ph2",
    "depthwise:mb1ic192ih5oc192kh3ph1sh2",
    "depthwise:mb1ic728ih4oc728kh3ph1",
    "depthwise:mb1ic16ih17oc16kh3sh2ph1",
    "depthwise:mb1ic19ih16oh8oc19kh3sh2",
    "depthwise:mb1ic19ih13iw17oc19kh5kw3sh3sw2ph1pw1",
    "depthwise:mb1ic19ih13oc19kh3dh1ph2",
    "depthwise:mb1ic19ih13oc19kh3dh2sh2ph2",
    "depthwise:mb1ic19ih9oh9oc19kh4ph1",
    "depthwise:mb1ic19ih7oc19kh2sh2",
    "depthwise:mb1ic19ih19oh4oc19kh3ph1",
    "depthwise:mb1ic19ih3oc19kh7ph3",
    "depthwise:mb1ic19ih4oc19kh3ph4",
    "depthwise:mb1ic19ih1oc19kh3ph1",
    "depthwise:mb1ic40ih12oc40kh7ph3",
    "depthwise:mb1ic5ih9oc10kh3ph1",
    "depthwise:mb1ic3ih9oc9kh3ph1sh2",
    "depthwise:mb1ic16ih6oc64kh3ph1",
    "depthwise:mb2ic16ih14oc48kh3ph1", /* a vector of channels is no whole number of multiples */
    "depthwise:mb1ic1ih9oc20kh3ph1",
    "depthwise:mb2ic9iw21oc9kw5pw2",
    "depthwise:mb1ic9iw21oc18kw3sw2pw1",
    "depthwise:mb1ic10ih8oc10kh1",
    "depthwise:mb1ic5id5ih6iw7oc10kd3kh2kw3pd1ph0pw1",
    "depthwise:mb1ic20iw1500oc20kw3pw1",
    "depthwise:mb2ic33iw90ow90oc33kw4pw3",
    "depthwise:mb1ic16iw90ow90oc16kw2dw24pw24",
    "depthwise:mb1ic6iw101oc18kw5sw3pw2",
    "depthwise:mb2ic20id4ih5iw6oc20kd3kh3kw3pd1ph1pw1",
    "depthwise:mb1ic33id9oc33kd3pd1sd2",
    "depthwise:mb1ic20id9ih8iw7oc40kd3kh2kw3sd2sh3sw1pd1ph0pw1",
    "depthwise:mb1ic17id11ih8iw10oc17kd2kh3kw2dd3dh1dw2pd1ph2pw0",
    "depthwise:mb1ic8id2ih3iw2oc8kd5kh3kw7pd2ph1pw3",

    "pointwise:mb1ic1ih3oc1kh1",
    "pointwise:mb2ic3ih5oc7kh1",
    "pointwise:mb1ic7ih5oc8kh1",
    "pointwise:mb1ic8ih5oc9kh1",
    "pointwise:mb1ic16ih6oc16kh1",
    "pointwise:mb1ic17ih6oc33kh1",
    "pointwise:mb1ic64ih7oc64kh1",
    "pointwise:mb3ic31ih7oc97kh1",
    "pointwise:mb1ic96ih14oc192kh1",
    "pointwise:mb1ic728ih3oc728kh1",
    "pointwise:mb1ic300ih1oc200kh1",
    "pointwise:mb6ic96ih27oc96kh1",
    "pointwise:mb1ic20ih15oc24kh1sh2",
    "pointwise:mb1ic20ih9iw8oc24kh1kw1sh3sw2",
    "pointwise:mb1ic20ih5oc24kh1ph1",
    "pointwise:mb1ic20ih9oh4oc24kh1ph0",
    "pointwise:mb1ic20ih6oh4oc24kh1sh2ph1",
    "pointwise:mb2ic20iw19oc24kw1",
    "pointwise:mb1ic5id3ih4iw5oc7kd1kh1kw1",
    "pointwise:mb1ic40iw700oc33kw1",
    "pointwise:mb2ic40iw61oc24kw1sw4pw2",
    "pointwise:mb2ic48id5ih6iw7oc40kd1kh1kw1",
    "pointwise:mb1ic24id5ih6iw7oc40kd1kh1kw1sd2sh1sw3pd1ph0pw2",
    "pointwise:mb1ic24id9ih6iw7od4oh6ow7oc40kd1kh1kw1pd0ph0pw0",

    "separable:mb1ic1ih7oc1kh3ph1",
    "separable:mb1ic3ih15oc10kh3",
    "separable:mb2ic7ih7oc9kh3ph1",
    "separable:mb1ic8ih7oc8kh3ph1",
    "separable:mb1ic16ih7oc17kh3ph1",
    "separable:mb1ic32ih14oc32kh3ph1",
    "separable:mb1ic33ih6oc65kh3ph1",
    "separable:mb1ic64ih28oc64kh3ph1",
    "separable:mb1ic96ih7oc192kh3ph1",
    "separable:mb1ic728ih3oc728kh3ph1",
    "separable:mb1ic2072ih3oc40kh3ph1",
    "separable:mb9ic20ih9oc24kh3ph1",
    "separable:mb3ic20ih11oc36kh5ph2",
    "separable:mb1ic20ih17oc24kh3sh2ph1",
    "separable:mb1ic20ih16oh8oc24kh3sh2",
    "separable:mb1ic20ih13iw10oc24kh3kw5sh2sw1ph1pw2",
    "separable:mb1ic20ih13oc24kh3dh1ph2",
    "separable:mb1ic20ih9oh9oc24kh4ph1",
    "separable:mb1ic20ih7oc24kh2sh2",
    "separable:mb1ic20ih19oh4oc24kh3ph1",
    "separable:mb1ic20ih3oc24kh7ph3",
    "separable:mb1ic20ih4oc24kh3ph4",
    "separable:mb1ic5ih9oc12kh3ph1dm2",
    "separable:mb1ic16ih9oc33kh3ph1dm3sh2",
    "separable:mb1ic1ih9oc16kh3ph1dm8",
    "separable:mb1ic130ih7oc40kh3ph1dm3",
    "separable:mb3ic9ih11iw8oc36kh5kw2sh1sw2ph2pw1dm8",
    "separable:mb1ic16ih10oc24kh3sh3dm5",
    "separable:mb1ic3ih12oc20kh3dh1ph2dm4",
    "separable:mb2ic7iw33ow33oc20kw4pw3dm2",
    "separable:mb1ic5iw700oc17kw3sw2pw1dm4",
    "separable:mb1ic6iw200oc18kw3sw9dm2",
    "separable:mb2ic3id5ih6iw7oc12kd3kh3kw3pd1ph1pw1dm3",
    "separable:mb1ic17id4ih5iw6oc20kd2kh3kw2sd1sh2sw3dd1dh0dw0pd1ph1pw0dm8",
    "separable:mb1ic20ih5oc12kh1",
    "separable:mb2ic9iw21oc20kw5pw2",
    "separable:mb1ic5id5ih6iw7oc8kd3kh2kw3pd1ph0pw1",
    "separable:mb1ic24iw300ow300oc32kw4pw3",
    "separable:mb2ic24id5ih6iw7oc40kd3kh3kw3pd1ph1pw1",
    "separable:mb1ic24id7ih8iw9oc12kd3kh3kw3sd2sh1sw2pd1ph1pw1dm2",
};

static const struct {
    conv_layout layout;
    bool bias;
    conv_post_op post_op;
    bool accumulate;
    fill_kind kind;
    conv_context (*context)(int threads);
    int threads;
} ways[] = {
    /* sanitizers see the even ones with a shape, the odd ones with the next: of each context and layout one */
    {CONV_NHWC, false, CONV_POST_NONE, false, FILL_INTEGERS, test_context, 2},
    {CONV_NHWC, true, CONV_POST_RELU6, true, FILL_INTEGERS, test_context, 1},
    {CONV_NHWC, true, CONV_POST_NONE, false, FILL_REALS, test_context, 2},
    {CONV_NHWC, false, CONV_POST_RELU, true, FILL_REALS, test_context, 3},
    {CONV_NCHW, false, CONV_POST_NONE, false, FILL_REALS, test_context, 2},
    {CONV_NCHW, true, CONV_POST_RELU, true, FILL_INTEGERS, test_context, 2},
    {CONV_NHWC, false, CONV_POST_NONE, true, FILL_INTEGERS, test_far_context, 2},
    {CONV_NHWC, true, CONV_POST_RELU6, false, FILL_REALS, test_far_context, 3},
};

int main(void)
{
    size_t count;
    outcome *outcomes = outcomes_create(&count);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t w = SANITIZED ? s % 2 : 0; w < sizeof ways / sizeof *ways; w += SANITIZED ? 2 : 1) {
            conv_problem p = test_problem(shapes[s], ways[w].layout, ways[w].bias, ways[w].post_op);
            conv_context ctx = ways[w].context(ways[w].threads);
            for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
                verify_options options = {
                    .kind = ways[w].kind, .seed = s + 1, .accumulate = ways[w].accumulate};
                if (p.variant == CONV_SEPARABLE && pass > CONV_BACKWARD) continue;
                if (pass == CONV_FORWARD) options.accumulate = false;
                outcomes_check(outcomes, count, &p, (conv_pass)pass, &options, &ctx);
            }
        }
    return outcomes_report("kernels", outcomes, count, true);
}
