/* What every subcommand shares: one-line diagnostics, numbers from words, folders, and a clean interruption. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

/* One write per message, so that lines of several processes do not mix. */
static void print_line(const char *prefix, const char *format, va_list args)
{
    char line[2048];
    int used = snprintf(line, sizeof line, "sepbench: %s", prefix);
    vsnprintf(line + used, sizeof line - (size_t)used, format, args);
    fprintf(stderr, "%s\n", text_make_printable(line));
}

int cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line("", format, args);
    va_end(args);
    return EXIT_USAGE;
}

void cli_warning(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line("warning: ", format, args);
    va_end(args);
}

/* Passes whole lines on to the real stderr, except the line "Try `sepbench NAME --help' or ..." that argp and
 * getopt add to theirs. */
typedef struct {
    FILE *real;
    char line[512];
    size_t used;
} line_filter;

static ssize_t filter_lines(void *cookie, const char *text, size_t size)
{
    line_filter *f = cookie;
    for (size_t i = 0; i < size; i++) {
        if (f->used < sizeof f->line) f->line[f->used++] = text[i];
        if (text[i] != '\n') continue;
        f->line[f->used - 1] = '\n';
        /* argp wraps the hint when the command's name is long. */
        bool hint = strncmp(f->line, "Try `", 5) == 0 || strncmp(f->line, "information.\n", 13) == 0 ||
                    strncmp(f->line, "for more information.\n", 22) == 0 ||
                    strncmp(f->line, "more information.\n", 18) == 0;
        f->line[f->used - 1] = '\0';
        if (!hint) fprintf(f->real, "%s\n", text_make_printable(f->line));
        f->used = 0;
    }
    return (ssize_t)size;
}

int cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    static line_filter filter; /* argp may call exit(), which flushes the stream after this frame is gone */
    filter = (line_filter){.real = stderr};
    FILE *filtered = fopencookie(&filter, "w", (cookie_io_functions_t){.write = filter_lines});
    if (filtered == NULL) return ENOMEM;
    setvbuf(filtered, NULL, _IONBF, 0);
    argp_err_exit_status = EXIT_USAGE;
    stderr =
        filtered; /* argp and getopt know no other way: stderr is a variable in glibc, as argp is glibc's */
    int status = argp_parse(argp, argc, argv, 0, NULL, input);
    stderr = filter.real;
    fclose(filtered);
    return status;
}

bool cli_parse_int(const char *text, int64_t least, int64_t most, int64_t *value)
{
    int64_t n = 0;
    if (*text == '\0') return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *text - '0', &n)) return false;
    }
    if (n < least || n > most) return false;
    *value = n;
    return true;
}

bool cli_parse_real(const char *text, double least, double most, double *value)
{
    /* strtod also takes blanks, signs, hexadecimal, inf and nan:
     * only decimal digits may start a number here. */
    if (strspn(text, "+-.0123456789eE") != strlen(text) || *text == '\0' || strchr("eE+", *text)) return false;
    char *end;
    double x = strtod(text, &end);
    if (*end != '\0' || !isfinite(x) || x < least || x > most) return false;
    *value = x;
    return true;
}

int cli_take_int(const char *option, const char *word, int64_t least, int64_t most, int64_t *value)
{
    if (cli_parse_int(word, least, most, value)) return EXIT_FINE;
    if (most == INT64_MAX) return cli_error("--%s: '%s' is not a whole number", option, word);
    return cli_error("--%s: '%s' is not a whole number from %lld to %lld", option, word, (long long)least,
                     (long long)most);
}

int cli_take_real(const char *option, const char *word, double least, double most, double *value)
{
    if (cli_parse_real(word, least, most, value)) return EXIT_FINE;
    return cli_error("--%s: '%s' is not a number from %g to %g", option, word, least, most);
}

bool cli_make_path(const char *path)
{
    char partial[4096];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof partial) {
        errno = length == 0 ? ENOENT : ENAMETOOLONG;
        return false;
    }
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST) return false;
    }
    struct stat status;
    if (stat(path, &status) != 0) return false;
    if (!S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return false;
    }
    return true;
}

static volatile sig_atomic_t caught;

static const char *stopping = ""; /* what the handler says */

static void on_signal(int number)
{
    int before = errno;
    caught = number;
    ssize_t written = write(STDERR_FILENO, stopping, strlen(stopping));
    (void)written; /* a signal handler has nobody to tell */
    errno = before;
}

void cli_announce_stop(void)
{
    static const char text[] = "\nsepbench: stopping after this case; a second signal stops at once\n";
    stopping = text + !isatty(STDERR_FILENO); /* a terminal's line may hold the progress */
}

void cli_catch_signals(void)
{
    /* SA_RESETHAND: the second signal finds the default action, which kills. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void) { return caught != 0; }

int cli_signal_exit_code(void) { return 128 + caught; }
