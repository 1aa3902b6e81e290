/* Messages between the ranks that there are, and what theirs would take between more (scaling_messages.c); what
 * predicts from them is scaling.c. */
#ifndef SEPBENCH_SCALING_H
#define SEPBENCH_SCALING_H

#include <stdint.h>
#include <stdio.h>

enum { SCALING_SIZES = 8, SCALING_MOST_RANKS = 256 };

typedef struct {
    int ranks;
    double pingpong[SCALING_SIZES], gather[SCALING_SIZES]; /* seconds */
    double alpha, beta; /* seconds of a message between two ranks, and of a byte received */
} scaling_messages;

int64_t scaling_bytes(int i); /* 1 KiB to 16 MiB */
/* Of all: measures, and fits. */
void scaling_time_messages(scaling_messages *m);
/* alpha and beta, neither negative, by least squares of relative errors of gather. */
void scaling_fit(scaling_messages *m);
/* What an all-gather of size i takes by them. */
double scaling_gather_s(const scaling_messages *m, int i);
void scaling_print_messages(const scaling_messages *m);
void scaling_put_messages(FILE *csv, const scaling_messages *m);

#endif
