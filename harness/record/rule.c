#include "rule.h"

#include <math.h>

bool rule_less(double a, double least) { return !isnan(a) && (isnan(least) || a < least); }

bool record_faster(const record_row *a, const record_row *b)
{
    if (a->status != CASE_OK) return false;
    if (b == NULL || b->status != CASE_OK) return true;
    if ((a->race == RACE_BEHIND) != (b->race == RACE_BEHIND)) return b->race == RACE_BEHIND;
    bool chosen = isfinite(a->choice_ns) && isfinite(b->choice_ns);
    if (a->race != RACE_NONE && b->race != RACE_NONE && isfinite(a->choice_ns) != isfinite(b->choice_ns))
        return isfinite(a->choice_ns); /* the other met the cores as no other row did */
    return chosen ? rule_less(a->choice_ns, b->choice_ns) : rule_less(a->median_ns, b->median_ns);
}

rule_time rule_time_of(const record_row *row)
{
    rule_time t = {row->median_ns, row->ci95_low_ns, row->ci95_high_ns, row->disturbed > 0, row->moved > 0};
    if (row->visits >= 0 && row->visits < RULE_VISITS) t.low = t.high = NAN;
    return t;
}

static bool has_interval(const rule_time *t) { return isfinite(t->low) && isfinite(t->high); }

/* Of near and of far cores both are right, and neither is the answer. */
static bool is_moved(const rule_time *t) { return t->moved && t->high > RULE_MOVED * t->low; }

bool rule_shown(const rule_time *t)
{
    return has_interval(t) && t->high <= RULE_WIDEST * t->low && !is_moved(t) && !t->disturbed;
}

/* The interval of the ratio of two times that were measured independently, from theirs, on logarithms: G. Y.
 * Zou and A. Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27,
 * 2008. Dividing the ends crosswise would claim far less than the two intervals say together. */
rule_ratio rule_compare(rule_time first, rule_time second)
{
    double down = hypot(log(first.median / first.low), log(second.high / second.median));
    double up = hypot(log(first.high / first.median), log(second.median / second.low));
    double value = first.median / second.median;
    rule_ratio r = {value, value * exp(-down), value * exp(up), RATIO_SAME};
    if (first.disturbed || second.disturbed)
        r.outcome = RATIO_BUSY;
    else if (!has_interval(&first) || !has_interval(&second))
        r.outcome = RATIO_FEW;
    else if (is_moved(&first) || is_moved(&second))
        r.outcome = RATIO_MOVED;
    else if (r.high > RULE_WIDEST * r.low)
        r.outcome = RATIO_BUSY;
    else if (r.low > 1)
        r.outcome = RATIO_FASTER;
    else if (r.high < 1)
        r.outcome = RATIO_SLOWER;
    return r;
}

bool rule_determined(ratio_outcome outcome) { return outcome < RATIO_FEW; }

const char *rule_reason(ratio_outcome outcome)
{
    static const char *const reasons[RATIO_OUTCOMES] = {[RATIO_FEW] = "too few repetitions",
                                                        [RATIO_MOVED] = "the host moved the cores",
                                                        [RATIO_BUSY] = "the machine was busy"};
    return reasons[outcome] != NULL ? reasons[outcome] : "";
}

double rule_share(const rule_ratio *ratio, double promised)
{
    double share = ratio->value / promised;
    bool shown = rule_determined(ratio->outcome) &&
                 (share <= RULE_MOST_SHARE || ratio->low / promised > RULE_MOST_SHARE);
    return shown ? share : NAN;
}
