/* A network's convolutions as cases: each as it is, and in its other form. */
#ifndef SEPBENCH_ADVISE_H
#define SEPBENCH_ADVISE_H

#include "../harness/network/convs.h"
#include "../harness/record/record.h"
#include "suite.h"

/* Appends two networks: NAME, the layers as they are, and NAME@swapped, each that has another form in that.
 * Layers of one shape are one problem under the first one's name and "*N". *layers becomes what run.json
 * keeps of it (results/README.md, "advise"). EXIT_FINE, or EXIT_USAGE after a line. */
int advise_list(const network *n, const network_convs *convs, suite_list *list, json_t **layers);

/* Writes problems.txt into the run's folder: the network as it is, for 'bench --shapes' to measure by the same
 * implementations. EXIT_FINE, or EXIT_USAGE after a line. */
int advise_write_problems(const record_run *run, const char *impls);

#endif
