/* The sections of the page; each writes HTML, or nothing when the run has nothing for it. */
#ifndef SEPBENCH_REPORT_PAGE_H
#define SEPBENCH_REPORT_PAGE_H

#include "report.h"

typedef struct {
    const report_data *data;
    const verdict *verdict;
    const report_plots *plots;
    const char *versus; /* peer's prefix, or NULL */
    const char *dir;    /* of the report, where the SVGs are */
} report_page;

/* report/tables.c */
void page_comparison(FILE *out, const report_page *page); /* dense against separable per channel count */
void page_unmeasured(FILE *out, const report_page *page); /* rows without a time, with reasons */
void page_machine(FILE *out, const report_page *page);    /* run.json as a table */
/* report/versus.c */
void page_versus(FILE *out, const report_page *page);
/* report/networks.c */
void page_networks(FILE *out, const report_page *page);
/* report/sections.c */
void page_scaling(FILE *out, const report_page *page);
void page_cold(FILE *out, const report_page *page);
/* report/waterfalls.c */
void page_waterfalls(FILE *out, const report_page *page);
/* report/training.c */
void page_training(FILE *out, const report_page *page);

/* The pictures of a section, without a heading of their own when it has no title. */
void page_plots(FILE *out, const report_page *page, const char *section);

/* A <td>: median, below it the interval and the implementation; "-" when row is NULL. */
void page_time_cell(FILE *out, const record_row *row);
/* A <td>: "3.41x", below it the interval or the words for an overlap. */
void page_ratio_cell(FILE *out, const report_ratio *ratio);

#endif
