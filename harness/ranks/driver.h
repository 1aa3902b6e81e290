/* What the program asks of a message-passing library: a table that a shared object beside the program fills
 * (mpi/mpi.c, built by `make MPI=1`). The program itself is not linked with MPI: it runs where there is none,
 * and the same program runs with whatever MPI the object was built for. */
#ifndef SEPBENCH_RANKS_DRIVER_H
#define SEPBENCH_RANKS_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RANKS_DRIVER_VERSION = 1 }; /* changes with the table */

/* What a message is made of. Counts are of these, at most INT_MAX of them in a message. */
typedef enum { RANKS_BYTES, RANKS_FLOATS, RANKS_DOUBLES, RANKS_KINDS } ranks_kind;

/* A message under way is a handle that the driver made. A function that fails returns false, and text() then
 * says why; nothing is retried. */
typedef struct {
    int version;
    bool (*open)(int *rank, int *size);
    void (*close)(void);
    void (*abort)(int code);
    const char *(*text)(void); /* of the last failure, in the library's words */
    /* Everybody gets everybody's: rank r has written elements [first[r], first[r + 1]) of data. */
    void *(*gather)(ranks_kind kind, void *data, const int64_t *first);
    /* Everybody gets a part from everybody else: rank r is sent [from[r], from[r + 1]) of send, what it sends
     * goes to [to[r], to[r + 1]) of receive. The own part of receive is left alone. */
    void *(*exchange)(ranks_kind kind, const void *send, const int64_t *from, void *receive, const int64_t *to);
    void *(*broadcast)(void *data, int64_t bytes, int root);
    /* To one rank, from one rank; several between the same two arrive in order. */
    void *(*send)(const void *data, int64_t bytes, int rank);
    void *(*receive)(void *data, int64_t bytes, int rank);
    /* Also lets whatever is under way get on. done, or a failure: released then. */
    bool (*test)(void *message, bool *done);
    void (*version_text)(char *text, size_t size);
} ranks_driver;

/* The object's one symbol. */
#define RANKS_DRIVER_SYMBOL "sepbench_ranks_driver"
extern const ranks_driver sepbench_ranks_driver;

#endif
