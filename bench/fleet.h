/* `mpirun ... sepbench bench --fleet`: every host measures itself, rank 0 gathers the runs and reports on all. */
#ifndef SEPBENCH_FLEET_H
#define SEPBENCH_FLEET_H

/* Of all ranks, after the command line has been found to be right. out: the folder, NULL: results/fleet-TIME.
 * Returns an exit code: EXIT_INVALID when a host is missing. */
int fleet_run(int argc, char **argv, const char *out);

#endif
