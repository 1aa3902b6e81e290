/* Training beside other programs: which Python is taken, what is said where there is none, and weights that go
 * to the real Keras and come from it. SEPBENCH names the program (default build/sepbench). */
#include "train_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "support.h"

/* In commands: $PEERS is bench/peers, $SEPBENCH the program, $DIGITS a small MNIST, and $KERAS a Python with
 * it. */

/* The command's exit code and words are these. */
static void expect(int want, const char *words, const char *command)
{
    char output[8192];
    int code = run_shell(output, sizeof output, "{ %s; } 2>&1", command);
    if (code != want || strstr(output, words) == NULL)
        fail_msg("%s: exit %d, not %d with \"%s\": %s", command, code, want, words, output);
}

static void absent_ones_are_left_out(void **state)
{
    expect(0, "torch left out: no Python with torch (tried: /no/python; PYTHON= names another)",
           "PYTHON=/no/python sh $PEERS/train.sh out");
    expect(0, "keras left out: no Python with tensorflow", "PYTHON=/no/python sh $PEERS/train.sh out");
    write_text("failing", "#!/bin/sh\n[ $1 = -c ]\n");
    expect(0, "keras left out: ./failing failed", "PYTHON=./failing sh $PEERS/train.sh out");
}

static void first_that_has_it_trains(void **state)
{
    write_text("without", "#!/bin/sh\nexit 1\n");
    write_text("with", "#!/bin/sh\n[ $1 = -c ] || echo \"$@\" | sed 's,[^ ]*/bench,bench,'\n");
    expect(0,
           "bench/peers/train_torch.py --out out/torch.csv --append\n-B bench/peers/train_keras.py --out "
           "out/keras.csv --append\n",
           "PYTHON='./without ./with /no/python' sh $PEERS/train.sh out | sed 's,/[^ ]*/bench/,bench/,'");
}

static void scripts_name_what_is_missing(void **state)
{
    char output[512];
    if (run_shell(output, sizeof output, "command -v /usr/bin/python3") != 0) {
        print_message("# no /usr/bin/python3\n");
        skip();
    }
    expect(1, "train_keras.py: No module named 'keras': pip install",
           "/usr/bin/python3 -BIS $PEERS/train_keras.py");
    expect(1, "train_torch.py: No module named 'torch': apt install",
           "/usr/bin/python3 -BIS $PEERS/train_torch.py");
}

/* ---- the real Keras */

typedef struct {
    double loss, accuracy; /* on the test images, to four digits */
} tested;

/* What the program says of the model after those options. */
static tested test_of(const char *who, const char *model, const char *format, ...)
{
    char output[1 << 14], end[256];
    tested t = {-1, -1};
    va_list args;
    va_start(args, format);
    vsnprintf(end, sizeof end, format, args);
    va_end(args);
    int code = run_shell(output, sizeof output, "%s --data \"$DIGITS\" --batch-size 20 --model %s %s 2>&1", who,
                         model, end);
    const char *at = strstr(output, "Test loss: ");
    if (code != 0 || at == NULL || sscanf(at, "Test loss: %lf Test accuracy: %lf", &t.loss, &t.accuracy) != 2)
        fail_msg("%s of %s %s: exit %d: %s", who, model, end, code, output);
    return t;
}

static void expect_same(const char *what, tested a, tested b)
{
    if (a.accuracy != b.accuracy || !(a.loss - b.loss < 1.5e-4 && b.loss - a.loss < 1.5e-4))
        fail_msg("%s: loss %.4f and %.4f, accuracy %.4f and %.4f", what, a.loss, b.loss, a.accuracy,
                 b.accuracy);
}

static void weights_go_both_ways(void **state)
{
    static const struct {
        const char *model, *end;
    } cases[] = {{"conv", "npz"},      {"separable", "keras"}, {"conv", "weights.h5"},     {"separable", "h5"},
                 {"separable", "npz"}, {"conv", "keras"},      {"separable", "weights.h5"}};
    enum { FORMATS = 4, CASES = sizeof cases / sizeof *cases };
    static const char ours[] = "\"$SEPBENCH\" train", keras[] = "\"$KERAS\" -B \"$PEERS/train_keras.py\"";
    char python[4096];
    if (run_shell(python, sizeof python, "sh \"$PEERS/python.sh\" tensorflow 2>&1") != 0) {
        print_message("# weights of Keras not tried: %s", python);
        skip();
    }
    python[strcspn(python, "\n")] = 0;
    setenv("KERAS", python, 1);
    for (size_t i = 0; i < (SANITIZED ? FORMATS : CASES); i++) { /* sanitizers see each format once */
        const char *m = cases[i].model, *end = cases[i].end;
        tested theirs = test_of(keras, m, "--epochs 2 --save keras-%s.%s", m, end);
        tested read = test_of(ours, m, "--epochs 0 --weights-in keras-%s.%s --out read-%zu", m, end, i);
        expect_same("trained by Keras, tested by both", theirs, read);
        tested trained =
            test_of(ours, m, "--epochs 1 --weights-in keras-%s.%s --weights-out %s.%s --out trained-%zu", m,
                    end, m, end, i);
        assert_true(trained.loss != theirs.loss);
        expect_same("trained by sepbench, tested by both", trained,
                    test_of(keras, m, "--epochs 0 --load %s.%s", m, end));
    }
}

static bool name_files(void)
{
    static const struct {
        const char *name, *path;
    } files[] = {{"PEERS", "../bench/peers"}, {"DIGITS", "data/mnist"}};
    char path[4096], whole[4096];
    const char *given = getenv("SEPBENCH");
    bool found =
        realpath(given != NULL ? given : "build/sepbench", whole) != NULL && setenv("SEPBENCH", whole, 1) == 0;
    for (int i = 0; i < 2 && found; i++)
        found = realpath(test_path(files[i].path, path, sizeof path), whole) != NULL &&
                setenv(files[i].name, whole, 1) == 0;
    return found;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(absent_ones_are_left_out, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(first_that_has_it_trains, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(scripts_name_what_is_missing, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(weights_go_both_ways, enter_folder, leave_folder),
    };
    return name_files() ? cmocka_run_group_tests_name("train_peers", tests, NULL, NULL) : 1;
}
