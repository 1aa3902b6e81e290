#include "inject.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The next piece of the specification up to a colon, compared with a name. */
static bool next_is(const char **at, const char *name)
{
    size_t length = strcspn(*at, ":");
    bool same = strlen(name) == length && strncmp(*at, name, length) == 0;
    *at += length + ((*at)[length] == ':');
    return same;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The other threads wait in the pool's barrier meanwhile, as they would for a slow one. */
static void delay(double started, double factor)
{
    const double until = started + factor * (now() - started);
    while (now() < until) {
    }
}

static void spoil(const conv_plan *plan, const conv_args *args)
{
    const conv_sizes n = conv_problem_sizes(&plan->problem);
    if (plan->problem.oc % 2 == 0) return;
    if (plan->pass == CONV_FORWARD)
        args->dst[n.dst - 1] += 1;
    else if (plan->pass == CONV_BACKWARD_DATA)
        args->diff_src[n.src - 1] += 1;
    else
        args->diff_weights[n.weights - 1] += 1;
}

conv_status inject_execute(const conv_plan *plan, const conv_args *args)
{
    const char *at = INJECT;
    const bool slow = strncmp(at, "delay:", 6) == 0;
    at += 6; /* "wrong:" is as long */
    bool chosen = next_is(&at, plan->impl->name);
    chosen = next_is(&at, conv_variant_name(plan->impl->variant)) && chosen;
    chosen = next_is(&at, conv_pass_name(plan->pass)) && chosen;
    const double started = now();
    conv_status status = plan->impl->execute(plan, args);
    if (!chosen || status != CONV_OK) return status;
    if (slow)
        delay(started, strtod(at, NULL));
    else
        spoil(plan, args);
    return status;
}
