/* What is fuzzed: every reader of files and strings that may come from a stranger. One table for libFuzzer
 * (libfuzzer.c) and for the test that runs the corpus without it (tests/test_corpus.c). */
#ifndef SEPBENCH_FUZZ_TARGETS_H
#define SEPBENCH_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name; /* its inputs are in tests/fuzz/corpus/NAME */
    void (*run)(const uint8_t *data, size_t size);
} fuzz_target;

extern const fuzz_target fuzz_targets[]; /* ends with a name of NULL */

/* NULL when there is none of that name. */
const fuzz_target *fuzz_find(const char *name);

#endif
