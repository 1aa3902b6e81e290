#include "folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

static char home[4096], folder[64];

int enter_folder(void **state)
{
    strcpy(folder, "/tmp/sepbench-test-XXXXXX");
    return getcwd(home, sizeof home) == NULL || mkdtemp(folder) == NULL || chdir(folder) != 0;
}

int leave_folder(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return chdir(home) != 0 || system(command) != 0;
}

void read_text(const char *path, char *text, size_t size)
{
    FILE *in = fopen(path, "r");
    size_t read = in ? fread(text, 1, size - 1, in) : 0;
    text[read] = '\0';
    if (in != NULL) fclose(in);
}

void write_text(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    chmod(path, 0755);
}

int run_shell(char *output, size_t size, const char *format, ...)
{
    char command[8192];
    va_list args;
    va_start(args, format);
    int used = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_true(used < (int)sizeof command);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    output[fread(output, 1, size - 1, pipe)] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
