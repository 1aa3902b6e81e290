/* Text from elsewhere: a stranger's files, another program, a command line. Names are checked here when they
 * are read; what goes to a terminal or a log is made printable here. (HTML is escaped by report_escape, by the same
 * rule.) */
#ifndef SEPBENCH_TEXT_H
#define SEPBENCH_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* An implementation, a run, a thing the program itself names: letters, digits and . _ + -, not first a sign.
 * Safe as a folder's name, in HTML and CSS, and in a gnuplot script. */
bool text_is_name(const char *text);
/* Such names with commas between them, as --impl takes them. */
bool text_is_name_list(const char *text);
/* A model, whose name is a folder's too: what a user may call a file of his, unless gnuplot, a page or a
 * terminal would take it for more than text. Nothing hidden, at most TEXT_MODEL_MAX - 1 bytes. */
enum { TEXT_MODEL_MAX = 64 };
bool text_is_model(const char *text);
/* UTF-8 that text_make_printable would leave as it is, workflow commands aside. */
bool text_is_plain(const char *text);
/* A suite or a layer, as shape files name them: no control character, perhaps empty, perhaps cut short. */
bool text_is_label(const char *text);

bool text_ends_with(const char *text, const char *end);

/* Makes text safe to print, in place and without changing its length: control characters become blanks, what is
 * not UTF-8 or changes the direction of writing becomes question marks, and a workflow command of a CI
 * (::warning::, ##[warning]) loses what makes it one. Returns text. */
char *text_make_printable(char *text);
/* What stands for the character at text, `length` bytes long: 0 itself, ' ' or '?' by the same rule. */
char text_instead_of(const char *text, size_t *length);

#endif
