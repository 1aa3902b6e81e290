/* A folder of each test's own, and texts in it. */
#ifndef SEPBENCH_TESTS_FOLDER_H
#define SEPBENCH_TESTS_FOLDER_H

#include <stddef.h>

/* cmocka's setup and teardown: into an empty folder; back, and the folder is gone. */
int enter_folder(void **state);
int leave_folder(void **state);

/* The file's text, "" when there is none; at most size - 1 bytes. */
void read_text(const char *path, char *text, size_t size);
/* A file with that text, which may be run. */
void write_text(const char *path, const char *text);

/* Runs a shell command; its exit code or 128 + its signal, and in output what it printed. */
int run_shell(char *output, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
