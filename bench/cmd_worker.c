/* sepbench worker: one side of a comparison, or an engine that needs a process of its own, on stdin and
 * stdout. */
#include <signal.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/worker/engines.h"
#include "../harness/worker/serve.h"
#include "bench.h"
#include "commands.h"

enum { KEY_ENGINE = 0x100 };

/* The reply pipe is stdout as it came; whatever a library prints goes to stderr instead. */
static FILE *take_stdout(void)
{
    int fd = dup(STDOUT_FILENO);
    if (fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return NULL;
    return fdopen(fd, "w");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    conv_error err;
    if (key != KEY_ENGINE) return ARGP_ERR_UNKNOWN;
    if (engines_add(arg, &err) != CONV_OK)
        *(int *)state->input = cli_error("--engine %.80s: %s", arg, err.text);
    return 0;
}

int cmd_worker(int argc, char **argv)
{
    static const struct argp_option options[] = {{"engine", KEY_ENGINE, "NAME=KIND:PATH", 0,
                                                  "as of 'sepbench bench': the library that this worker opens",
                                                  0},
                                                 {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc =
            "One side of 'sepbench compare', or an engine that 'sepbench bench' runs in a process of its own; "
            "they start it. Requests on stdin, replies on stdout, one JSON object a line; the first reply "
            "says what it is."};
    int code = EXIT_FINE;
    engines_serve();
    if (cli_parse(&argp, argc, argv, &code) != 0 || code != EXIT_FINE) return EXIT_USAGE;
    FILE *out = take_stdout();
    if (out == NULL) return cli_error("worker: no stdout");
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the asking program, too, which then closes our input */
    code = worker_serve(stdin, out, bench_loop);
    fclose(out);
    return code;
}
