/* The fuzzer's corpus, once and without a fuzzer: seeds, and the inputs that were faults. A test per target. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/targets.h"
#include "train_support.h"

enum { MOST_TARGETS = 64, MOST_BYTES = 1 << 20 };

static void run_file(const fuzz_target *t, const char *path)
{
    FILE *in = fopen(path, "rb");
    uint8_t *data = malloc(MOST_BYTES);
    assert_true(in != NULL && data != NULL);
    size_t size = fread(data, 1, MOST_BYTES, in);
    fclose(in);
    uint8_t *exact = malloc(size + !size); /* a sanitizer then sees what is read beyond the end */
    assert_non_null(exact);
    for (size_t i = 0; i < size; i++) exact[i] = data[i];
    free(data);
    t->run(exact, size);
    free(exact);
}

static void test_inputs(void **state)
{
    const fuzz_target *t = *state;
    char folder[4096], path[4400], name[64];
    struct dirent *entry;
    size_t count = 0;
    snprintf(name, sizeof name, "fuzz/corpus/%s", t->name);
    DIR *dir = opendir(test_path(name, folder, sizeof folder));
    if (dir == NULL) fail_msg("%s: no corpus", folder);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        run_file(t, path);
        count++;
    }
    closedir(dir);
    assert_true(count > 0);
}

int main(void)
{
    struct CMUnitTest tests[MOST_TARGETS];
    size_t count = 0;
    for (const fuzz_target *t = fuzz_targets; t->name != NULL && count < MOST_TARGETS; t++)
        tests[count++] = (struct CMUnitTest){
            .name = t->name, .test_func = test_inputs, .initial_state = (void *)(uintptr_t)t};
    return _cmocka_run_group_tests("corpus", tests, count, NULL, NULL);
}
