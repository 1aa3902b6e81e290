/* The runs of several machines side by side. load.c takes the folders, data.c finds what all of
 * them measured, words.c the sentences, differences.c in what the machines differ; plots.c
 * draws, page.c writes the page, print.c the terminal's text, csv.c the tables. */
#ifndef SEPBENCH_SIDES_H
#define SEPBENCH_SIDES_H

#include "../report/chart.h"
#include "../report/verdict.h"

enum { SIDES_MAX = 64, SIDES_LABEL_MAX = 112, SIDES_LABEL_WIDTH = 19 };

/* A machine as one run shows it. */
typedef struct {
    record_run run;
    report_data data;
    char label[SIDES_LABEL_MAX]; /* the host's name and, of several runs of that name, what tells this one */
    int threads;                 /* the most at which it compares dense with separable; fewer are left out */
    verdict_tally tally[2];      /* over the common comparisons, by pass */
} side;

/* Dense and separable of one shape and pass. */
typedef struct {
    const report_point *key;           /* somebody's */
    const report_point *of[SIDES_MAX]; /* each machine's; NULL: it has none */
} sides_point;

typedef struct {
    report_setting shape; /* threads 0, no points */
    sides_point *points;  /* by pass, then input, then output channels */
    size_t count;
} sides_setting;

typedef struct sides {
    side *machines[SIDES_MAX];
    int count;
    sides_setting *settings; /* what all machines have, those with the most comparisons first */
    size_t setting_count;
    char **notes; /* what is not in the comparison, and why */
    size_t note_count;
} sides;

typedef struct {
    const char *const *runs; /* folders or names in results/; a name twice is one */
    int run_count;
    const char *const *notes; /* what else the report shall say, as of a machine that was lost */
    int note_count;
    const char *out; /* NULL: reports/machines */
} sides_request;

/* ---- sides.c */
/* Makes the report: index.html, pictures, machines.csv and differences.csv in `out`, the verdict on stdout. A
 * folder that holds no run ends it before anything is written. Returns the program's exit code, after one line
 * on stderr where it is not EXIT_FINE. */
int sides_report(const sides_request *request);

/* ---- load.c */
/* How many different folders of runs with cases are among them. */
int sides_count(const char *const *runs, int count);
/* An exit code, with err where it is not EXIT_FINE and then nothing to free. */
int sides_load(const sides_request *request, sides *s, conv_error *err);
void sides_free(sides *s);
void sides_drop(side *m);
void sides_note(sides *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- data.c */
/* Leaves out machines of another problem set, with notes, and finds what the others have in common. */
int sides_meet(sides *s, conv_error *err);
/* Common comparisons of the pass. */
size_t sides_comparisons(const sides *s, conv_pass pass);
/* False where a side has no time. */
bool sides_speedup(const sides *s, int machine, const sides_point *p, report_ratio *ratio);
/* The row of its best exact implementation, or NULL. */
const record_row *sides_best(const sides *s, int machine, const sides_point *p, conv_variant variant);
/* Whether its points have equal channels in and out at two counts or more: a curve. */
bool sides_is_curve(const sides_setting *setting);
/* Whether it has a point of the pass. */
bool sides_has_pass(const sides_setting *setting, conv_pass pass);

/* ---- words.c */
/* The sentence, and what to keep in mind. */
void sides_verdict(const sides *s, verdict *v);
/* "Example CPU" of run.json's machine, printable and at most size - 1 bytes. Returns buffer. */
char *sides_text(const side *m, const char *name, char *buffer, size_t size);
/* "avx2 at 32, avx512 from 64 to 2048": which implementation is the best. Malloced; NULL: none has a time. */
char *sides_best_words(const sides *s, int machine, const sides_setting *setting, conv_variant variant,
                       conv_pass pass);

/* ---- differences.c */
typedef struct {
    char name[64];
    char *text[SIDES_MAX]; /* NULL: the run does not say */
    bool differs;
} sides_difference;
typedef struct {
    sides_difference *rows;
    size_t count;
} sides_differences;
bool sides_differences_create(const sides *s, sides_differences *d);
void sides_differences_destroy(sides_differences *d);

/* ---- plots.c */
/* The colours of the machines' lines, as if they were implementations. */
enum { SIDES_COLORS = 8, SIDES_LINES = 2 * SIDES_COLORS };
extern const report_data sides_palette;
/* "machines-forward-1", of further machines than a picture shows "machines-forward-1-2". Returns buffer[64]. */
char *sides_picture(conv_pass pass, size_t setting, int part, char *buffer);
bool sides_compose(const void *sides, const chart_album *album);

/* ---- print.c, csv.c */
void sides_print(FILE *out, const sides *s, const verdict *v);
bool sides_write_csv(const sides *s, const char *dir, conv_error *err);

#endif
