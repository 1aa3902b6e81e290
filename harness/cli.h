/* Subcommands, as in git: each parses its own options with argp and returns the program's exit code. */
#ifndef SEPBENCH_CLI_H
#define SEPBENCH_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    EXIT_FINE = 0,
    EXIT_REGRESSION = 1, /* confirmed regression */
    EXIT_USAGE = 2,      /* usage error or unreadable input */
    EXIT_WRONG = 3,      /* a result differs from the oracle */
    EXIT_INVALID = 4,    /* measurement invalid; zero cases measured */
    EXIT_BASELINE = 5    /* baseline missing or not comparable */
};

typedef struct {
    const char *name, *summary;        /* summary: one line of `sepbench --help` */
    int (*run)(int argc, char **argv); /* argv[0] is "sepbench NAME" */
} command;

/* Prints "sepbench: MESSAGE" as one line on stderr. Returns EXIT_USAGE, so `return cli_error(...)`. */
int cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with "warning: "; returns nothing. */
void cli_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* argp_parse for subcommands: what is wrong with the command line comes out as one line on stderr, with exit
 * EXIT_USAGE (so does argp_error); --help prints to stdout and exits 0. input goes to argp's parser.
 * Returns what the parser returned (0, or an errno of ARGP_KEY_*'s handler). */
int cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* A whole decimal number in [least, most]; false otherwise. No sign, blank or trailing text accepted. */
bool cli_parse_int(const char *text, int64_t least, int64_t most, int64_t *value);
/* A finite decimal number in [least, most]. */
bool cli_parse_real(const char *text, double least, double most, double *value);
/* The same for --option's word: EXIT_FINE, or EXIT_USAGE after one line that says the range. */
int cli_take_int(const char *option, const char *word, int64_t least, int64_t most, int64_t *value);
int cli_take_real(const char *option, const char *word, double least, double most, double *value);
/* mkdir -p. False with errno set. */
bool cli_make_path(const char *path);

/* True after SIGINT or SIGTERM (cli_catch_signals installs the handlers; a second signal kills). Long loops
 * poll it, flush what they have and return 128 + the signal. */
void cli_catch_signals(void);
/* For commands of which one case may take long: the first signal is answered at once, with a line. */
void cli_announce_stop(void);
bool cli_interrupted(void);
int cli_signal_exit_code(void);

#endif
