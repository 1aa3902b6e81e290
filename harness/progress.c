#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { WIDEST = 80 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* "0:07", "12:45", "3:02:10". Returns buffer[16]. */
static char *time_text(double seconds, char *buffer)
{
    if (!(seconds < 360000)) {
        snprintf(buffer, 16, "days");
        return buffer;
    }
    int s = (int)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buffer, 16, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buffer, 16, "%d:%02d", s / 60, s % 60);
    return buffer;
}

void progress_start(progress *p, size_t total)
{
    struct winsize size = {0};
    *p = (progress){.total = total, .columns = WIDEST, .terminal = isatty(STDERR_FILENO)};
    if (p->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_col < WIDEST)
        p->columns = size.ws_col;
}

static void format_line(const progress *p, size_t done, double seconds_left, const char *what, char *line,
                        size_t size)
{
    char left[16];
    int digits = snprintf(NULL, 0, "%zu", p->total);
    int used = snprintf(line, size, "[%*zu/%zu] ", digits, done, p->total);
    if (seconds_left >= 0)
        used += snprintf(line + used, size - (size_t)used, "%s left  ", time_text(seconds_left, left));
    snprintf(line + used, size - (size_t)used, "%s", what);
}

static void rewrite(progress *p, size_t done, double seconds_left, const char *what)
{
    char line[256];
    format_line(p, done, seconds_left, what, line, sizeof line);
    fprintf(stderr, "\r%.*s\033[K", p->columns - 1, line); /* the last column would wrap */
    fflush(stderr);
    p->last_update = now();
}

void progress_update(progress *p, size_t done, double seconds_left, const char *what)
{
    if (p->terminal && now() - p->last_update > 0.1) rewrite(p, done, seconds_left, what);
}

void progress_step(progress *p, size_t done, double seconds_left, const char *what)
{
    if (p->terminal) {
        rewrite(p, done, seconds_left, what);
        return;
    }
    char line[256];
    format_line(p, done, seconds_left, what, line, sizeof line);
    fprintf(stderr, "%s\n", line);
}

void progress_clear(progress *p)
{
    if (p->terminal) fputs("\r\033[K", stderr);
}
