#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* on_exit, not the end of main: argp leaves by exit() after --help. */
static void check_stdout(int status, void *unused)
{
    (void)unused;
    errno = 0;
    bool failed = ferror(stdout) != 0;
    failed = fflush(stdout) != 0 || failed;
    if (!failed) return;
    cli_error("stdout cannot be written: %s", errno != 0 ? strerror(errno) : "an earlier write failed");
    if (status == EXIT_FINE) _exit(EXIT_USAGE);
}

void streams_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) _exit(EXIT_USAGE);
    on_exit(check_stdout, NULL);
}
