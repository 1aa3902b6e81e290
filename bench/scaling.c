/* What an epoch would take on more ranks, by a model that can be checked where ranks are:
 *
 *     step(R) = compute(batch / R) + max(0, hidden(R) - compute) + waited(R)
 *     messages:  m of n bytes received in all take  m (R - 1) alpha + n beta
 *
 * compute is measured, one rank alone on parts of a batch. alpha, of one message between two ranks, and beta are
 * fitted by least squares of relative errors to all-gathers of several sizes over the ranks that there are: our
 * non-blocking messages go to each other rank by themselves, hence R - 1. What travels is the network's own account
 * (net_traffic). The model knows no difference between ranks of a host and of two. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../harness/output.h"
#include "../harness/ranks/ranks.h"
#include "../harness/stats.h"
#include "../kernels/util.h"
#include "experiment_internal.h"

enum { MOST_RANKS = 256, SHARES = 9, SIZES = 8, LEAST = 5, MOST = 60 };
static const double ENOUGH_S = 0.5;

typedef struct {
    double compute[SHARES]; /* seconds of a step of the batch / 2^i */
    double pingpong[SIZES], gather[SIZES];
    double alpha, beta; /* 0: not measured */
    double step;        /* on the ranks that there are */
} measured;

static int64_t size_of(int i) { return (int64_t)1024 << 2 * i; } /* 1 KiB to 16 MiB */

static int64_t rows_of(const experiment *e, int ranks) { return div_up(e->o->fit.batch_size, ranks); }

/* ---- steps */

/* The median step of `rows` images, after two that make plans; on several ranks all do as many. */
static double time_steps(experiment *e, int64_t rows, int least)
{
    double took[MOST], began = machine_now();
    int count = 0;
    conv_error err;
    fit_initialize(e->now->m, e->fit.seed, e->n);
    net_batch b = {.bytes = e->data.train.images,
                   .values = e->data.train.values,
                   .labels = e->data.train.labels,
                   .count = min64(rows, e->data.train.count)};
    for (int i = -2; i < MOST && (i < least || (least < MOST && machine_now() - began < ENOUGH_S)); i++) {
        net_result r;
        double start = machine_now();
        if (net_train(e->n, &b, 0, &r, &err) != CONV_OK) ranks_fail("%s", err.text);
        net_update(e->n, &e->fit.opt, 1, e->state.slots);
        if (i >= 0) took[count++] = machine_now() - start;
    }
    return stats_median(took, (size_t)count);
}

/* Rank 0 alone, the others asleep. */
static int time_shares(experiment *e, measured *m)
{
    int code = EXIT_FINE;
    if (ranks_rank() == 0) {
        e->alone = true;
        code = experiment_create_net(e);
        for (int i = 0; i < SHARES && code == EXIT_FINE; i++)
            m->compute[i] = time_steps(e, rows_of(e, 1 << i), LEAST);
        e->alone = false;
    }
    return ranks_agree(code);
}

/* ---- messages */

static double time_gather(uint8_t *room, int64_t bytes)
{
    double took[LEAST * 3];
    int size = ranks_size();
    int64_t first[MOST_RANKS + 1];
    for (int r = 0; r <= size; r++) first[r] = bytes * r / size;
    for (int i = 0; i < LEAST * 3; i++) {
        ranks_message m = {0};
        ranks_any(false); /* all begin together */
        double start = machine_now();
        ranks_gather(&m, RANKS_BYTES, room, first);
        ranks_wait(&m);
        took[i] = machine_now() - start;
    }
    return stats_median(took, LEAST * 3);
}

/* Half of there and back between ranks 0 and 1. */
static double time_pingpong(uint8_t *room, int64_t bytes)
{
    double took[LEAST * 3];
    int own = ranks_rank();
    ranks_any(false);
    for (int i = 0; i < LEAST * 3 && own < 2; i++) {
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
    return own < 2 ? stats_median(took, LEAST * 3) : 0;
}

/* time = a + b * bytes, least squares of relative errors; neither is negative. */
static void fit(measured *m, int ranks)
{
    double s = 0, sx = 0, sxx = 0, sy = 0, sxy = 0;
    for (int i = 0; i < SIZES; i++) {
        double y = m->gather[i], x = (double)size_of(i) * (ranks - 1) / ranks, w = 1 / (y * y);
        s += w, sx += w * x, sxx += w * x * x, sy += w * y, sxy += w * x * y;
    }
    double b = (s * sxy - sx * sy) / (s * sxx - sx * sx);
    m->beta = fmax(b, 0);
    m->alpha = fmax((sy - m->beta * sx) / s, 0) / (ranks - 1);
}

static void time_messages(measured *m)
{
    uint8_t *room = malloc((size_t)size_of(SIZES - 1));
    if (room == NULL) ranks_fail("no memory for messages");
    memset(room, 0, (size_t)size_of(SIZES - 1));
    for (int i = 0; i < SIZES; i++) {
        m->gather[i] = time_gather(room, size_of(i));
        m->pingpong[i] = time_pingpong(room, size_of(i));
    }
    free(room);
    fit(m, ranks_size());
}

/* ---- the prediction */

typedef struct {
    double compute, hidden, waited, step, epoch;
} prediction;

/* Between measured parts of a batch, and below the smallest, by straight lines in images. */
static double compute_of(const experiment *e, const measured *m, int ranks)
{
    int i = 0;
    while (i < SHARES - 2 && 1 << (i + 1) < ranks) i++;
    double x0 = (double)rows_of(e, 1 << i), x1 = (double)rows_of(e, 1 << (i + 1)),
           x = (double)rows_of(e, ranks);
    return x0 == x1 ? m->compute[i]
                    : m->compute[i + 1] + (m->compute[i] - m->compute[i + 1]) * (x - x1) / (x0 - x1);
}

static prediction predict(const experiment *e, const measured *m, int ranks)
{
    net_messages t = net_traffic(e->n, e->o->fit.batch_size, ranks);
    double alpha = m->alpha * (ranks - 1);
    prediction p = {.compute = compute_of(e, m, ranks),
                    .hidden = t.hidden * alpha + t.hidden_bytes * m->beta,
                    .waited = t.waited * alpha + t.waited_bytes * m->beta};
    p.step = p.compute + fmax(0, p.hidden - p.compute) + p.waited;
    p.epoch = p.step * (double)div_up(fit_images(&e->o->fit, e->data.train.count), e->o->fit.batch_size);
    return p;
}

static void print_messages(const measured *m)
{
    printf("Messages over %d ranks (%s): alpha %.1f us, beta %.3f ns a byte (%.2f GB/s)\n", ranks_size(),
           ranks_library(), 1e6 * m->alpha, 1e9 * m->beta, 1e-9 / m->beta);
    printf("  %12s %14s %14s %14s %8s\n", "bytes", "ping-pong us", "all-gather us", "model us", "error");
    for (int i = 0; i < SIZES; i++) {
        int ranks = ranks_size();
        double model = m->alpha * (ranks - 1) + m->beta * (double)size_of(i) * (ranks - 1) / ranks;
        printf("  %12lld %14.1f %14.1f %14.1f %+7.0f%%\n", (long long)size_of(i), 1e6 * m->pingpong[i],
               1e6 * m->gather[i], 1e6 * model, 100 * (model / m->gather[i] - 1));
    }
}

static const char COLUMNS[] = "model,ranks,images,compute_ms,hidden_ms,waited_ms,step_ms,epoch_s,speedup\n";

/* The table for the terminal, and the same as CSV. */
static void print_model(const experiment *e, const measured *m, FILE *csv)
{
    double one = predict(e, m, 1).epoch;
    bool messages = ranks_size() > 1;
    printf("%s, batch of %lld, %d thread%s a rank\n", e->now->label, (long long)e->o->fit.batch_size,
           e->o->threads, e->o->threads > 1 ? "s" : "");
    printf("  %5s %7s %12s %12s %12s %10s %10s %8s\n", "ranks", "images", "compute ms", "hidden ms",
           "waited ms", "step ms", "epoch s", "speedup");
    for (int ranks = 1; ranks <= MOST_RANKS && ranks <= e->o->fit.batch_size; ranks *= 2) {
        prediction p = predict(e, m, ranks);
        printf("  %5d %7lld %12.3f %12.3f %12.3f %10.3f %10.2f %8.2f\n", ranks, (long long)rows_of(e, ranks),
               1e3 * p.compute, 1e3 * p.hidden, 1e3 * p.waited, 1e3 * p.step, p.epoch, one / p.epoch);
        fprintf(csv, "%s,%d,%lld,%.4f,%.4f,%.4f,%.4f,%.4f,%.3f\n", e->now->label, ranks,
                (long long)rows_of(e, ranks), 1e3 * p.compute, 1e3 * p.hidden, 1e3 * p.waited, 1e3 * p.step,
                p.epoch, one / p.epoch);
    }
    if (!messages) return;
    prediction here = predict(e, m, ranks_size());
    printf("  checked on %d ranks: a step took %.3f ms, predicted %.3f ms: %+.0f%%\n", ranks_size(),
           1e3 * m->step, 1e3 * here.step, 100 * (here.step / m->step - 1));
}

/* ---- all of it */

static int scale_model(experiment *e, trained_model *t, measured *m, FILE *csv)
{
    e->now = t;
    e->fit = e->o->fit;
    bool room = fit_state_create(t->m, &e->fit, &e->state);
    int code = ranks_agree(room ? EXIT_FINE : cli_error("no memory for the optimizer's state"));
    if (code == EXIT_FINE && ranks_size() > 1) code = experiment_create_nets(e, NULL);
    if (code == EXIT_FINE && ranks_size() > 1) m->step = time_steps(e, e->o->fit.batch_size, MOST);
    if (code == EXIT_FINE) code = time_shares(e, m);
    if (code == EXIT_FINE && ranks_rank() == 0) print_model(e, m, csv);
    fit_state_destroy(&e->state);
    return code;
}

static int write_csv(const char *dir, const char *text, size_t size)
{
    char path[4352];
    conv_error err;
    snprintf(path, sizeof path, "%.4000s/scaling.csv", dir);
    if (!cli_make_path(dir)) return cli_error("--out: %s: it cannot be made", dir);
    return output_write(path, OUTPUT_OWN, text, size, &err) ? EXIT_FINE : cli_error("%s", err.text);
}

int experiment_scaling(const experiment_options *o)
{
    experiment e = {.o = o};
    measured m = {.alpha = 0};
    char *text = NULL;
    size_t size;
    int code = ranks_size() > MOST_RANKS ? cli_error("--scaling: more than %d ranks", MOST_RANKS) : EXIT_FINE;
    if (code == EXIT_FINE) code = experiment_load(&e);
    code = ranks_agree(code);
    if (code == EXIT_FINE) code = experiment_check_ranks(&e);
    FILE *csv = open_memstream(&text, &size);
    if (csv == NULL) ranks_fail("no memory");
    fputs(COLUMNS, csv);
    if (code == EXIT_FINE && ranks_size() > 1) time_messages(&m);
    if (code == EXIT_FINE && ranks_size() > 1) print_messages(&m);
    if (code == EXIT_FINE && ranks_size() == 1)
        printf("No messages are measured, and none counted: under mpirun, with 2 ranks or more, they are.\n");
    for (int i = 0; i < o->model_count && code == EXIT_FINE; i++) code = scale_model(&e, &e.models[i], &m, csv);
    fclose(csv);
    if (code == EXIT_FINE && o->out_dir != NULL && ranks_rank() == 0) code = write_csv(o->out_dir, text, size);
    free(text);
    experiment_unload(&e);
    return ranks_agree(code);
}
