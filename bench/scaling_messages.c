/* Messages by size: ping-pong and all-gather over the ranks that there are, and alpha and beta from the latter.
 * Our non-blocking messages go to each other rank by themselves: an all-gather of n bytes over R ranks takes
 * (R - 1) alpha + n (R - 1) / R beta. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/machine/machine.h"
#include "../harness/ranks/ranks.h"
#include "../harness/record/csv.h"
#include "../harness/stats.h"
#include "../harness/train/history.h"
#include "scaling.h"

enum { TURNS = 15 };

int64_t scaling_bytes(int i) { return (int64_t)1024 << 2 * i; }

static double time_gather(uint8_t *room, int64_t bytes)
{
    double took[TURNS];
    int size = ranks_size();
    int64_t first[SCALING_MOST_RANKS + 1];
    for (int r = 0; r <= size; r++) first[r] = bytes * r / size;
    for (int i = 0; i < TURNS; i++) {
        ranks_message m = {0};
        ranks_any(false); /* all begin together */
        double start = machine_now();
        ranks_gather(&m, RANKS_BYTES, room, first);
        ranks_wait(&m);
        took[i] = machine_now() - start;
    }
    return stats_median(took, TURNS);
}

/* Half of there and back between ranks 0 and 1. */
static double time_pingpong(uint8_t *room, int64_t bytes)
{
    double took[TURNS];
    int own = ranks_rank();
    ranks_any(false);
    for (int i = 0; i < TURNS && own < 2; i++) {
        double start = machine_now();
        for (int turn = 0; turn < 2; turn++) {
            ranks_message m = {0};
            if (turn == own)
                ranks_send(&m, room, bytes, 1 - own);
            else
                ranks_receive(&m, room, bytes, 1 - own);
            ranks_wait(&m);
        }
        took[i] = (machine_now() - start) / 2;
    }
    return own < 2 ? stats_median(took, TURNS) : 0;
}

void scaling_fit(scaling_messages *m)
{
    double s = 0, sx = 0, sxx = 0, sy = 0, sxy = 0, others = m->ranks - 1;
    for (int i = 0; i < SCALING_SIZES; i++) {
        double y = m->gather[i], x = (double)scaling_bytes(i) * others / m->ranks, w = 1 / (y * y);
        s += w, sx += w * x, sxx += w * x * x, sy += w * y, sxy += w * x * y;
    }
    m->beta = (s * sxy - sx * sy) / (s * sxx - sx * sx);
    m->alpha = (sy - m->beta * sx) / s / others;
    if (m->beta < 0) m->beta = 0, m->alpha = sy / s / others;
    if (m->alpha < 0) m->alpha = 0, m->beta = sxy / sxx;
}

double scaling_gather_s(const scaling_messages *m, int i)
{
    double others = m->ranks - 1;
    return others * m->alpha + (double)scaling_bytes(i) * others / m->ranks * m->beta;
}

void scaling_time_messages(scaling_messages *m)
{
    uint8_t *room = calloc(1, (size_t)scaling_bytes(SCALING_SIZES - 1));
    if (room == NULL) ranks_fail("no memory for messages");
    m->ranks = ranks_size();
    for (int i = 0; i < SCALING_SIZES; i++) {
        m->gather[i] = time_gather(room, scaling_bytes(i));
        m->pingpong[i] = time_pingpong(room, scaling_bytes(i));
    }
    free(room);
    scaling_fit(m);
}

void scaling_print_messages(const scaling_messages *m)
{
    printf("Messages over %d ranks (%s): alpha %.1f us, beta %.3f ns a byte", m->ranks, ranks_library(),
           1e6 * m->alpha, 1e9 * m->beta);
    if (m->beta > 0) printf(" (%.2f GB/s)", 1e-9 / m->beta);
    printf("%s\n  %12s %14s %14s %14s %8s\n",
           m->alpha > 0 && m->beta > 0 ? "" : ": what is 0 is too little to tell from these sizes", "bytes",
           "ping-pong us", "all-gather us", "model us", "error");
    for (int i = 0; i < SCALING_SIZES; i++)
        printf("  %12lld %14.1f %14.1f %14.1f %+7.0f%%\n", (long long)scaling_bytes(i), 1e6 * m->pingpong[i],
               1e6 * m->gather[i], 1e6 * scaling_gather_s(m, i),
               100 * (scaling_gather_s(m, i) / m->gather[i] - 1));
}

void scaling_put_messages(FILE *csv, const scaling_messages *m)
{
    fputs(SCALING_MESSAGES_COLUMNS_TEXT "\n", csv);
    for (int i = 0; i < SCALING_SIZES; i++) {
        fprintf(csv, "%d,%lld,%.3f,%.3f,%.3f,%.4f,%.6f,", m->ranks, (long long)scaling_bytes(i),
                1e6 * m->pingpong[i], 1e6 * m->gather[i], 1e6 * scaling_gather_s(m, i), 1e6 * m->alpha,
                1e9 * m->beta);
        csv_put(csv, ranks_library());
        fputc('\n', csv);
    }
}
