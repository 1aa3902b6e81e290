/* Words of a command line: those that can be stored, and how a shell is given them back. */
#ifndef SEPBENCH_WORDS_H
#define SEPBENCH_WORDS_H

#include <stdbool.h>

/* Whether the word is UTF-8. JSON holds nothing else, so any other word could not come back from run.json;
 * where it is not, one line on stderr says so, `what` being what the word is. */
bool words_check(const char *what, const char *word);

/* The word as a shell reads it, in quotes where it needs them; to be freed. NULL: no memory. */
char *words_quote(const char *word);

#endif
