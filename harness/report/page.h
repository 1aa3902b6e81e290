/* The sections of the page; each writes HTML, or nothing when the run has nothing for it. */
#ifndef SEPBENCH_REPORT_PAGE_H
#define SEPBENCH_REPORT_PAGE_H

#include "report.h"

typedef struct {
    const report_data *data;
    const verdict *verdict;
    const report_plots *plots;
    const char *versus;        /* engine, or NULL */
    const char *dir;           /* of the report, where the SVGs are */
    const struct sides *sides; /* of a page of several machines, whose data is its colours alone; else NULL */
} report_page;

/* report/answer.c */
void page_answer(FILE *out, const report_page *page);   /* the first screen's pictures and tables */
void page_cautions(FILE *out, const report_page *page); /* what to keep in mind */
/* report/why.c: what explains the times */
void page_why(FILE *out, const report_page *page);
/* report/waterfalls.c */
void page_waterfalls(FILE *out, const report_page *page);
/* report/staircase.c: of a run of the suite why */
void page_staircase(FILE *out, const report_page *page);
/* report/each.c: implementation by implementation */
void page_each(FILE *out, const report_page *page);
/* report/tables.c */
void page_unmeasured(FILE *out, const report_page *page); /* rows without a time, with reasons */
void page_machine(FILE *out, const report_page *page);    /* run.json as a table */
/* report/engines.c: what each engine makes of the question */
void page_engines(FILE *out, const report_page *page);
/* report/versus.c */
void page_versus(FILE *out, const report_page *page);
/* report/advice_page.c: of a run of advise */
void page_advice(FILE *out, const report_page *page);
/* report/networks_page.c */
void page_networks(FILE *out, const report_page *page);
/* report/sections.c */
void page_map(FILE *out, const report_page *page);
void page_scaling(FILE *out, const report_page *page);
void page_cold(FILE *out, const report_page *page);
/* report/training.c */
void page_training(FILE *out, const report_page *page);
/* report/scaling.c: training on more ranks */
void page_ranks(FILE *out, const report_page *page);

/* sides/page.c: several machines */
void page_machines_meta(FILE *out, const report_page *page);
void page_machines_answer(FILE *out, const report_page *page);      /* verdicts and speedups */
void page_machines_best(FILE *out, const report_page *page);        /* the best of each machine */
void page_machines_differences(FILE *out, const report_page *page); /* what differs between machines */

/* ---- report/html.c */
/* Writes index.html into the page's folder from that template. */
bool page_write(const report_page *page, const char *name, conv_error *err);

/* ---- pieces of them: report/html.c, report/tables.c */

/* The pictures of a section, under its title where it has one, those of a backward's parts folded away. False:
 * there are none, and nothing is written. */
bool page_plots(FILE *out, const report_page *page, const char *section);
/* The picture of that name. False: there is none. */
bool page_figure(FILE *out, const report_page *page, const char *name);

/* "Forward", "Backward", "Backward, data", "Backward, weights". */
const char *page_pass(conv_pass pass);
/* The first cell of a row: "256", "256 -> 512", and the multiplier. */
void page_channels(FILE *out, const report_point *point);
/* "153 to 160 µs": one unit where both ends share it. */
void page_interval(FILE *out, const rule_time *time);
/* A <td>: median, below it the interval and the implementation; "-" when row is NULL. */
void page_time_cell(FILE *out, const record_row *row);
/* A <td>: "3.41x", below it the interval or the words for an overlap; where it is not determined, why. Tables
 * of answers show no figure then; others (rough) show it in grey. */
void page_ratio_cell(FILE *out, const report_ratio *ratio, bool rough);

#endif
