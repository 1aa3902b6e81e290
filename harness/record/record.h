/* The results store: one folder per run, written row by row, readable after an interruption.
 *
 *   results/<run_id>/run.json      machine, compiler, flags, versions, commit, arguments, warnings
 *   results/<run_id>/results.csv   one row per case (RFC 4180; columns below, documented in results/README.md)
 *   results/<run_id>/samples.csv   one row per repetition
 *   results/latest                 symlink to the newest run that has a row; for runs in a folder named results
 */
#ifndef SEPBENCH_RECORD_H
#define SEPBENCH_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kernels/problem.h"

enum { RECORD_SCHEMA = 1 }; /* "schema" in run.json; another number is refused */

typedef enum { CASE_OK, CASE_REFUSED, CASE_SKIPPED, CASE_WRONG, CASE_FAILED, CASE_STATUS_COUNT } case_status;
const char *case_status_name(case_status s); /* "ok" "refused" "skipped" "wrong" "failed" */
/* Of a case that could not be run: too little memory is skipped, whatever is not a refusal failed. */
case_status case_status_of(conv_status s);

typedef enum { CACHE_WARM, CACHE_COLD, CACHE_COUNT } cache_mode;
const char *cache_mode_name(cache_mode m);

enum { CASE_NAME_MAX = 512 };

/* ---- one repetition */

/* Repetitions by which the fastest of a group is chosen, and those that its time is reported from. */
typedef enum { SAMPLE_CHOOSES, SAMPLE_REPORTS, SAMPLE_USE_COUNT } sample_use;

/* What shows that the cores were somebody else's during a repetition. */
enum {
    MARK_WAITED = 1,   /* threads were ready to run and had no core */
    MARK_SWITCHED = 2, /* threads were taken off their cores */
    MARK_STOLEN = 4,   /* the hypervisor gave the cores to another machine */
    MARK_SLOWED = 8,   /* a loop of known cost took longer before or after */
};

typedef struct {
    double ns; /* nanoseconds of one call */
    int64_t iterations;
    int visit;      /* 0 is the first; the repetitions of a visit follow one another */
    double seconds; /* when it began, since the run did */
    sample_use use;
    unsigned marks;     /* of MARK_ */
    double handover_ns; /* of a barrier of the threads just before; NaN: not known */
} record_sample;

/* ---- one row */

/* How the race of its group ended for a row: the fastest of its kind, not told apart from it, or clearly behind
 * it and so not measured further. NONE: there was no race. */
typedef enum { RACE_NONE, RACE_AHEAD, RACE_NEAR, RACE_BEHIND, RACE_STATE_COUNT } race_state;
const char *race_state_name(race_state s); /* "" "ahead" "near" "behind" */

/* One row of results.csv. Everything the case is, then what was found. NaN or a negative integer in a
 * measured field means not available and is written as an empty field. */
typedef struct {
    char run_id[64], suite[32], layer[PROBLEM_NAME_MAX];
    conv_problem problem;
    conv_pass pass;
    char impl[32];
    cpu_isa isa;
    int threads;
    cache_mode cache;
    int group; /* rows of one problem, pass, threads and cache mode share a number; not stored */

    case_status status;
    char reason[160]; /* why refused/skipped/wrong/failed; for ok rows a note such as "nchw by transpose" */
    int repetitions;
    double median_ns, ci95_low_ns, ci95_high_ns, min_ns, mad_ns; /* one call of execute */
    double pack_ns, plan_ns; /* pack_ns includes enter + leave where an implementation has them */
    int64_t scratch_bytes;
    double percent_peak; /* gflops / measured FMA peak of that ISA and thread count x 100 */
    char bound[16];      /* "compute" or "memory": which kind `limit` is */
    double max_abs_error, error_bound;
    char limit[16]; /* which takes longest alone: limit_name() of kernels/limits.h */
    double limit_ns, percent_limit, barrier_ns;
    int visits;    /* of how many visits the repetitions are */
    int disturbed; /* repetitions among them that are marked, when there were too few others */
    int moved;     /* 1: the cores were moved meanwhile, nearer or farther apart, and the interval holds both */
    double choice_ns; /* median of the repetitions that choose */
    race_state race;
    /* Strategies of the plan, in words, after "model: " or "3: " where --strategy said so; what the cost
     * model's pick took where they were chosen by a contest and the row is a single part (measure/parts.h). */
    char strategy[640];
    double model_ns;
} record_row;

/* separable/forward/fused-avx512/mb1ic64ih28oc64kh3ph1/nhwc/t2/warm (+bias, +relu or +relu6 after the layout).
 * Returns buffer[CASE_NAME_MAX]. */
char *record_case_name(const record_row *row, char *buffer);
/* The command that measures this case again: `sepbench bench 'separable:...' --pass ... --impl ...`. */
char *record_repro(const record_row *row, char *buffer, size_t size);

/* Empties what is measured: NaN, negative, "", and status skipped. A new row starts so. */
void record_clear_measured(record_row *row);

/* All of results.csv's columns in order, for the header and the README's check. */
extern const size_t record_column_count;
const char *record_column_name(size_t i);

/* ---- writing */
typedef struct record_store record_store;

/* Creates out_dir (default results/<run_id> when NULL; run_id = UTC time + short host) and run.json, or with
 * resume reopens it (results/latest when NULL) and loads what is there; a torn last line is dropped. "schema"
 * and "run_id" of run are set here. One process writes a folder at a time. NULL with err: not writable, a
 * results folder of another schema, a folder that holds something else. */
record_store *record_open(const char *out_dir, bool resume, json_t *run, conv_error *err);
const char *record_dir(const record_store *s);
const char *record_run_id(const record_store *s);
/* Whether a row of that case name with a final status (ok, refused, wrong) is already there. */
bool record_has(const record_store *s, const char *case_name);
/* Each appends one line at once. A second row of a case replaces the first (last one wins while the run is
 * written, record_close tidies the file). False when the disk is full or the folder gone: err says so. */
bool record_write(record_store *s, const record_row *row, conv_error *err);
bool record_write_sample(record_store *s, const char *case_name, int repetition, const record_sample *sample,
                         conv_error *err);
/* Replaces run.json atomically. */
bool record_update_run(record_store *s, json_t *run, conv_error *err);
void record_close(record_store *s);

/* ---- reading */
typedef struct {
    char dir[4096], run_id[64];
    json_t *run; /* run.json */
    record_row *rows;
    size_t count;
    void *index; /* record_find's */
} record_run;

/* Which command made it: "kind" in run.json. */
typedef enum { RECORD_BENCH, RECORD_ADVISE, RECORD_TRAINING, RECORD_KINDS } record_kind;
#define RECORD_IS(kind) (1u << (kind))
enum { RECORD_WITH_CASES = RECORD_IS(RECORD_BENCH) | RECORD_IS(RECORD_ADVISE), RECORD_WHY_MAX = 160 };

/* Whether run.json is of this program's schema and one of the kinds that are `needed`, bits of RECORD_IS; else
 * why not, in words. */
bool record_suits(const json_t *run, unsigned needed, char why[RECORD_WHY_MAX]);
const char *record_kind_name(record_kind kind); /* as run.json has it */
/* Whether the folder holds a run for which record_suits is false; of what cannot be read, loading tells. */
bool record_other_kind(const char *dir, unsigned needed, char why[RECORD_WHY_MAX]);

/* Loads a run's folder ("results/latest" when dir is NULL) that record_suits. False with err naming file, line
 * and value. Texts are made printable, but for the words of its command line. */
bool record_load_kind(const char *dir, unsigned needed, record_run *run, conv_error *err);
bool record_load(const char *dir, record_run *run, conv_error *err); /* the same of RECORD_WITH_CASES */
void record_free(record_run *run);
/* The row of a loaded run with that case name, or NULL. */
const record_row *record_find(const record_run *run, const char *case_name);

/* The most threads of a row; 0: there is none. */
int record_most_threads(const record_run *run);
/* In what the machines of two runs differ, as run.json and the rows have it: "cpu", "host", "isa_allowed" or
 * "threads" (the most), and what each has; NULL: in nothing, it is one machine. */
enum { RECORD_WORD_MAX = 256 };
const char *record_machine_differs(const record_run *a, const record_run *b, char first[RECORD_WORD_MAX],
                                   char second[RECORD_WORD_MAX]);

/* A run's repetitions, case by case in the order in which they ran; empty where the file is of a version that
 * did not tell visits. */
typedef struct record_samples record_samples;
record_samples *record_samples_load(const char *dir, conv_error *err);
const record_sample *record_samples_of(const record_samples *all, const char *case_name, size_t *count);
void record_samples_free(record_samples *all);

#endif
