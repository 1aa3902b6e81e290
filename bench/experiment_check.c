/* What must fit before a run begins, and what the user should hear first. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../harness/ranks/ranks.h"
#include "experiment_internal.h"

int experiment_check_split(const fit_options *o, const data_sets *data)
{
    if (fit_images(o, data->train.count) > 0) return EXIT_FINE;
    return cli_error("--validation-split %g leaves none of the %lld images to train on", o->validation_split,
                     (long long)data->train.count);
}

/* What Keras would do otherwise, or what looks like a slip in the model. */
static void warn_of_model(const experiment_options *o, const char *name, const model *m)
{
    const char *last = model_not_softmax(m), *loss = m->compiled.loss, *told = m->compiled.optimizer;
    if (last != NULL)
        cli_warning("%s: the last activation is %s, not softmax: the loss takes the outputs, divided by their "
                    "sum, for probabilities, as Keras does",
                    name, last);
    if (*loss != 0)
        cli_warning("%s was compiled with %s: this run's loss is the cross-entropy of probabilities", name,
                    loss);
    optimizer compiled;
    char ours[256], theirs[256];
    optimizer_text(&o->fit.opt, ours, sizeof ours);
    bool known = optimizer_parse(told, &compiled, NULL) == CONV_OK;
    bool same = known && strcmp(optimizer_text(&compiled, theirs, sizeof theirs), ours) == 0;
    if (*told != 0 && !same && !o->optimizer_named)
        cli_warning("%s was compiled with %s: this run uses %s; --optimizer names another", name, told, ours);
}

/* Keras's users feed such a model the bytes as they are. */
static void warn_of_rescaling(const char *name, const model *m, const data_sets *data)
{
    for (int i = 0; i < m->layer_count && data->train.images != NULL; i++)
        if (m->layers[i].kind == LAYER_RESCALING && m->layers[i].inputs[0] < 0)
            cli_warning("%s: %s gets images that have been divided by 255 already: from 0 to 1, not 255", name,
                        m->layers[i].name);
}

int experiment_check_model(const experiment_options *o, const char *name, const model *m, const data_sets *data)
{
    conv_error err;
    char input[64], image[64];
    if (!data_fits(&data->train, &m->in))
        return cli_error("%s: its input is %s: the images of %s in %s are %s", name, shape_text(&m->in, input),
                         data->path, data->train.name, shape_text(&data->train.image, image));
    if (data_check_labels(data, shape_count(&m->layers[m->layer_count - 1].out), &err) != CONV_OK)
        return cli_error("%s", err.text);
    warn_of_model(o, name, m);
    warn_of_rescaling(name, m, data);
    return EXIT_FINE;
}

/* ---- ranks */

enum { MOST_FACTS = 16 + EXPERIMENT_MAX_MODELS };
typedef struct {
    ranks_fact list[MOST_FACTS];
    int count;
} facts;

__attribute__((format(printf, 3, 4))) static void add(facts *f, const char *name, const char *format, ...)
{
    ranks_fact *to = &f->list[f->count++];
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    to->name = name;
    if (strlen(text) < sizeof to->value)
        strcpy(to->value, text);
    else /* what does not fit is compared by its hash */
        snprintf(to->value, sizeof to->value, "%.64s ... (%08lx)", text,
                 crc32_z(0, (const void *)text, strlen(text)));
}

/* What a rank computes follows from these. */
static void list_facts(const experiment *e, facts *f)
{
    const experiment_options *o = e->o;
    const conv_context caches = machine_context(1);
    char text[256];
    add(f, "build", "%s", machine_build_id());
    add(f, "instruction set", "%s", cpu_isa_name(machine_get()->isa_allowed));
    add(f, "caches (SEPBENCH_CACHES sets them)", "l1d=%zu,l2=%zu,l3=%zu", caches.l1d, caches.l2, caches.l3);
    for (int i = 0; i < o->model_count; i++)
        add(f, "model", "%s (%08x)", e->models[i].label, model_fingerprint(e->models[i].m));
    add(f, "number of models", "%d", o->model_count);
    add(f, "data", "%lld images (%08x) and %lld (%08x)", (long long)e->data.train.count, e->data.train.crc,
        (long long)e->data.test.count, e->data.test.crc);
    add(f, "--epochs", "%lld", (long long)o->fit.epochs);
    add(f, "--batch-size", "%lld", (long long)o->fit.batch_size);
    add(f, "--validation-split", "%.17g", o->fit.validation_split);
    add(f, "--optimizer", "%s", optimizer_text(&o->fit.opt, text, sizeof text));
    add(f, "--seed", "%llu", (unsigned long long)o->fit.seed);
    add(f, "--no-shuffle", "%s", o->fit.shuffle ? "not there" : "there");
    add(f, "--runs", "%d", o->runs);
    add(f, "--impl", "%s", o->impls);
    add(f, "--resume", "%s", o->resume ? "there" : "not there");
    add(f, "--weights-in", "%s", o->weights_in != NULL ? o->weights_in : "not there");
}

int experiment_check_ranks(const experiment *e)
{
    facts f = {.count = 0};
    if (ranks_size() == 1) return EXIT_FINE;
    if (e->o->fit.batch_size < ranks_size())
        return ranks_agree(cli_error("--batch-size %lld: fewer images than the %d ranks",
                                     (long long)e->o->fit.batch_size, ranks_size()));
    list_facts(e, &f);
    return ranks_agree(ranks_compare(f.list, f.count));
}
