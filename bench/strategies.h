/* --strategy and --wisdom, for the commands that have them. */
#ifndef SEPBENCH_STRATEGIES_H
#define SEPBENCH_STRATEGIES_H

#include <argp.h>

#include "../harness/measure/wisdom.h"

typedef struct {
    const char *strategy, *wisdom; /* as given; NULL: measured, the file that the program keeps */
} strategy_words;

/* The argp children that fill a strategy_words; input of the child parser is strategy_words *. */
extern const struct argp strategies_argp;

/* Opens the wisdom, and has every plan made by it from now on. EXIT_FINE, or EXIT_USAGE after one line on
 * stderr. */
int strategies_open(const strategy_words *words, wisdom **w);
/* No plan is made by it any more. NULL is fine. */
void strategies_close(wisdom *w);

#endif
