/* The processes of one `mpirun`: who they are, what they tell each other, and how they end together.
 *
 * A process that no mpirun started is alone: rank 0 of 1, every call below returns at once, and no MPI is
 * touched. Rank 0 alone prints and writes files; what the others would print goes nowhere, but for the line of
 * the lowest rank that fails. Calls that are "of all" must be made by every rank, in the same order, by the
 * main thread. A message that fails, or a rank that is gone, ends the job: nobody returns from that. */
#ifndef SEPBENCH_RANKS_H
#define SEPBENCH_RANKS_H

#include <stdbool.h>
#include <stdio.h>

#include "driver.h"

/* First thing of a command that runs on ranks, before it prints anything. */
void ranks_prepare(void);
/* Whether mpirun started several, opened or not. */
bool ranks_several(void);
/* Of all, after the command line has been read. EXIT_FINE, also alone; EXIT_USAGE after one line where mpirun
 * started several and the MPI they need is not there. */
int ranks_open(void);
/* Of all; the last thing. */
void ranks_close(void);

int ranks_rank(void);
int ranks_size(void);
const char *ranks_host(int rank); /* "node3" */
const char *ranks_library(void);  /* "Open MPI v4.1.4"; "" alone */
/* This process is number *index of the *count that share its cores. */
void ranks_place(int *index, int *count);

/* Of all: the code of the lowest rank whose code is not EXIT_FINE, whose words are then on stderr. */
int ranks_agree(int code);
/* Of all: whether it is so on any rank. */
bool ranks_any(bool here);
/* Of all: rank 0's data everywhere. */
void ranks_share(void *data, int64_t bytes);
/* The same of a text, NULL included; malloc'ed on the other ranks, in whose argument nothing is looked at. */
char *ranks_share_text(char *text);

/* What must be the same everywhere, in words. */
typedef struct {
    const char *name;
    char value[96];
} ranks_fact;
/* Of all: EXIT_FINE, or EXIT_USAGE after a line that names the first rank and fact that differ. */
int ranks_compare(const ranks_fact *facts, int count);

/* A message under way, from start to wait; the buffers stay untouched between. Zeroed: none. */
typedef struct ranks_message ranks_message;
struct ranks_message {
    void *handle;
    double began, ended; /* machine_now(); ended: when it was seen to be over */
    bool failed;         /* over, but not done: only after ranks_tolerate */
    ranks_message *next; /* of those under way */
};
/* Of all. See driver.h. */
void ranks_gather(ranks_message *m, ranks_kind kind, void *data, const int64_t *first);
void ranks_exchange(ranks_message *m, ranks_kind kind, const void *send, const int64_t *from, void *receive,
                    const int64_t *to);
void ranks_send(ranks_message *m, const void *data, int64_t bytes, int rank);
void ranks_receive(ranks_message *m, void *data, int64_t bytes, int rank);
/* Until it is over; at once when none is under way. The seconds that this took. */
double ranks_wait(ranks_message *m);
bool ranks_over(ranks_message *m); /* without waiting */
/* Lets messages get on while something else is computed. */
void ranks_progress(void);

/* How the job is to be taken up, for the line about a rank that died: prints a command. NULL: cannot be. */
void ranks_when_lost(void (*say)(void *ctx, FILE *to), void *ctx);
/* From now on the others live on when one dies, unless it is rank 0; who waits for it looks for that himself. */
void ranks_tolerate(void);
/* What mpirun was not told, that it lets the others live on then: an option of it. NULL: it was. */
const char *ranks_survival(void);
/* Whether that rank is seen to be dead: one of this host. */
bool ranks_gone(int rank);
/* Ends all ranks; and this one alone, without the dead, whom ranks_close would wait for. */
_Noreturn void ranks_end(int code);
_Noreturn void ranks_leave(int code);
/* Ends all ranks, after a line "rank 3 on node2: ..." from any of them. Alone: the same without the rank. */
_Noreturn void ranks_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
