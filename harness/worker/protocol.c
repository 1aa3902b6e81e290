#include "protocol.h"

#include <stdio.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "../json.h"
#include "../machine/machine.h"

json_t *protocol_case(const record_row *row)
{
    char text[PROBLEM_STRING_MAX + 32], problem[PROBLEM_STRING_MAX];
    const conv_problem *p = &row->problem;
    snprintf(text, sizeof text, "%s:%s", conv_variant_name(p->variant), problem_format(p, problem));
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:b, s:b}", "problem", text, "pass", conv_pass_name(row->pass),
                     "impl", row->impl, "threads", row->threads, "layout", conv_layout_name(p->layout), "bias",
                     (int)p->bias, p->post_op == CONV_POST_RELU6 ? "relu6" : "relu",
                     (int)(p->post_op != CONV_POST_NONE));
}

conv_status protocol_read_case(const json_t *request, record_row *row, conv_error *err)
{
    const char *problem, *pass, *impl, *layout;
    int bias, clipped;
    bool six = json_object_get(request, "relu6") != NULL;
    *row = (record_row){.cache = CACHE_WARM};
    record_clear_measured(row);
    if (json_unpack((json_t *)request, "{s:s, s:s, s:s, s:i, s:s, s:b, s:b}", "problem", &problem, "pass",
                    &pass, "impl", &impl, "threads", &row->threads, "layout", &layout, "bias", &bias,
                    six ? "relu6" : "relu", &clipped) != 0)
        return conv_fail(err, CONV_INVALID, "the request does not name a whole case");
    conv_status status = problem_parse(problem, &row->problem, NULL, err);
    if (status != CONV_OK) return status;
    if (!conv_pass_parse(pass, &row->pass)) return conv_fail(err, CONV_REFUSED, "unknown pass '%s'", pass);
    if (!conv_layout_parse(layout, &row->problem.layout))
        return conv_fail(err, CONV_REFUSED, "unknown layout '%s'", layout);
    if (row->threads < 1 || row->threads > MACHINE_MAX_THREADS)
        return conv_fail(err, CONV_INVALID, "threads: %d", row->threads);
    row->problem.bias = bias;
    row->problem.post_op = !clipped ? CONV_POST_NONE : six ? CONV_POST_RELU6 : CONV_POST_RELU;
    snprintf(row->impl, sizeof row->impl, "%s", impl);
    return conv_problem_check(&row->problem, err);
}

case_status protocol_status(const json_t *reply)
{
    const char *name = json_text(reply, "status", "");
    for (int s = 0; s < CASE_STATUS_COUNT; s++)
        if (strcmp(name, case_status_name((case_status)s)) == 0) return (case_status)s;
    return CASE_FAILED;
}
