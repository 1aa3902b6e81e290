/* `sepbench train` as a user runs it: bit-identical on any number of threads and after kill -9, weights in and
 * out, and one clear line for everything that can be wrong. Runs $SEPBENCH (tests/run.sh sets it;
 * build/sepbench otherwise) on tests/data's digits. */
#include "train_support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/train/npz.h"

static char folder[] = "/tmp/sepbench-train-XXXXXX";
static char program[4096], data[4096];

static const char QUICK[] = "--impl avx512,avx2,im2col,naive --epochs 3 --batch-size 60 --quiet";

/* Runs a shell command in the folder with $T for `sepbench train --data tests/data/mnist`; its exit code, and
 * what it printed on both streams in output. */
static int shell(char *output, size_t size, const char *format, ...)
{
    char command[16384];
    int used = snprintf(command, sizeof command, "cd %s && T=\"%s train --data %s\"; ", folder, program, data);
    va_list args;
    va_start(args, format);
    used += vsnprintf(command + used, sizeof command - (size_t)used, format, args);
    va_end(args);
    snprintf(command + used, sizeof command - (size_t)used, " 2>&1");
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t got = fread(output, 1, size - 1, pipe);
    output[got] = 0;
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void expect(int want, const char *words, const char *format, ...)
{
    char command[4096], output[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    int code = shell(output, sizeof output, "%s", command);
    if (code != want) fail_msg("%s: exit %d instead of %d: %s", command, code, want, output);
    if (words != NULL && strstr(output, words) == NULL)
        fail_msg("%s: no \"%s\" in: %s", command, words, output);
    if (want != 0 && (strchr(output, '\n') == NULL || strchr(output, '\n')[1] != 0))
        fail_msg("%s: not one line: %s", command, output);
}

static void same_files(const char *a, const char *b) { expect(0, NULL, "cmp %s %s", a, b); }

static int set_up(void **state)
{
    const char *given = getenv("SEPBENCH");
    if (mkdtemp(folder) == NULL || realpath(given != NULL ? given : "build/sepbench", program) == NULL)
        return -1;
    test_path("data/mnist", data, sizeof data);
    char absolute[4096];
    if (realpath(data, absolute) == NULL) return -1;
    strcpy(data, absolute);
    return 0;
}

static int tear_down(void **state)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? 0 : -1;
}

static void threads_do_not_matter(void **state)
{
    static const char *const models[] = {"conv", "separable"};
    for (int i = 0; i < 2; i++)
        for (int threads = 1; threads <= 3; threads++) {
            const char *m = models[i];
            expect(0, NULL, "$T %s --model %s --threads %d --out th%d", QUICK, m, threads, threads);
            expect(0, NULL, "mv th%d %s-%d", threads, m, threads);
            if (threads > 1) {
                char a[128], b[128];
                snprintf(a, sizeof a, "%s-1/%s/run-1/weights.npz", m, m);
                snprintf(b, sizeof b, "%s-%d/%s/run-1/weights.npz", m, threads, m);
                same_files(a, b);
            }
        }
}

/* Starts a training, kills it without mercy after `ms` milliseconds; true when it was still running. */
static bool start_and_kill(const char *out, int ms, bool resume)
{
    pid_t child = fork();
    if (child == 0) {
        char command[16384];
        snprintf(command, sizeof command,
                 "cd %s && exec %s train --data %s %s --model separable --epochs 6 --out %s %s 2>/dev/null",
                 folder, program, data, QUICK, out, resume ? "--resume" : "");
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    usleep((useconds_t)ms * 1000);
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status);
}

static void killed_and_resumed(void **state)
{
    expect(0, NULL, "$T %s --model separable --epochs 6 --out straight", QUICK);
    int kills = 0;
    bool running = true;
    for (int i = 0; i < 12 && running; i++) {
        running = start_and_kill("killed", 60 + 35 * i, i > 0);
        kills += running;
    }
    if (running) expect(0, NULL, "$T %s --model separable --epochs 6 --out killed --resume", QUICK);
    print_message("# killed %d times\n", kills);
    assert_true(kills > 0);
    same_files("straight/separable/run-1/weights.npz", "killed/separable/run-1/weights.npz");
    same_files("straight/separable/run-1/best.npz", "killed/separable/run-1/best.npz");
    expect(0, NULL, "test ! -e killed/separable/run-1/checkpoint.npz.tmp || true");
}

static void write_file(const char *name, const char *text)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (; *text != 0; text++) fputc(*text == '\'' ? '"' : *text, file);
    assert_int_equal(fclose(file), 0);
}

static const char VOLUMES[] =
    "{'class_name':'Sequential','config':{'layers':["
    "{'class_name':'Conv3D','config':{'filters':6,'kernel_size':[2,5,2],'strides':[1,2,1],'activation':'relu',"
    "'batch_input_shape':[null,7,28,4,1]}},"
    "{'class_name':'MaxPooling3D','config':{'pool_size':[2,2,1]}},"
    "{'class_name':'SeparableConv3D','config':{'filters':8,'kernel_size':3,'padding':'same','activation':'relu'"
    "}},"
    "{'class_name':'AveragePooling3D','config':{'pool_size':3}},"
    "{'class_name':'Dropout','config':{'rate':0.25}},{'class_name':'Flatten','config':{}},"
    "{'class_name':'Dense','config':{'units':10,'activation':'softmax'}}]}}";

/* A network of volumes on digits cut into slabs: the same bits on any number of threads and taken up again;
 * Keras's names and shapes in its weights. */
static void three_dimensions(void **state)
{
    static const struct {
        const char *name;
        int64_t shape[5];
    } weights[] = {{"conv3d/kernel:0", {2, 5, 2, 1, 6}},
                   {"separable_conv3d/depthwise_kernel:0", {3, 3, 3, 6, 1}},
                   {"separable_conv3d/pointwise_kernel:0", {1, 1, 1, 6, 8}}};
    write_file("volumes.json", VOLUMES);
    for (int i = 0; i < 3; i++)
        expect(0, NULL, "$T %s --model volumes.json --threads %d --out v%d", QUICK, i == 2 ? 5 : i + 1, i);
    same_files("v0/volumes/run-1/weights.npz", "v1/volumes/run-1/weights.npz");
    same_files("v0/volumes/run-1/weights.npz", "v2/volumes/run-1/weights.npz");
    expect(0, NULL, "$T %s --model volumes.json --epochs 1 --out v3 --weights-out v.npz", QUICK);
    expect(0, NULL, "$T %s --model volumes.json --out v3 --resume", QUICK);
    same_files("v0/volumes/run-1/weights.npz", "v3/volumes/run-1/weights.npz");
    expect(0, "separable_conv3d (SeparableConv3D)     (None, 3, 6, 3, 8) ",
           "$T --model volumes.json --epochs 1 --out v4 --weights-in v.npz");
    npz_file file;
    conv_error err;
    char path[512];
    snprintf(path, sizeof path, "%s/v.npz", folder);
    assert_int_equal(npz_read(path, &file, &err), CONV_OK);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        const npz_array *a = npz_find(&file, weights[i].name);
        assert_non_null(a);
        assert_int_equal(a->shape.rank, 5);
        assert_memory_equal(a->shape.size, weights[i].shape, sizeof weights[i].shape);
    }
    npz_free(&file);
    expect(2, "its input is (7, 28, 5, 1): the images of",
           "sed 's/28,4,1/28,5,1/' volumes.json > v5.json; $T --model v5.json --out v5");
}

/* The same of layers that the two networks lack. */
static const char PLAIN[] =
    "{'class_name':'Sequential','config':{'layers':["
    "{'class_name':'ZeroPadding2D','config':{'padding':[[0,1],[0,1]],'batch_input_shape':[null,28,28,1]}},"
    "{'class_name':'Conv2D','config':{'filters':8,'kernel_size':3,'strides':2}},"
    "{'class_name':'ReLU','config':{'max_value':6.0}},{'class_name':'SpatialDropout2D','config':{'rate':0.2}},"
    "{'class_name':'SeparableConv2D','config':{'filters':12,'kernel_size':3,'activation':'hard_swish'}},"
    "{'class_name':'PReLU','config':{'shared_axes':[1,2]}},{'class_name':'GlobalMaxPooling2D','config':{}},"
    "{'class_name':'Dense','config':{'units':10,'activation':'softmax'}}]}}";

static void plain_layers(void **state)
{
    write_file("plain.json", PLAIN);
    for (int i = 0; i < 2; i++)
        expect(0, NULL, "$T %s --model plain.json --threads %d --out p%d", QUICK, i == 0 ? 1 : 3, i);
    same_files("p0/plain/run-1/weights.npz", "p1/plain/run-1/weights.npz");
    expect(0, NULL, "$T %s --model plain.json --epochs 1 --out p2 --weights-out p.npz", QUICK);
    expect(0, NULL, "$T %s --model plain.json --out p2 --resume", QUICK);
    same_files("p0/plain/run-1/weights.npz", "p2/plain/run-1/weights.npz");
    npz_file file;
    conv_error err;
    char path[512];
    snprintf(path, sizeof path, "%s/p.npz", folder);
    assert_int_equal(npz_read(path, &file, &err), CONV_OK);
    const npz_array *a = npz_find(&file, "p_re_lu/alpha:0");
    assert_non_null(a);
    assert_int_equal(a->shape.rank, 3);
    assert_int_equal(a->shape.size[2], 12);
    npz_free(&file);
    expect(2, NULL,
           "sed 's/.max_value.:6.0/\"max_value\":5.0/' plain.json > p5.json; mv p5.json plain.json; "
           "$T %s --model plain.json --out p2 --resume",
           QUICK);
}

/* What a checkpoint counts as done must be on disk before it: where the best weights cannot be written,
 * none. */
static void checkpoint_comes_last(void **state)
{
    expect(0, NULL, "mkdir -p last/separable/run-1/best.npz");
    expect(2, "best.npz", "$T %s --model separable --epochs 1 --out last", QUICK);
    expect(0, NULL, "test ! -e last/separable/run-1/checkpoint.npz");
}

/* From opening the data to the first step; and what the report needs to compare with the peak. */
static void records_the_start(void **state)
{
    expect(0, NULL, "$T %s --model conv --epochs 1 --out s1", QUICK);
    char path[512];
    snprintf(path, sizeof path, "%s/s1/run.json", folder);
    json_t *run = json_load_file(path, 0, NULL),
           *load = json_object_get(json_object_get(run, "data"), "load_s");
    assert_true(json_is_real(load));
    if (!(json_real_value(load) > 0 && json_real_value(load) < 0.5))
        fail_msg("load_s is %g", json_real_value(load));
    assert_true(json_is_object(json_object_get(json_object_get(run, "machine"), "ceilings")));
    json_decref(run);
}

static void interrupted_says_how_to_go_on(void **state)
{
    expect(130,
           "; to go on: ", "($T %s --model conv --epochs 100000 --out i1 & sleep 1; kill -INT $!; wait $!)",
           QUICK);
    expect(130, "--resume --out results/training-",
           "($T %s --model conv --epochs 100000 & sleep 1; kill -INT $!; wait $!; code=$?; rm -rf results; "
           "exit $code)",
           QUICK);
}

static void weights_in_and_out(void **state)
{
    expect(0, NULL, "$T %s --model conv --epochs 1 --out w1 --weights-out w.npz", QUICK);
    expect(0, NULL, "$T %s --model conv --epochs 1 --out w2 --weights-in w.npz", QUICK);
    expect(2, "holds a training run", "$T %s --model conv --epochs 1 --out w1", QUICK);
    expect(2, "'`x`.json': a model's file has a name of", "$T %s --model '`x`.json' --out w1", QUICK);
    expect(2, "--impl: 'best, `x`': names of", "$T %s --model conv --impl 'best, `x`' --out w1", QUICK);
    expect(2, "is none of the model's", "$T %s --model separable --out w5 --weights-in w.npz", QUICK);
    npz_file file;
    conv_error err;
    char path[512];
    snprintf(path, sizeof path, "%s/w.npz", folder);
    assert_int_equal(npz_read(path, &file, &err), CONV_OK);
    assert_int_equal(file.count, 8);
    const npz_array *kernel = npz_find(&file, "conv2d_1/kernel:0");
    assert_non_null(kernel);
    assert_int_equal(kernel->shape.rank, 4);
    assert_int_equal(kernel->shape.size[2], 32);
    assert_int_equal(kernel->shape.size[3], 64);
    assert_int_equal(npz_write(path, OUTPUT_OWN, file.arrays, 7, &err), CONV_OK);
    expect(2, "array 'dense_1/bias:0' is missing", "$T %s --model conv --out w6 --weights-in w.npz", QUICK);
    file.arrays[7].shape.size[0] = 5;
    assert_int_equal(npz_write(path, OUTPUT_OWN, file.arrays, 8, &err), CONV_OK);
    expect(2, "array 'dense_1/bias:0' has shape (5,): the model's is (10,)",
           "$T %s --model conv --out w7 --weights-in w.npz", QUICK);
    npz_free(&file);
    expect(2, "w.npz: ",
           "head -c 3000 w.npz > t.npz; mv t.npz w.npz; $T %s --model conv --out w8 --weights-in w.npz", QUICK);
}

static void bad_data(void **state)
{
    static const char copy[] = "rm -rf d; cp -r %s d; cd d; gunzip *.gz; cd ..;";
    char c[4200];
    snprintf(c, sizeof c, copy, data);
    const char *t = "$T --quiet --epochs 1 --impl im2col --out d1 --data d";
    expect(2, "nowhere: No such file", "$T --data nowhere");
    expect(2, "no train-images-idx3-ubyte", "mkdir empty; $T --data empty");
    expect(2, "plain: not a folder: --data is", "echo > plain; $T --data plain");
    expect(2, "d/train-images-idx3-ubyte: truncated: 99984 of 313600 bytes",
           "%s head -c 100000 d/train-images-idx3-ubyte > x; mv x d/train-images-idx3-ubyte; %s", c, t);
    expect(2, "truncated: the IDX header",
           "%s head -c 7 d/t10k-labels-idx1-ubyte > x; mv x d/t10k-labels-idx1-ubyte; %s", c, t);
    expect(2, "bytes after the 313600", "%s echo >> d/train-images-idx3-ubyte; %s", c, t);
    expect(2, "not an IDX file", "%s printf GIF89a > d/train-labels-idx1-ubyte; %s", c, t);
    expect(2, "IDX of 3 dimensions: must have 1",
           "%s cp d/t10k-images-idx3-ubyte d/train-labels-idx1-ubyte; %s", c, t);
    expect(2, "100 labels for the 400 images", "%s cp d/t10k-labels-idx1-ubyte d/train-labels-idx1-ubyte; %s",
           c, t);
    expect(2, "training label 2 is 77: the network's outputs allow 0 to 9",
           "%s printf M | dd of=d/train-labels-idx1-ubyte bs=1 seek=10 conv=notrunc status=none; %s", c, t);
    expect(2, "corrupt",
           "%s gzip d/train-images-idx3-ubyte; printf XXXX | dd of=d/train-images-idx3-ubyte.gz bs=1 seek=9000 "
           "conv=notrunc status=none; %s",
           c, t);
    expect(2, "truncated",
           "%s gzip d/train-images-idx3-ubyte; head -c 9000 d/train-images-idx3-ubyte.gz > x; mv x "
           "d/train-images-idx3-ubyte.gz; %s",
           c, t);
}

/* What the user should know before the run, a line each; the run goes on. */
static void warnings(void **state)
{
    write_file("m.json",
               "{'class_name':'Sequential','compile_config':{'loss':'mse','optimizer':'rmsprop'},"
               "'config':{'layers':[{'class_name':'Flatten','config':{'batch_input_shape':[null,28,28,1]}},"
               "{'class_name':'Dense','config':{'units':10,'activation':'sigmoid'}}]}}");
    expect(0, "warning: m.json: the last activation is sigmoid, not softmax", "$T %s --model m.json --out u1",
           QUICK);
    expect(0, "warning: m.json was compiled with mse: ", "$T %s --model m.json --out u2", QUICK);
    expect(0, "warning: m.json was compiled with rmsprop: this run uses adam:", "$T %s --model m.json --out u3",
           QUICK);
    expect(0, "0 lines",
           "$T %s --model m.json --out u4 --optimizer adam 2>&1 | grep -c uses | sed 's/$/ lines/'", QUICK);
    expect(0, "0 lines", "$T %s --model conv --epochs 1 --out u5 2>&1 | grep -c warning | sed 's/$/ lines/'",
           QUICK);
}

/* Bytes are divided by 255 as they are read; floats are not. */
static void rescaled_images(void **state)
{
    write_file("r.json",
               "{'class_name':'Sequential','config':{'layers':[{'class_name':'Rescaling','config':{'scale':"
               "0.00392156862745098,'batch_input_shape':[null,28,28,1]}},{'class_name':'Flatten','config':{}},"
               "{'class_name':'Dense','config':{'units':10,'activation':'softmax'}}]}}");
    expect(0,
           "warning: r.json: rescaling gets images that have been divided by 255 already: from 0 to 1, not 255",
           "$T %s --model r.json --out u6", QUICK);
}

static void bad_options(void **state)
{
    expect(2, "neither conv, separable, mobilenet_small, mobilenet_small_dense nor a path",
           "$T --model nonesuch");
    expect(2, "no.json: No such file", "$T --model no.json");
    expect(2, "--epochs: 'many'", "$T --epochs many");
    expect(2, "--batch-size: '0'", "$T --batch-size 0");
    expect(2, "--validation-split: '1'", "$T --validation-split 1");
    expect(2, "--validation-split 0.999 leaves none of the 400 images to train on",
           "$T --validation-split 0.999 --out none");
    expect(2, "unknown optimizer 'ada'", "$T --optimizer ada");
    expect(2, "adam: unknown option 'momentum'", "$T --optimizer adam:momentum=0.9");
    expect(2, "no implementation of that name", "$T --impl fast");
    expect(2, "it has no such variant", "$T --model conv --impl fused-avx2");
    expect(2, "--resume needs --out", "$T --resume");
    expect(2, "for one model and one run", "$T --runs 2 --weights-in x.npz");
    expect(0, NULL, "test ! -e results"); /* a refused run leaves nothing behind */
    expect(2, "no such checkpoint", "$T --resume --checkpoint none.npz --out r1");
}

static void bad_checkpoints(void **state)
{
    expect(0, NULL, "$T %s --model conv --epochs 1 --out c1 --checkpoint c.npz", QUICK);
    const char *resume = "--resume --checkpoint c.npz --quiet --impl avx512,avx2,im2col,naive";
    expect(2, "a checkpoint of another model", "$T %s --model separable --batch-size 60 --out c2", resume);
    expect(2, "its batch_size is 60, this run's 50", "$T %s --batch-size 50 --out c3", resume);
    expect(2, "its seed is 1, this run's 2", "$T %s --batch-size 60 --seed 2 --out c4", resume);
    expect(2, "its optimizer is", "$T %s --batch-size 60 --optimizer sgd --out c5", resume);
    expect(2, "not a checkpoint", "cp c1/conv/run-1/weights.npz c.npz; $T %s --batch-size 60 --out c6", resume);
    expect(2, "c.npz: ", "echo garbage > c.npz; $T %s --batch-size 60 --out c7", resume);
}

static void divergence_stops(void **state)
{
    expect(4, "no epoch was complete", "$T %s --model conv --optimizer sgd:learning_rate=1e10 --out n1", QUICK);
}

/* A limit on file size stands for a full disk: the write fails, the checkpoint of the epoch before survives. */
static void full_disk(void **state)
{
    expect(0, NULL, "$T %s --model conv --epochs 1 --out f1 && cp f1/conv/run-1/checkpoint.npz before.npz",
           QUICK);
    expect(2, "cannot be written",
           "trap '' XFSZ; ulimit -f 2000; $T %s --model conv --epochs 3 --out f1 --resume", QUICK);
    same_files("f1/conv/run-1/checkpoint.npz", "before.npz");
    expect(0, NULL, "test ! -e f1/conv/run-1/checkpoint.npz.tmp");
    expect(0, NULL, "$T %s --model conv --epochs 3 --out f1 --resume", QUICK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(killed_and_resumed),
        cmocka_unit_test(three_dimensions),
        cmocka_unit_test(plain_layers),
        cmocka_unit_test(checkpoint_comes_last),
        cmocka_unit_test(records_the_start),
        cmocka_unit_test(interrupted_says_how_to_go_on),
        cmocka_unit_test(weights_in_and_out),
        cmocka_unit_test(bad_data),
        cmocka_unit_test(warnings),
        cmocka_unit_test(rescaled_images),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(bad_checkpoints),
        cmocka_unit_test(divergence_stops),
        cmocka_unit_test(full_disk),
    };
    return cmocka_run_group_tests_name("train_run", tests, set_up, tear_down);
}
