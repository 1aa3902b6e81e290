/* What must fit before a run begins, and what the user should hear first. */
#ifndef SEPBENCH_TRAIN_CHECK_H
#define SEPBENCH_TRAIN_CHECK_H

#include "experiment.h"

/* Whether the validation split leaves images to train on. Both return an exit code, the error being said. */
int check_split(const fit_options *o, const data_pair *data);
/* Whether the model's input and outputs fit the images and labels. Warns where Keras would compute another loss
 * or step, and where the loss is one of no probabilities. `name` is the model's in messages. */
int check_model(const experiment_options *o, const char *name, const model *m, const data_pair *data);

#endif
