/* The contests (contest.h) that a command's cases need, and the time they get. All parts that the wisdom
 * does not know share it evenly, except that none gets more than it needs (water filling): parts with short
 * calls have all their candidates and turns, the dearest share what is left. Without a budget that is a
 * minute, or CHOOSER_PART seconds a part where there are more than 400, which the default sweep does not
 * reach. Where it does not suffice the model's pick is used. */
#ifndef SEPBENCH_MEASURE_CHOOSER_H
#define SEPBENCH_MEASURE_CHOOSER_H

#include "wisdom.h"

#define CHOOSER_LEAST 60.0
#define CHOOSER_PART 0.15

typedef struct chooser chooser;

/* on_part (may be NULL) sees the name of each part before its contest. w: not NULL. */
chooser *chooser_create(wisdom *w, void (*on_part)(void *ctx, const char *name), void *ctx);
void chooser_destroy(chooser *c); /* NULL is fine */

/* Notes the parts of a row that is still to be measured. False: no memory. */
bool chooser_add(chooser *c, const record_row *row);
/* After all of them: the seconds for contests; 0: as above. */
void chooser_limit(chooser *c, double seconds);
/* The contests of rows that were added; they share threads, for which machine_bind_threads has made the
 * pool. Rows whose strategies compute wrongly or fail get that status with a reason; skip (NULL: none): rows
 * to leave out. Then each row has its strategies in words. */
void chooser_run(chooser *c, record_row *rows, const bool *skip, size_t count);

/* How many parts have several strategies; of how many the fastest was known; was found now. */
typedef struct {
    int parts, known, chosen;
    double seconds; /* that the contests took */
} chooser_counts;
chooser_counts chooser_so_far(const chooser *c);
/* Seconds that the contests to come will take at most. */
double chooser_left(const chooser *c);

#endif
