/* sepbench list: which implementations exist here, and why the others do not; or the suites. */
#include <stdio.h>
#include <string.h>

#include "../harness/cli.h"
#include "../kernels/conv.h"
#include "commands.h"
#include "suite.h"

enum { KEY_SUITES = 0x100 };

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    bool *suites = state->input;
    if (key != KEY_SUITES) return ARGP_ERR_UNKNOWN;
    *suites = true;
    return 0;
}

/* Entries of one name are adjacent, one per variant: prints them and returns where the next name begins. */
static size_t print_name(const conv_entry *e, size_t count, size_t first)
{
    const conv_impl *shown = NULL;
    const char *absent = NULL;
    bool has[CONV_VARIANT_COUNT] = {false};
    size_t i = first;
    for (; i < count && strcmp(e[i].name, e[first].name) == 0; i++) {
        has[e[i].variant] = e[i].impl != NULL;
        if (e[i].impl == NULL)
            absent = e[i].absent;
        else if (shown == NULL || e[i].variant == CONV_DENSE)
            shown = e[i].impl;
    }
    printf("%-17s", e[first].name);
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        printf("%-*s", (int)strlen(conv_variant_name((conv_variant)v)) + 1, has[v] ? "yes" : "-");
    if (shown == NULL) {
        printf("%-7s%-8s%s\n", "-", "-", absent ? absent : "not in this build");
        return i;
    }
    printf("%-7s%-8s%s%s\n", cpu_isa_name(conv_isa(shown)), shown->inexact ? "inexact" : "exact",
           shown->summary, shown->single_thread ? " (one thread)" : "");
    if (absent != NULL) printf("%-17s%s\n", "", absent);
    return i;
}

/* "libraries: oneDNN 2.6.3, ...": the versions of the peers, each once. */
static void print_libraries(const conv_entry *e, size_t count)
{
    const char *before = "\nlibraries: ", *last = "";
    for (size_t i = 0; i < count; i++) {
        if (e[i].impl == NULL || e[i].impl->version == NULL) continue;
        const char *version = e[i].impl->version();
        if (strcmp(version, last) == 0) continue;
        printf("%s%s", before, version);
        before = ", ";
        last = version;
    }
    puts(*last == '\0' ? "\nlibraries: none" : "");
}

int cmd_list(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"suites", KEY_SUITES, NULL, 0, "list the suites of problems instead", 0}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc = "Which implementations exist in this build and on this CPU, and why others do not."};
    bool suites = false;
    if (cli_parse(&argp, argc, argv, &suites) != 0) return EXIT_USAGE;
    if (suites) {
        puts("suites, for --suite NAME ('bench' and 'verify'):");
        suite_print(stdout);
        return EXIT_FINE;
    }
    size_t count;
    const conv_entry *e = conv_entries(&count);
    printf("%-17s", "implementation");
    for (int v = 0; v < CONV_VARIANT_COUNT; v++) printf("%s ", conv_variant_name((conv_variant)v));
    printf("%-7s%-8s%s\n", "isa", "results", "what it does");
    for (size_t i = 0; i < count;) i = print_name(e, count, i);
    print_libraries(e, count);
    printf("CPU: %s; widest instruction set %s, allowed %s\n", cpu_model(), cpu_isa_name(cpu_detect()),
           cpu_isa_name(cpu_allowed()));
    return EXIT_FINE;
}
