/* Lowering + cblas_sgemm of OpenBLAS, its OpenMP build: what a framework without kernels of its own does.
 *
 * A block of output pixels is lowered in parallel (im2col/lower.h, the same code as ours), multiplied by one
 * sgemm, and finished; the block is large enough that sgemm's packing of the weights is amortised, and no
 * larger, so that scratch does not grow with the batch. A 1x1 convolution of stride 1 multiplies src where it
 * lies. NHWC. Refuses other builds of OpenBLAS (their threads would not be ours), and a core type
 * beyond SEPBENCH_MAX_ISA (OpenBLAS fixes it when it is loaded). No depthwise: it is not a matrix product. */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../conv.h"
#include "../im2col/join_chunks.h"
#include "../im2col/lower.h" /* the base copy: it copies, through libc's memcpy, which picks its own instructions */
#include "../plan.h"
#include "../util.h"

typedef struct {
    conv_plan head;
    bool direct;           /* the lowered matrix is src */
    int64_t pixels, block; /* of the batch, and per sgemm */
    int64_t columns, oc;   /* of the lowered matrix, of weights: per group */
    size_t gradient;       /* offset in scratch of a block of masked diff_dst, behind the lowered block */
} openblas_plan;

/* ---- the passes */

enum { STRIP = 16 }; /* pixels per task around sgemm */

/* Rows [pixel, pixel + pixels) and all `columns` of a matrix, side by side into to. */
static void fill_strips(sgemm_operand matrix, int64_t pixel, int64_t pixels, int64_t columns, float *to,
                        int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < pixels; i += STRIP) {
        sgemm_block strip = {pixel + i, min64(STRIP, pixels - i), 0, columns};
        matrix.fill(matrix.matrix, &strip, to + i * columns, columns);
    }
}

/* Bias and post-op on dst[pixels][oc], rows ld apart. */
static void finish(const openblas_plan *m, const float *bias, float *dst, int64_t pixels)
{
    float clip = conv_clip(m->head.problem.post_op);
    int64_t ld = m->head.problem.oc;
    if (bias == NULL && clip == 0) return;
#pragma omp parallel for schedule(static) num_threads(m->head.context.threads)
    for (int64_t i = 0; i < pixels; i++)
#pragma omp simd
        for (int64_t o = 0; o < m->oc; o++) {
            float value = dst[i * ld + o] + (bias ? bias[o] : 0);
            dst[i * ld + o] = conv_clipped(value, clip);
        }
}

static void forward(const openblas_plan *m, const conv_args *args)
{
    const conv_problem *p = &m->head.problem;
    for (int64_t g = 0; g < p->groups; g++) {
        lowering l = lower_describe(p, g);
        l.src = args->src;
        for (int64_t i = 0; i < m->pixels; i += m->block) {
            int64_t pixels = min64(m->block, m->pixels - i);
            const float *col = m->direct ? args->src + i * p->ic + l.first : args->scratch;
            float *dst = args->dst + i * p->oc + g * m->oc;
            if (!m->direct)
                fill_strips((sgemm_operand){lower_block, &l, false}, i, pixels, m->columns, args->scratch,
                            m->head.context.threads);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)pixels, (blasint)m->oc,
                        (blasint)m->columns, 1, col, (blasint)(m->direct ? p->ic : m->columns),
                        args->weights + g * m->oc, (blasint)p->oc, 0, dst, (blasint)p->oc);
            finish(m, p->bias ? args->bias + g * m->oc : NULL, dst, pixels);
        }
    }
}

/* diff_dst of a block: as it lies, or masked by the post-op into scratch. *ld is the distance of its rows. */
static const float *gradient(const openblas_plan *m, const conv_args *args, int64_t g, int64_t pixel,
                             int64_t pixels, int64_t *ld)
{
    const conv_problem *p = &m->head.problem;
    const float *from = args->diff_dst + pixel * p->oc + g * m->oc;
    *ld = p->oc;
    if (p->post_op == CONV_POST_NONE) return from;
    sgemm_matrix masked = {args->diff_dst + g * m->oc, args->dst + g * m->oc, p->oc, conv_passing(p->post_op)};
    float *to = (float *)((char *)args->scratch + m->gradient);
    fill_strips((sgemm_operand){sgemm_fill_rows, &masked, false}, pixel, pixels, m->oc, to,
                m->head.context.threads);
    *ld = m->oc;
    return to;
}

static void backward_data(const openblas_plan *m, const conv_args *args)
{
    const conv_problem *p = &m->head.problem;
    int threads = m->head.context.threads;
    if (!m->direct) lower_clear(p, args->diff_src, threads);
    for (int64_t g = 0; g < p->groups; g++) {
        lowering l = lower_describe(p, g);
        for (int64_t i = 0; i < m->pixels; i += m->block) {
            sgemm_block b = {i, min64(m->block, m->pixels - i), 0, m->columns};
            int64_t ld;
            const float *diff = gradient(m, args, g, i, b.rows, &ld);
            float *col = m->direct ? args->diff_src + i * p->ic + l.first : args->scratch;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)b.rows, (blasint)m->columns,
                        (blasint)m->oc, 1, diff, (blasint)ld, args->weights + g * m->oc, (blasint)p->oc, 0, col,
                        (blasint)(m->direct ? p->ic : m->columns));
            if (!m->direct) lower_add_block(&l, &b, col, m->columns, args->diff_src, threads);
        }
    }
}

static void backward_weights(const openblas_plan *m, const conv_args *args)
{
    const conv_problem *p = &m->head.problem;
    int threads = m->head.context.threads;
    for (int64_t g = 0; g < p->groups; g++) {
        lowering l = lower_describe(p, g);
        l.src = args->src;
        for (int64_t i = 0; i < m->pixels; i += m->block) {
            int64_t pixels = min64(m->block, m->pixels - i), ld;
            const float *diff = gradient(m, args, g, i, pixels, &ld);
            const float *col = m->direct ? args->src + i * p->ic + l.first : args->scratch;
            if (!m->direct)
                fill_strips((sgemm_operand){lower_block, &l, false}, i, pixels, m->columns, args->scratch,
                            threads);
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)m->columns, (blasint)m->oc,
                        (blasint)pixels, 1, col, (blasint)(m->direct ? p->ic : m->columns), diff, (blasint)ld,
                        args->accumulate || i > 0 ? 1 : 0, args->diff_weights + g * m->oc, (blasint)p->oc);
        }
    }
    if (p->bias) bias_gradient(p, args, args->scratch, threads);
}

static conv_status execute(const conv_plan *plan, const conv_args *args)
{
    const openblas_plan *m = (const openblas_plan *)plan;
    int threads = plan->context.threads, before = omp_get_max_threads();
    /* The OpenMP build asks omp_get_max_threads() at every call, unless it was last told to use one thread. */
    if (before != threads) omp_set_num_threads(threads);
    if (openblas_get_num_threads() != threads) openblas_set_num_threads(threads);
    if (plan->pass == CONV_FORWARD) forward(m, args);
    if (conv_data_wanted(plan, args)) backward_data(m, args);
    if (conv_makes_weights(plan->pass)) backward_weights(m, args);
    if (before != threads) omp_set_num_threads(before);
    return CONV_OK;
}

/* ---- plan */

/* The widest instruction set of each of OpenBLAS's x86 core types; those not listed need no more than base. */
static cpu_isa core_isa(const char *core)
{
    static const struct {
        const char *core;
        cpu_isa isa;
    } cores[] = {{"SkylakeX", CPU_AVX512},  {"Cooperlake", CPU_AVX512}, {"SapphireRapids", CPU_AVX512},
                 {"Haswell", CPU_AVX2},     {"Zen", CPU_AVX2},          {"Excavator", CPU_AVX2},
                 {"Sandybridge", CPU_AVX2}, {"Bulldozer", CPU_AVX2},    {"Piledriver", CPU_AVX2},
                 {"Steamroller", CPU_AVX2}};
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (strcasecmp(core, cores[i].core) == 0) return cores[i].isa;
    return CPU_BASE;
}

static const char *refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)p, (void)pass;
    if (openblas_get_parallel() != OPENBLAS_OPENMP) return "this OpenBLAS is not the OpenMP build";
    if (core_isa(openblas_get_corename()) > cpu_allowed())
        return "OpenBLAS runs wider instructions than SEPBENCH_MAX_ISA allows: set OPENBLAS_CORETYPE "
               "(Haswell for avx2, Nehalem for base)";
    return NULL;
}

static conv_status plan(const conv_impl *self, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        conv_plan **out, conv_error *err)
{
    enum { LEAST_PIXELS = 1024 }; /* per sgemm, or it would spend its time packing weights */
    openblas_plan *m = conv_plan_new(sizeof *m, self, p, pass, ctx);
    if (m == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
    m->direct = lower_is_src(p);
    m->pixels = p->mb;
    m->columns = p->ic / p->groups;
    for (int i = 0; i < CONV_AXES; i++) {
        m->pixels *= conv_out(&p->axis[i]);
        m->columns *= p->axis[i].kernel;
    }
    m->oc = p->oc / p->groups;
    int64_t fits = (int64_t)(ctx->l2 / sizeof(float)) / m->columns;
    m->block =
        m->direct ? m->pixels : div_up(m->pixels, div_up(m->pixels, fits > LEAST_PIXELS ? fits : LEAST_PIXELS));
    m->gradient = m->direct ? 0 : conv_align((size_t)(m->block * m->columns) * sizeof(float));
    bool masked = pass != CONV_FORWARD && p->post_op != CONV_POST_NONE;
    size_t bias = pass != CONV_FORWARD && p->bias ? bias_gradient_bytes(p) : 0;
    m->head.scratch_bytes = m->gradient + (masked ? (size_t)(m->block * m->oc) * sizeof(float) : 0);
    if (bias > m->head.scratch_bytes) m->head.scratch_bytes = bias;
    int64_t most = m->columns > m->block ? m->columns : m->block;
    if (p->ic > INT32_MAX || most > INT32_MAX) {
        free(m);
        return conv_fail(err, CONV_REFUSED, "a matrix has %lld rows: OpenBLAS counts to 2^31-1",
                         (long long)most);
    }
    snprintf(m->head.note, sizeof m->head.note, "%s, %lld pixels per sgemm", openblas_get_corename(),
             (long long)m->block);
    *out = &m->head;
    return CONV_OK;
}

static const char *version(void)
{
    static char text[96]; /* the same bytes whoever writes them */
    snprintf(text, sizeof text, "%.90s", openblas_get_config());
    return text;
}

#define COMMON                                                                                                 \
    .name = "openblas", .isa = CPU_BASE, .peer = true, .layouts = 1u << CONV_NHWC, .version = version,         \
    .refuse = refuse, .plan = plan, .execute = execute

static const conv_impl dense = {COMMON, .variant = CONV_DENSE, .summary = "lowering + OpenBLAS's sgemm"};
static const conv_impl pointwise = {COMMON, .variant = CONV_POINTWISE, .summary = "OpenBLAS's sgemm"};

extern const conv_impl *const openblas_impls[CONV_VARIANT_COUNT];
const conv_impl *const openblas_impls[CONV_VARIANT_COUNT] = {&dense, NULL, &pointwise, NULL};
