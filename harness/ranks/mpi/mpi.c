/* The driver of ranks on MPI, version 3 or later: non-blocking calls only, for whoever waits (ranks.c) also
 * watches for signals and for ranks that died. A shared object of its own; nothing of the program is called. */
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "../driver.h"

typedef struct {
    MPI_Request request;
    int *tables; /* counts and displacements, which MPI reads until the end */
} message;

static MPI_Comm all = MPI_COMM_NULL; /* of our own, so that nobody else's messages meet ours */
static int own, ranks;
static char why[MPI_MAX_ERROR_STRING + 64];

static bool fine(int status)
{
    int length;
    if (status == MPI_SUCCESS) return true;
    if (MPI_Error_string(status, why, &length) != MPI_SUCCESS) snprintf(why, sizeof why, "error %d", status);
    return false;
}

static bool mpi_open(int *rank, int *size)
{
    int level;
    if (!fine(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level))) return false;
    if (level < MPI_THREAD_FUNNELED) {
        snprintf(why, sizeof why, "this MPI allows no other threads beside the one that calls it");
        return false;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (!fine(MPI_Comm_dup(MPI_COMM_WORLD, &all))) return false;
    MPI_Comm_set_errhandler(all, MPI_ERRORS_RETURN);
    if (!fine(MPI_Comm_rank(all, rank)) || !fine(MPI_Comm_size(all, size))) return false;
    own = *rank;
    ranks = *size;
    return true;
}

static void mpi_close(void)
{
    MPI_Comm_free(&all);
    MPI_Finalize();
}

static void mpi_abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

static const char *mpi_text(void) { return why; }

static MPI_Datatype type_of(ranks_kind kind)
{
    return kind == RANKS_FLOATS ? MPI_FLOAT : kind == RANKS_DOUBLES ? MPI_DOUBLE : MPI_BYTE;
}

/* With room for `tables` pairs of counts and displacements. */
static message *new_message(int tables)
{
    message *m = malloc(sizeof *m);
    int *room = tables > 0 ? malloc(2 * (size_t)tables * (size_t)ranks * sizeof *room) : NULL;
    if (m != NULL && (tables == 0 || room != NULL)) {
        *m = (message){MPI_REQUEST_NULL, room};
        return m;
    }
    snprintf(why, sizeof why, "no memory for a message");
    free(m);
    free(room);
    return NULL;
}

static bool fill(const int64_t *first, int *counts, int *displacements)
{
    for (int r = 0; r < ranks; r++) {
        if (first[r + 1] > INT_MAX) {
            snprintf(why, sizeof why, "a message of more than %d elements", INT_MAX);
            return false;
        }
        counts[r] = (int)(first[r + 1] - first[r]);
        displacements[r] = (int)first[r];
    }
    return true;
}

/* The message, if it was started. */
static void *started(message *m, bool success)
{
    if (success) return m;
    free(m->tables);
    free(m);
    return NULL;
}

static void *mpi_gather(ranks_kind kind, void *data, const int64_t *first)
{
    message *m = new_message(1);
    if (m == NULL) return NULL;
    int *counts = m->tables, *displacements = counts + ranks;
    return started(m, fill(first, counts, displacements) &&
                          fine(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, counts, displacements,
                                               type_of(kind), all, &m->request)));
}

static void *mpi_exchange(ranks_kind kind, const void *send, const int64_t *from, void *receive,
                          const int64_t *to)
{
    message *m = new_message(2);
    if (m == NULL) return NULL;
    int *out = m->tables, *out_at = out + ranks, *in = out_at + ranks, *in_at = in + ranks;
    MPI_Datatype type = type_of(kind);
    bool filled = fill(from, out, out_at) && fill(to, in, in_at);
    out[own] = in[own] = 0;
    return started(
        m, filled && fine(MPI_Ialltoallv(send, out, out_at, type, receive, in, in_at, type, all, &m->request)));
}

static bool fits(int64_t bytes)
{
    if (bytes <= INT_MAX) return true;
    snprintf(why, sizeof why, "a message of more than %d bytes", INT_MAX);
    return false;
}

static void *mpi_broadcast(void *data, int64_t bytes, int root)
{
    message *m = new_message(0);
    return m == NULL ? NULL
                     : started(m, fits(bytes) &&
                                      fine(MPI_Ibcast(data, (int)bytes, MPI_BYTE, root, all, &m->request)));
}

static void *mpi_send(const void *data, int64_t bytes, int rank)
{
    message *m = new_message(0);
    return m == NULL ? NULL
                     : started(m, fits(bytes) &&
                                      fine(MPI_Isend(data, (int)bytes, MPI_BYTE, rank, 0, all, &m->request)));
}

static void *mpi_receive(void *data, int64_t bytes, int rank)
{
    message *m = new_message(0);
    return m == NULL ? NULL
                     : started(m, fits(bytes) &&
                                      fine(MPI_Irecv(data, (int)bytes, MPI_BYTE, rank, 0, all, &m->request)));
}

static bool mpi_test(void *handle, bool *done)
{
    message *m = handle;
    int flag = 0;
    bool success = fine(MPI_Test(&m->request, &flag, MPI_STATUS_IGNORE));
    *done = flag != 0;
    if (*done || !success) started(m, false);
    return success;
}

static void mpi_version(char *text, size_t size)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(version, &length);
    for (char *c = version; *c != '\0'; c++)
        if (*c == '\n' || *c == ',') *c = '\0'; /* the rest says who built it */
    snprintf(text, size, "%s", version);
}

const ranks_driver sepbench_ranks_driver = {.version = RANKS_DRIVER_VERSION,
                                            .open = mpi_open,
                                            .close = mpi_close,
                                            .abort = mpi_abort,
                                            .text = mpi_text,
                                            .gather = mpi_gather,
                                            .exchange = mpi_exchange,
                                            .broadcast = mpi_broadcast,
                                            .send = mpi_send,
                                            .receive = mpi_receive,
                                            .test = mpi_test,
                                            .version_text = mpi_version};
