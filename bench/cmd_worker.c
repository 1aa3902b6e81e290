/* sepbench worker: one side of a comparison, on stdin and stdout. */
#include <signal.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/compare/worker.h"
#include "commands.h"

/* The reply pipe is stdout as it came; whatever a library prints goes to stderr instead. */
static FILE *take_stdout(void)
{
    int fd = dup(STDOUT_FILENO);
    if (fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return NULL;
    return fdopen(fd, "w");
}

int cmd_worker(int argc, char **argv)
{
    static const struct argp argp = {
        .doc = "One side of 'sepbench compare', which starts it: requests on stdin, replies on stdout, one "
               "JSON object a line. Its first line says what it is."};
    if (cli_parse(&argp, argc, argv, NULL) != 0) return EXIT_USAGE;
    FILE *out = take_stdout();
    if (out == NULL) return cli_error("worker: no stdout");
    signal(SIGINT, SIG_IGN); /* the terminal sends it to the gate as well, which then closes our input */
    int code = worker_serve(stdin, out);
    fclose(out);
    return code;
}
