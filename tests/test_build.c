/* What stands between a checkout and a program: the probe that decides whether a peer is built, and the order
 * of make's goals. Both are tried in folders made for them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "unit.h"

static char root[4096]; /* the repository, before a test enters its folder */

/* The command's first line of output; its exit code. */
static int run(const char *command, char *line, int size)
{
    FILE *p = popen(command, "r");
    assert_non_null(p);
    if (fgets(line, size, p) == NULL) *line = '\0';
    line[strcspn(line, "\n")] = '\0';
    char rest[4096];
    while (fgets(rest, sizeof rest, p) != NULL) continue;
    return pclose(p);
}

/* What the probe says of header `fake.h` here, an interface header `known.h` and libraries. */
static void expect_probe(const char *libraries, const char *says)
{
    char command[8192], line[256];
    const char *cc = getenv("BASE_CC"); /* the Makefile's CC */
    snprintf(command, sizeof command, "sh '%s/kernels/peers/probe.sh' '%s' libfake-dev fake.h known.h -I. '%s'",
             root, cc ? cc : "cc", libraries);
    assert_int_equal(run(command, line, sizeof line), 0);
    assert_string_equal(line, says);
}

static void test_probe(void **state)
{
    expect_probe("-lm", "libfake-dev was not found");
    write_text("fake.h", "#define FAKE_VERSION 4\n");
    write_text("known.h", "#include <fake.h>\n#if FAKE_VERSION != 3\n#error \"fake 4\"\n#endif\n");
    expect_probe("-lm", "libfake-dev is fake 4");
    write_text("known.h", "#include <fake.h>\nint f(void) { return fake_of_another_time; }\n");
    expect_probe("-lm", "libfake-dev is of a version whose interface sepbench does not know");
    write_text("known.h", "#include <fake.h>\n#if FAKE_VERSION != 3\n#error \"fake 4\"\n#endif\n");
    write_text("fake.h", "#define FAKE_VERSION 3\n");
    expect_probe("-lthere_is_no_such_library", "libfake-dev has a header but no library to link with");
    expect_probe("-lm", "yes");
}

/* `check` fails until `install`, which takes its time, has ended. */
static void test_goals_in_order(void **state)
{
    char command[8192], line[256];
    snprintf(command, sizeof command, "cp '%s/Makefile' . && mkdir -p harness", root);
    assert_int_equal(system(command), 0);
    write_text("harness/setup.sh",
               "case $1 in install) sleep 0.3; touch installed ;; check) test -e installed ;; esac\n");
    assert_int_equal(
        run("env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make setup need 2>/dev/null", line, sizeof line), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_probe, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_goals_in_order, enter_folder, leave_folder),
    };
    if (getcwd(root, sizeof root) == NULL) return 1;
    return cmocka_run_group_tests_name("build", tests, NULL, NULL);
}
