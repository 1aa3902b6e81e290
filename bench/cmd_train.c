/* sepbench train: the article's two networks, or a user's own, trained as Keras trains them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../harness/output.h"
#include "../harness/ranks/ranks.h"
#include "../harness/text.h"
#include "../harness/words.h"
#include "commands.h"
#include "experiment.h"
#include "strategies.h"

enum {
    KEY_EPOCHS = 0x300,
    KEY_BATCH,
    KEY_SPLIT,
    KEY_RUNS,
    KEY_SEED,
    KEY_DATA,
    KEY_WEIGHTS_IN,
    KEY_WEIGHTS_OUT,
    KEY_CHECKPOINT,
    KEY_RESUME,
    KEY_OUT,
    KEY_IMPL,
    KEY_OPTIMIZER,
    KEY_THREADS,
    KEY_SLICE,
    KEY_NO_SHUFFLE,
    KEY_QUIET,
    KEY_SCALING
};

static const struct argp_option options[] = {
    {"model", 'm', "NAME,...", 0,
     NETWORK_BUNDLED ", or a Keras model: JSON (model.to_json()) or .keras; default conv", 1},
    {"impl", KEY_IMPL, "NAME,...", 0,
     "implementations in order of preference, or best (default): chosen per layer by timing", 1},
    {"epochs", KEY_EPOCHS, "N", 0, "default 25; 0 only tests the weights", 2},
    {"batch-size", KEY_BATCH, "N", 0, "default 250", 2},
    {"validation-split", KEY_SPLIT, "F", 0, "last fraction of the training images, default 0.2", 2},
    {"optimizer", KEY_OPTIMIZER, "NAME[:K=V,...]", 0,
     "adam, sgd or rmsprop with Keras's options, such as sgd:learning_rate=0.1,momentum=0.9,nesterov=true", 2},
    {"seed", KEY_SEED, "N", 0, "of weights, shuffling and dropout, default 1; run k uses seed + k - 1", 2},
    {"no-shuffle", KEY_NO_SHUFFLE, NULL, 0, "take the images in the file's order", 2},
    {"runs", KEY_RUNS, "N", 0, "train each model N times: mean, standard deviation, interval of the difference",
     2},
    {"data", KEY_DATA, "PATH", 0,
     "folder of IDX files named as MNIST's, EMNIST's, KMNIST's or QMNIST's, plain or .gz (PATH/emnist-letters "
     "picks one set of several), folder of CIFAR-10's .bin files, or .npz of x_train, y_train, x_test, y_test: "
     "uint8 is divided by 255, floats are taken as they are (default $SEPBENCH_DATA or data/mnist)",
     3},
    {"weights-in", KEY_WEIGHTS_IN, "FILE", 0,
     "to start from: .weights.h5 or .keras of Keras 3, .h5 of Keras 2, or .npz, with Keras's names or by "
     "numpy.savez(FILE, *model.get_weights())",
     3},
    {"weights-out", KEY_WEIGHTS_OUT, "FILE", 0,
     "to write at the end: the name ends in .weights.h5, .keras or .h5, else it becomes an .npz", 3},
    {"checkpoint", KEY_CHECKPOINT, "FILE", 0, "where to keep the state (default in --out)", 3},
    {"resume", KEY_RESUME, NULL, 0, "continue what --out (or --checkpoint) holds", 3},
    {"out", KEY_OUT, "DIR", 0, "folder for the results (default results/training-TIME)", 3},
    {"threads", KEY_THREADS, "N", 0, "default: OMP_NUM_THREADS, else one per physical core", 4},
    {"slice", KEY_SLICE, "N", 0, "images of a slice; default from the caches", 4},
    {"scaling", KEY_SCALING, NULL, 0,
     "train nothing: measure steps of parts of a batch and, under mpirun, messages; predict an epoch on 1 to "
     "256 ranks; --out may be a training's folder, whose report has it then (default results/scaling-TIME)",
     4},
    {"quiet", KEY_QUIET, NULL, 0, "no table, no progress", 4},
    {0}};

typedef struct {
    experiment_options o;
    strategy_words strategy;
    char *models;
    bool scaling;
    int code;
} train_arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    train_arguments *a = state->input;
    experiment_options *o = &a->o;
    int64_t n = 0;
    conv_error err;
    int code = EXIT_FINE;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->strategy; return 0;
    case 'm': a->models = arg; break;
    case KEY_IMPL:
        if (!text_is_name_list(arg))
            code = cli_error("--impl: '%s': names of implementations, commas between them", arg);
        o->impls = arg;
        break;
    case KEY_EPOCHS: code = cli_take_int("epochs", arg, 0, 1000000, &o->fit.epochs); break;
    case KEY_BATCH: code = cli_take_int("batch-size", arg, 1, 1000000, &o->fit.batch_size); break;
    case KEY_SPLIT: code = cli_take_real("validation-split", arg, 0, 0.999, &o->fit.validation_split); break;
    case KEY_OPTIMIZER:
        o->optimizer_named = true;
        if (optimizer_parse(arg, &o->fit.opt, &err) != CONV_OK) code = cli_error("--optimizer: %s", err.text);
        break;
    case KEY_SEED:
        code = cli_take_int("seed", arg, 0, INT64_MAX, &n);
        o->fit.seed = (uint64_t)n;
        break;
    case KEY_NO_SHUFFLE: o->fit.shuffle = false; break;
    case KEY_RUNS:
        code = cli_take_int("runs", arg, 1, EXPERIMENT_MAX_RUNS, &n);
        o->runs = (int)n;
        break;
    case KEY_DATA: o->data_dir = arg; break;
    case KEY_WEIGHTS_IN: o->weights_in = arg; break;
    case KEY_WEIGHTS_OUT: o->weights_out = arg; break;
    case KEY_CHECKPOINT: o->checkpoint = arg; break;
    case KEY_RESUME: o->resume = true; break;
    case KEY_OUT: o->out_dir = arg; break;
    case KEY_THREADS:
        code = cli_take_int("threads", arg, 1, MACHINE_MAX_THREADS, &n);
        o->threads = (int)n;
        break;
    case KEY_SLICE: code = cli_take_int("slice", arg, 1, 1000000, &o->slice); break;
    case KEY_SCALING: a->scaling = true; break;
    case KEY_QUIET: o->quiet = true; break;
    case ARGP_KEY_ARG: code = cli_error("train takes no argument '%s'", arg); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (code != EXIT_FINE) a->code = code;
    return 0;
}

static int split_models(train_arguments *a)
{
    for (char *name; (name = strsep(&a->models, ",")) != NULL;) {
        if (a->o.model_count == EXPERIMENT_MAX_MODELS)
            return cli_error("--model: more than %d models", EXPERIMENT_MAX_MODELS);
        a->o.models[a->o.model_count++] = name;
    }
    bool single = a->o.model_count == 1 && a->o.runs == 1;
    if (!single && (a->o.weights_in || a->o.weights_out || a->o.checkpoint))
        return cli_error("--weights-in, --weights-out and --checkpoint are for one model and one run");
    if (a->o.resume && a->o.out_dir == NULL && a->o.checkpoint == NULL)
        return cli_error("--resume needs --out DIR or --checkpoint FILE");
    return EXIT_FINE;
}

/* Before hours of training: what the user named must be possible to write. */
static int check_outputs(const experiment_options *o)
{
    conv_error err;
    if (o->weights_out != NULL && !output_check(o->weights_out, &err))
        return cli_error("--weights-out: %s", err.text);
    if (o->checkpoint != NULL && !output_check(o->checkpoint, &err))
        return cli_error("--checkpoint: %s", err.text);
    return EXIT_FINE;
}

int cmd_train(int argc, char **argv)
{
    static const struct argp_child children[] = {{&strategies_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .children = children,
        .doc =
            "Trains the article's two MNIST networks, or your own, with Keras's semantics.\vLayers of a model "
            "of your own: Conv, SeparableConv, MaxPooling, AveragePooling, GlobalMaxPooling, "
            "GlobalAveragePooling, ZeroPadding, Cropping, UpSampling (nearest) and SpatialDropout 1D, 2D and "
            "3D, DepthwiseConv 1D and 2D, Dense, Activation, ReLU, LeakyReLU, PReLU, ELU, Softmax, Dropout, "
            "Flatten, Reshape, Permute, Rescaling, Normalization, BatchNormalization; in functional models "
            "Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, + - * / of a tensor and a "
            "number, + - * of two tensors. Activations: all of Keras 3's but glu, sparsemax and threshold. "
            "SeparableConv3D, which Keras lacks, has SeparableConv2D's options. Images of one channel fit "
            "every input of as many elements: MNIST's an input of (28, 28, 1), (784,) or (7, 28, 4, 1). Under "
            "mpirun (a build with MPI=1) the ranks share each batch: the result has the bits of one process."};
    char default_models[] = "conv";
    ranks_prepare();
    const char *data = getenv("SEPBENCH_DATA");
    train_arguments a = {
        .models = default_models,
        .o = {.runs = 1,
              .impls = "best",
              .data_dir = data != NULL ? data : "data/mnist",
              .fit = {.epochs = 25, .batch_size = 250, .validation_split = 0.2, .seed = 1, .shuffle = true}}};
    optimizer_parse("adam", &a.o.fit.opt, NULL);
    if (cli_parse(&argp, argc, argv, &a) != 0) return EXIT_USAGE;
    if (!words_check("SEPBENCH_DATA", a.o.data_dir)) return EXIT_USAGE;
    if (a.code == EXIT_FINE) a.code = split_models(&a);
    if (a.code == EXIT_FINE) a.code = check_outputs(&a.o);
    if (a.code != EXIT_FINE) return a.code;
    a.code = ranks_open();
    if (a.code != EXIT_FINE) return a.code;
    int index, count;
    ranks_place(&index, &count);
    machine_use_part(index, count);
    if (a.o.threads == 0) a.o.threads = machine_default_threads();
    a.o.command = json_array();
    for (int i = 0; i < argc; i++) json_array_append_new(a.o.command, json_string(argv[i]));
    cli_catch_signals();
    /* The others do as rank 0 has chosen. */
    int code = ranks_agree(ranks_rank() == 0 ? strategies_open(&a.strategy, &a.o.wisdom) : EXIT_FINE);
    if (code == EXIT_FINE) code = a.scaling ? experiment_scaling(&a.o) : experiment_run(&a.o);
    if (ranks_rank() == 0) strategies_close(a.o.wisdom);
    json_decref(a.o.command);
    ranks_close();
    return code;
}
