/* All targets in one program for libFuzzer; --target=NAME, which libFuzzer itself passes over, names one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "targets.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char option[] = "--target=";
    for (int i = 1; i < *argc; i++)
        if (strncmp((*argv)[i], option, sizeof option - 1) == 0)
            target = fuzz_find((*argv)[i] + sizeof option - 1);
    if (target != NULL) return 0;
    fputs("usage: fuzz --target=NAME [-libFuzzer's options] CORPUS...\n", stderr);
    for (const fuzz_target *t = fuzz_targets; t->name != NULL; t++) fprintf(stderr, "  %s\n", t->name);
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target->run(data, size);
    return 0;
}
