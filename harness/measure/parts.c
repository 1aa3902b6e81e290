#include "parts.h"

#include <stdio.h>

#include "../machine/machine.h"

void part_candidates(const atomic_part *part, int threads, conv_candidates *candidates)
{
    const conv_context context = machine_context(threads);
    conv_strategies(part->impl, &part->problem, part->pass, &context, candidates);
}

static int add_part(const atomic_part *part, int threads, atomic_part *parts, int count)
{
    conv_candidates candidates;
    if (count == PARTS_MAX || conv_refuse(part->impl, &part->problem, part->pass) != NULL) return count;
    part_candidates(part, threads, &candidates);
    if (candidates.count == 0) return count;
    parts[count] = *part;
    return count + 1;
}

/* Appends to parts[count]; returns how many there are then. */
static int add_parts(const conv_impl *impl, const conv_problem *p, conv_pass pass, int threads,
                     atomic_part *parts, int count)
{
    static const conv_pass components[] = {CONV_BACKWARD_DATA, CONV_BACKWARD_WEIGHTS};
    atomic_part part = {impl, conv_native(impl, p), pass};
    if (impl->stage[0] != NULL) {
        conv_problem depthwise = conv_depthwise_stage(&part.problem),
                     pointwise = conv_pointwise_stage(&part.problem);
        count = add_parts(impl->stage[0], &depthwise, pass, threads, parts, count);
        return add_parts(impl->stage[1], &pointwise, pass, threads, parts, count);
    }
    for (int i = 0; i < 2 && pass == CONV_BACKWARD && p->variant != CONV_SEPARABLE; i++) {
        part.pass = components[i];
        count = add_part(&part, threads, parts, count);
    }
    part.pass = pass;
    return add_part(&part, threads, parts, count);
}

int parts_of(const conv_impl *impl, const conv_problem *p, conv_pass pass, int threads,
             atomic_part parts[PARTS_MAX])
{
    return add_parts(impl, p, pass, threads, parts, 0);
}

int parts_of_row(const record_row *row, atomic_part parts[PARTS_MAX])
{
    const conv_impl *impl = conv_find(row->impl, row->problem.variant);
    if (impl == NULL || conv_problem_check(&row->problem, NULL) != CONV_OK ||
        conv_refuse(impl, &row->problem, row->pass) != NULL)
        return 0;
    return parts_of(impl, &row->problem, row->pass, row->threads, parts);
}

char *part_name(const atomic_part *part, int threads, char *name)
{
    char text[PROBLEM_STRING_MAX];
    const conv_problem *p = &part->problem;
    snprintf(name, PART_NAME_MAX, "%s %s %s %s %s%s%s%s t%d", part->impl->name, conv_variant_name(p->variant),
             conv_pass_name(part->pass), problem_format(p, text), conv_layout_name(p->layout),
             p->bias ? "+bias" : "", p->post_op != CONV_POST_NONE ? "+" : "", conv_post_op_word(p->post_op),
             threads);
    return name;
}
