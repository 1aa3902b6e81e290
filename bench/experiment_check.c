/* What must fit before a run begins, and what the user should hear first. */
#include <stdio.h>
#include <string.h>

#include "../harness/cli.h"
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
