/* What an epoch would take on more ranks, by a model that is checked on the ranks that there are:
 *
 *     step(R) = compute(R) + max(0, hidden(R) - compute(R)) + waited(R)
 *
 * compute: a batch's part that falls to a rank of R, in the slices of the whole batch, timed on all ranks at once
 * and without messages: what ranks of a host take from each other is in it, as many on a host as there are. The
 * optimizer's work is shared by R; what every rank computes whole is the whole batch's. hidden and waited: what
 * travels by the network's own account (net_share_of), a message (R - 1) alpha, a byte received beta
 * (scaling_messages.c); a message between two ranks of a host and of two hosts is one to the model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../harness/output.h"
#include "../harness/ranks/ranks.h"
#include "../harness/record/csv.h"
#include "../harness/stats.h"
#include "../kernels/util.h"
#include "experiment_internal.h"
#include "scaling.h"

enum { MOST_COUNTS = 16, LEAST = 5, MOST = 60, MOST_ROWS = 512 };
static const double ENOUGH_S = 0.5;

/* Seconds of a step; of it, the optimizer's and of layers that every rank computes whole. */
typedef struct {
    double step, optimizer, whole;
} timed;

/* A model, on so many ranks each. */
typedef struct {
    int ranks[MOST_COUNTS], count;
    net_share share[MOST_COUNTS];
    timed part[MOST_COUNTS];
    stats_summary here; /* steps on the ranks that there are; n is 0: not timed */
    double hidden, waited;
} measured;

typedef struct {
    experiment e;
    scaling_messages messages;
    const char *told; /* the column messages */
    FILE *csv;
    char *text;
    size_t size;
} scaling;

static int64_t batch_of(const experiment *e)
{
    return min64(e->o->fit.batch_size, fit_images(&e->o->fit, e->data.train.count));
}

static bool is_measured(const scaling *s) { return strcmp(s->told, SCALING_MEASURED) == 0; }

/* ---- steps */

/* What of the steps since the profile was reset was the optimizer, and what every rank would compute whole. */
static timed split_step(const net *n, double step)
{
    static net_profile_row rows[MOST_ROWS];
    timed t = {.step = step};
    double wall;
    int count = net_profile(n, rows, MOST_ROWS, &wall);
    for (int i = 0; i < count && wall > 0; i++) {
        double share = step * (rows[i].forward_s + rows[i].backward_s) / wall;
        if (strcmp(rows[i].layer, "optimizer") == 0) t.optimizer += share;
        if (rows[i].whole) t.whole += share;
    }
    return t;
}

/* Steps of `images`, after two that make plans. took[MOST]. Returns how many: exactly `count`, or (0) LEAST and
 * as many more as half a second has. */
static size_t time_steps(experiment *e, int64_t images, int count, double *took)
{
    double began = 0;
    int done = 0;
    conv_error err;
    fit_initialize(e->now->m, e->fit.seed, e->n);
    net_batch b = {.bytes = e->data.train.images,
                   .values = e->data.train.values,
                   .labels = e->data.train.labels,
                   .count = images};
    for (int i = -2; i < MOST; i++) {
        net_result r;
        double start = machine_now();
        if (i == 0) net_profile_reset(e->n), began = start;
        if (i >= (count > 0 ? count : LEAST) && (count > 0 || start - began > ENOUGH_S)) break;
        if (net_train(e->n, &b, 0, &r, &err) != CONV_OK) ranks_fail("%s", err.text);
        net_update(e->n, &e->fit.opt, 1, e->state.slots);
        if (i >= 0) took[done++] = machine_now() - start;
    }
    return (size_t)done;
}

static timed time_part(experiment *e, int64_t images)
{
    double took[MOST];
    size_t count = time_steps(e, images, 0, took);
    return split_step(e->n, stats_median(took, count));
}

/* Of all ranks: the slowest one's. */
static timed slowest(timed own)
{
    ranks_message m = {0};
    timed all[SCALING_MOST_RANKS] = {{0}};
    int64_t first[SCALING_MOST_RANKS + 1];
    int size = ranks_size(), at = 0;
    for (int r = 0; r <= size; r++) first[r] = r * (int64_t)(sizeof own / sizeof(double));
    all[ranks_rank()] = own;
    ranks_gather(&m, RANKS_DOUBLES, all, first);
    ranks_wait(&m);
    for (int r = 1; r < size; r++)
        if (all[r].step > all[at].step) at = r;
    return all[at];
}

static int interrupted(void) { return ranks_agree(cli_interrupted() ? cli_signal_exit_code() : EXIT_FINE); }

/* On every rank by itself, the whole batch on rank 0 while the others sleep; where ranks share cores, all of it. */
static int time_parts(scaling *s, measured *m, json_t *choices)
{
    experiment *e = &s->e;
    int code = EXIT_FINE;
    bool together = is_measured(s);
    e->part_slice = net_slice(e->n);
    for (int i = 0; i < m->count && code == EXIT_FINE; i++) {
        if (i == 1) code = experiment_create_nets(e, choices);
        if (code != EXIT_FINE) break;
        bool same = i > 1 && m->share[i].images == m->share[i - 1].images;
        if (same) {
            m->part[i] = m->part[i - 1];
            continue;
        }
        if (ranks_rank() == 0 || (together && i > 0)) m->part[i] = time_part(e, m->share[i].images);
        if (together && i > 0) m->part[i] = slowest(m->part[i]);
        code = interrupted();
    }
    e->part_slice = 0;
    return code;
}

/* On all ranks, as training does it. */
static int time_here(scaling *s, measured *m, json_t *choices)
{
    experiment *e = &s->e;
    double took[MOST];
    e->alone = false;
    int code = experiment_create_nets(e, choices);
    if (code != EXIT_FINE) return code;
    m->here = stats_summarize(took, time_steps(e, batch_of(e), MOST, took));
    static net_profile_row rows[MOST_ROWS];
    double wall;
    int count = net_profile(e->n, rows, MOST_ROWS, &wall);
    for (int i = 0; i < count; i++)
        if (strcmp(rows[i].layer, "communication") == 0)
            m->waited = (rows[i].forward_s + rows[i].backward_s) / MOST;
    m->hidden = net_hidden(e->n) / MOST;
    return interrupted();
}

/* ---- the prediction */

typedef struct {
    double compute, hidden, waited, step, epoch;
} prediction;

static prediction predict(const scaling *s, const measured *m, int i)
{
    const net_share *share = &m->share[i];
    const timed *part = &m->part[i];
    const experiment *e = &s->e;
    int ranks = m->ranks[i];
    double alpha = s->messages.alpha * (ranks - 1), beta = s->messages.beta;
    prediction p = {.compute =
                        part->step - part->optimizer * (1 - 1.0 / ranks) + m->part[0].whole - part->whole};
    if (ranks > 1) {
        p.hidden = share->hidden * alpha + share->hidden_bytes * beta;
        p.waited = share->waited * alpha + share->waited_bytes * beta;
    }
    p.step = p.compute + fmax(0, p.hidden - p.compute) + p.waited;
    p.epoch = p.step * (double)div_up(fit_images(&e->o->fit, e->data.train.count), batch_of(e));
    return p;
}

static void put_row(const scaling *s, const measured *m, int i)
{
    prediction p = predict(s, m, i);
    const experiment *e = &s->e;
    csv_put(s->csv, e->now->label);
    fprintf(s->csv, ",%d,%lld,%.4f,%.4f,%.4f,%.4f,%.5f,%.3f,%d,", m->ranks[i], (long long)m->share[i].images,
            1e3 * p.compute, 1e3 * p.hidden, 1e3 * p.waited, 1e3 * p.step, p.epoch,
            predict(s, m, 0).epoch / p.epoch, m->share[i].working);
    if (m->here.n > 0 && m->ranks[i] == ranks_size())
        fprintf(s->csv, "%.4f,%.4f,%.4f,%.4f,%.4f", 1e3 * m->here.median, 1e3 * m->here.ci95_low,
                1e3 * m->here.ci95_high, 1e3 * m->hidden, 1e3 * m->waited);
    else
        fputs(",,,,", s->csv);
    fprintf(s->csv, ",%d,%d,%lld,%s\n", ranks_size(), e->o->threads, (long long)batch_of(e), s->told);
}

/* The table for the terminal. */
static void print_model(const scaling *s, const measured *m)
{
    const experiment *e = &s->e;
    const net_share *last = &m->share[m->count - 1];
    printf("%s, batch of %lld, %d thread%s a rank\n", e->now->label, (long long)batch_of(e), e->o->threads,
           e->o->threads > 1 ? "s" : "");
    printf("  %5s %7s %7s %12s %12s %12s %10s %10s %8s\n", "ranks", "working", "images", "compute ms",
           "hidden ms", "waited ms", "step ms", "epoch s", "speedup");
    for (int i = 0; i < m->count; i++) {
        prediction p = predict(s, m, i);
        printf("  %5d %7d %7lld %12.3f %12.3f %12.3f %10.3f %10.2f %8.2f\n", m->ranks[i], m->share[i].working,
               (long long)m->share[i].images, 1e3 * p.compute, 1e3 * p.hidden, 1e3 * p.waited, 1e3 * p.step,
               p.epoch, predict(s, m, 0).epoch / p.epoch);
    }
    if (last->working < m->ranks[m->count - 1])
        printf("  more than %d ranks have no images: the batch is cut into as many chunks\n", last->working);
    for (int i = 0; i < m->count && m->here.n > 0; i++) {
        prediction p = predict(s, m, i);
        if (m->ranks[i] != ranks_size()) continue;
        printf("  checked on %d ranks: a step took %.3f ms, predicted %.3f ms: %+.0f%%; of messages, %.3f ms "
               "were under way meanwhile and %.3f ms were packed and waited for\n",
               ranks_size(), 1e3 * m->here.median, 1e3 * p.step, 100 * (p.step / m->here.median - 1),
               1e3 * m->hidden, 1e3 * m->waited);
    }
}

/* ---- all of it */

/* 1, 2, 4 ... 256 ranks, no more than the batch has images; those that there are; the most that have images. */
static void list_counts(const scaling *s, measured *m)
{
    const experiment *e = &s->e;
    int64_t batch = batch_of(e);
    int here = is_measured(s) ? ranks_size() : 1;
    int limit = net_share_of(e->n, batch, (int)min64(batch, SCALING_MOST_RANKS)).working;
    for (int ranks = 1; ranks <= SCALING_MOST_RANKS && ranks <= batch; ranks++) {
        if ((ranks & (ranks - 1)) != 0 && ranks != here && ranks != limit) continue;
        m->share[m->count] = net_share_of(e->n, batch, ranks);
        m->ranks[m->count++] = ranks;
    }
}

static int measure_model(scaling *s, measured *m)
{
    experiment *e = &s->e;
    e->alone = true;
    int code = experiment_create_nets(e, NULL);
    if (code != EXIT_FINE) return code;
    json_t *choices = ranks_rank() == 0 ? net_choices(e->n) : NULL;
    list_counts(s, m);
    code = time_parts(s, m, choices);
    if (code == EXIT_FINE && is_measured(s)) code = time_here(s, m, choices);
    json_decref(choices);
    return code;
}

static int scale_model(scaling *s, trained_model *t)
{
    experiment *e = &s->e;
    measured m = {.count = 0};
    e->now = t;
    e->fit = e->o->fit;
    bool room = fit_state_create(t->m, &e->fit, &e->state);
    int code = ranks_agree(room ? EXIT_FINE : cli_error("no memory for the optimizer's state"));
    if (code == EXIT_FINE) code = measure_model(s, &m);
    for (int i = 0; i < m.count && code == EXIT_FINE; i++) put_row(s, &m, i);
    if (code == EXIT_FINE && ranks_rank() == 0 && !e->o->quiet) print_model(s, &m);
    fit_state_destroy(&e->state);
    return code;
}

/* Whether ranks have cores of their own; what is measured otherwise is of no use. */
static bool ranks_share_cores(const experiment *e, int *count)
{
    int index;
    ranks_place(&index, count);
    ranks_share(count, sizeof *count);
    return ranks_any(*count > 1 && *count * e->o->threads > machine_get()->cores);
}

static void measure_messages(scaling *s)
{
    const experiment_options *o = s->e.o;
    int together = 1;
    s->told = ranks_size() == 1                     ? SCALING_NONE
              : ranks_share_cores(&s->e, &together) ? SCALING_SHARED
                                                    : SCALING_MEASURED;
    if (is_measured(s)) scaling_time_messages(&s->messages);
    if (o->quiet) return;
    if (is_measured(s))
        scaling_print_messages(&s->messages);
    else if (ranks_size() == 1)
        printf("No messages are measured, and none counted: under mpirun, with 2 ranks or more, they are.\n");
    else
        printf(
            "No messages are measured, and none counted: %d ranks of %d thread%s share %d core%s, where each "
            "waits for the others' turns. Fewer ranks or threads can be measured.\n",
            together, o->threads, o->threads > 1 ? "s" : "", machine_get()->cores,
            machine_get()->cores > 1 ? "s" : "");
}

static bool write_file(const scaling *s, const char *name, const char *text, size_t size)
{
    char path[4352];
    conv_error err;
    snprintf(path, sizeof path, "%.4000s/%s", s->e.out.path, name);
    if (output_write(path, OUTPUT_OWN, text, size, &err)) return true;
    cli_error("%s", err.text);
    return false;
}

/* Both files, of the writer. */
static int write_files(scaling *s)
{
    char *text = NULL;
    size_t size;
    FILE *csv = open_memstream(&text, &size);
    if (csv == NULL || fflush(s->csv) != 0) return cli_error("no memory");
    scaling_put_messages(csv, &s->messages);
    fclose(csv);
    bool fine = !is_measured(s) || write_file(s, "scaling_messages.csv", text, size);
    fine = fine && write_file(s, "scaling.csv", s->text, s->size);
    free(text);
    s->e.fresh = s->e.fresh && !fine; /* its run.json stays */
    if (fine && !s->e.o->quiet) printf("Written to %s\n", s->e.out.path);
    return fine ? EXIT_FINE : EXIT_USAGE;
}

static int scale_all(scaling *s)
{
    const experiment_options *o = s->e.o;
    int code = EXIT_FINE;
    measure_messages(s);
    for (int i = 0; i < o->model_count && code == EXIT_FINE; i++) code = scale_model(s, &s->e.models[i]);
    return ranks_agree(code == EXIT_FINE && ranks_rank() == 0 ? write_files(s) : code);
}

int experiment_scaling(const experiment_options *o)
{
    scaling s = {.e = {.o = o, .scaling = true}};
    experiment *e = &s.e;
    int code = ranks_size() > SCALING_MOST_RANKS
                   ? cli_error("--scaling: more than %d ranks", SCALING_MOST_RANKS)
                   : EXIT_FINE;
    if (code == EXIT_FINE) code = experiment_load(e);
    code = ranks_agree(code);
    if (code == EXIT_FINE) code = experiment_check_ranks(e);
    if (code != EXIT_FINE) goto done;
    code = ranks_agree(ranks_rank() == 0 ? experiment_open(e) : EXIT_FINE);
    s.csv = open_memstream(&s.text, &s.size);
    if (s.csv == NULL) ranks_fail("no memory");
    fputs(SCALING_COLUMNS_TEXT "\n", s.csv);
    if (code == EXIT_FINE) code = scale_all(&s);
    fclose(s.csv);
    free(s.text);
    if (ranks_rank() == 0) experiment_close(e);
done:
    experiment_unload(e);
    return code;
}
