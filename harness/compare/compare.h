/* Is head slower than base? What a comparison measured, case by case, and what follows from it.
 *
 * The gate (session.c) runs both programs in turns and fills in pairs d = ln(head / base); a comparison of two
 * stored runs (stored.c) has only medians with their intervals. Judging is margin.c and verdicts.c on top of
 * paired.h, showing is print.c and write.c: neither measures, so both are tested on made-up data. */
#ifndef SEPBENCH_COMPARE_H
#define SEPBENCH_COMPARE_H

#include <stdio.h>

#include "../record/record.h"

enum { COMPARE_SCHEMA = 1, COMPARE_PAIRS_MAX = 128, COMPARE_CONTROL_MAX = 1024 };

typedef enum {
    COMPARE_UNCHANGED,
    COMPARE_REGRESSED,    /* confirmed; the only one that makes exit 1 */
    COMPARE_FASTER,       /* confirmed */
    COMPARE_INCONCLUSIVE, /* flagged but not confirmed, or too noisy for its own margin: reason says which */
    COMPARE_NOT_COMPARED, /* one side refuses it, does not have it, or failed: reason. Set by the engine */
    COMPARE_WRONG,        /* head computes it wrongly: reason, repro. Set by the engine; makes exit 3 */
    COMPARE_VERDICT_COUNT
} compare_verdict;
const char *compare_verdict_name(compare_verdict v); /* "UNCHANGED" "REGRESSED" ... "NOT COMPARED" "WRONG" */

typedef struct {
    /* ---- the engine's */
    record_row row; /* problem, pass, impl, isa, threads: what record_case_name and record_repro read */
    char name[CASE_NAME_MAX];            /* record_case_name */
    char repro[CASE_NAME_MAX + 128];     /* the command that shows a wrong result; else "" */
    char base_plan[192], head_plan[192]; /* note and byte counts of the plans */
    int64_t iterations;                  /* calls in one batch, the same on both sides */
    int batches;                         /* in one sample */
    double base_ns, head_ns;             /* medians of one call over all samples; NAN: none */
    size_t screen_count, confirm_count, null_count;
    double screen[COMPARE_PAIRS_MAX];  /* d = ln(head / base), one a round: fresh processes in each */
    double confirm[COMPARE_PAIRS_MAX]; /* fresh pairs, by freshly started workers; flagged cases only */
    double null[COMPARE_PAIRS_MAX];    /* ln(base / base): two workers of the same base binary */

    /* ---- the judge's; COMPARE_NOT_COMPARED and COMPARE_WRONG stay as they come */
    compare_verdict verdict;
    bool flagged;            /* by compare_judge_screen: wants confirmation (slower, or faster) */
    bool warning;            /* confirmed slower, but nothing in the kernels differs: layout or environment */
    double ratio, low, high; /* head / base, Hodges-Lehmann, and its 95% interval; NAN, or 0 and INFINITY */
    double catchable; /* smallest slowdown as a ratio (1.06) caught at 90% power; NAN unknown, INFINITY never */
    double p_screen, p_confirm; /* of "not slower than the margin"; p_confirm after Holm; 1 when not tested */
    char reason[160];           /* for people; "" when the verdict says all */
} compare_case;

typedef struct {
    char path[1024]; /* binary or run folder */
    char build[32];  /* machine_build_id of the binary */
    char commit[64]; /* "unknown" outside git */
    bool dirty;
    char kernels[80]; /* identity of all kernel code: sources, compiler, flags; "" unknown */
    char compiler[64];
    char inject[80]; /* what `make INJECT=` put in; "" for a normal build */
} compare_side;

typedef enum { COMPARE_GATE, COMPARE_STORED } compare_kind;

typedef struct {
    /* ---- the engine's */
    compare_kind kind;
    compare_side base, head;
    bool kernels_identical;                                  /* all kernel code, compiler and flags */
    char cpu[64], host[64], isa[16], suite[64], started[32]; /* started: 2026-01-31T12:00:00Z */
    int threads;
    bool shared_runner;  /* a CI's or a busy virtual machine: the margin's floor is 5%, else 3% */
    double margin_floor; /* --margin, as a fraction (0.04); 0: by shared_runner */
    size_t screen_pairs, confirm_pairs; /* planned per case; what was measured may be fewer */
    double seconds;                     /* of the session so far */
    size_t count;
    compare_case *cases;
    /* A scalar loop in the gate's own process, frozen in source and flags:
     * any change of it is the machine's. */
    size_t control_count;
    double control[COMPARE_CONTROL_MAX];    /* ln(second / first) of back-to-back pairs, in random order */
    double control_ns[COMPARE_CONTROL_MAX]; /* first of each pair, in the order measured over the session */
    int64_t samples, disturbed; /* samples taken; those whose threads waited for a core another program had */

    /* ---- the judge's */
    double margin; /* as ln ratio's fraction: 0.03 is 3%; the largest of floor, 2 x shift, spread */
    double null_shift, null_spread, control_drift; /* of base against base and of the control; NAN unknown */
    char margin_why[96];                           /* which of them made the margin */
    bool invalid; /* base against base, or the control, drifted, or nothing was compared */
    char invalid_why[200];
} compare_result;

/* After the screen: fills ratio, interval and p_screen, and sets `flagged`. */
void compare_judge_screen(compare_result *r);
/* At the end: everything of the judge's. A COMPARE_STORED result comes with ratio, low, high filled in (from
 * the runs' intervals) and gets its margin and verdicts. */
void compare_judge(compare_result *r);
/* EXIT_WRONG before EXIT_INVALID before EXIT_REGRESSION before EXIT_FINE. */
int compare_exit_code(const compare_result *r);

/* The table, at most 100 columns where names allow, and one line that says the outcome. all: also every
 * unchanged case. */
void compare_print(FILE *out, const compare_result *r, bool all);
/* For a CI's job summary. */
void compare_markdown(FILE *out, const compare_result *r);
/* ::error:: and ::warning:: lines of GitHub Actions. */
void compare_annotations(FILE *out, const compare_result *r);
/* DIR/compare.csv, DIR/compare.json, DIR/compare.md; DIR exists. False with err. */
bool compare_write(const char *dir, const compare_result *r, conv_error *err);

#endif
