/* The program: one table of subcommands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/build_info.h"
#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../harness/report/report.h"
#include "../harness/streams.h"
#include "../harness/words.h"
#include "../kernels/cpu.h"
#include "commands.h"

static const command commands[] = {
#define COMMAND(name, summary) {#name, summary, cmd_##name},
#include "commands.def"
#undef COMMAND
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static void usage(FILE *out)
{
    fputs("usage: sepbench COMMAND [OPTIONS]\n\n"
          "Is a depthwise-separable convolution really faster on this CPU? Measures it.\n\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++) {
        char first[16];
        snprintf(first, sizeof first, "  %-9s ", commands[i].name);
        report_wrap(out, first, "            ", commands[i].summary);
    }
    fputs("\n'sepbench COMMAND --help' lists a command's options.\n"
          "Exit: 0 fine, 1 confirmed regression, 2 usage or unreadable input,\n"
          "3 wrong result, 4 measurement invalid, 5 baseline missing or not comparable.\n"
          "SEPBENCH_MAX_ISA=base|avx2|avx512 caps the instruction set,\n"
          "SEPBENCH_CACHES=l1d=32K,l2=512K,l3=4M makes plans for other caches.\n",
          out);
}

int main(int argc, char **argv)
{
    streams_open();
    for (int i = 1; i < argc; i++) {
        char what[32];
        snprintf(what, sizeof what, "argument %d", i);
        if (!words_check(what, argv[i])) return EXIT_USAGE;
    }
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return EXIT_FINE;
    }
    const char *cap = cpu_cap_error();
    if (cap != NULL) return cli_error("SEPBENCH_MAX_ISA is '%s': must be base, avx2 or avx512", cap);
    const char *caches = machine_caches_error();
    if (caches != NULL) return cli_error("SEPBENCH_CACHES is '%s': %s", getenv("SEPBENCH_CACHES"), caches);
    if (build_inject()[0] != '\0') cli_warning("built with INJECT=%s: broken on purpose", build_inject());
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            char name[64];
            snprintf(name, sizeof name, "sepbench %s", commands[i].name);
            argv[1] = name; /* argp prints it in usage lines */
            return commands[i].run(argc - 1, argv + 1);
        }
    return cli_error("unknown command '%s': 'sepbench --help' lists them", argv[1]);
}
