#include "work.h"

#include <math.h>

#include "limits.h"
#include "util.h"

static void move(conv_work *w, conv_move m)
{
    if (m.read + m.written <= 0) return;
    for (int i = 0; i < w->moves; i++)
        if (w->move[i].reach == m.reach) {
            w->move[i].read += m.read;
            w->move[i].written += m.written;
            return;
        }
    if (w->moves < CONV_MOVES) w->move[w->moves++] = m; /* else left out: limits are stated low */
}

void work_read(conv_work *w, double bytes, double reach) { move(w, (conv_move){bytes, 0, reach}); }

void work_write(conv_work *w, double bytes, double reach)
{
    move(w, (conv_move){reach == CONV_PAST_CACHES ? 0 : bytes, bytes, reach});
}

void work_copy(conv_work *w, double bytes, double reach, int lanes)
{
    work_write(w, bytes, reach);
    w->copied += bytes;
    w->loads += bytes / 4 / lanes;
    w->stores += bytes / 4 / lanes;
}

void work_add_product(conv_work *w, const work_product *p)
{
    double vectors = (double)div_up(p->n, p->lanes), terms = p->rows * p->k;
    w->macs += terms * vectors * p->lanes;
    w->loads += terms * vectors / p->tile_rows;
    w->broadcasts += terms * (double)div_up(p->n, (int64_t)p->nv * p->lanes);
    w->stores += p->rows * vectors;
}

void work_add(conv_work *w, const conv_work *part, int threads)
{
    double macs = w->macs + part->macs;
    double busiest = macs > 0 ? (w->macs * w->busiest + part->macs * part->busiest) / macs : part->busiest;
    w->macs = macs;
    w->loads += part->loads;
    w->broadcasts += part->broadcasts;
    w->stores += part->stores;
    w->copied += part->copied;
    w->barriers += part->barriers;
    w->busiest = busiest;
    for (int i = 0; i < part->moves; i++) {
        conv_move m = part->move[i];
        if (m.reach == CONV_EACH_CALL && part->footprint > 0) m.reach = part->footprint / threads;
        move(w, m);
    }
}

double work_busiest(int64_t units, int threads)
{
    return units <= 0 ? 1 : (double)(div_up(units, threads) * threads) / (double)units;
}

double work_model_ns(const conv_work *w, const conv_problem *p, conv_pass pass, cpu_isa isa,
                     const conv_context *ctx)
{
    conv_work all = *w;
    all.footprint = fmax(all.footprint, (double)conv_bytes_min(p, pass));
    all.busiest = fmax(all.busiest, 1);
    all.barriers += ctx->threads > 1 ? 2 : 0;
    return limits_model_ns(&all, isa, ctx);
}

void work_finish(conv_plan *plan, int regions, int barriers)
{
    conv_work *w = &plan->work;
    const conv_problem *p = &plan->problem;
    double packed = (double)plan->packed_bytes;
    w->stated = true;
    w->footprint =
        (double)conv_bytes_min(p, plan->pass) + (double)plan->scratch_bytes + (double)plan->workspace_bytes;
    if (packed > 0) { /* read instead of the weights, which only a gradient's shape still counts */
        conv_sizes s = conv_problem_sizes(p);
        w->footprint += packed - 4.0 * (double)(s.weights + s.pointwise);
    }
    w->footprint = fmax(w->footprint, packed);
    w->barriers += plan->context.threads > 1 ? 2 * regions + barriers : 0;
    if (w->busiest < 1) w->busiest = 1;
}
