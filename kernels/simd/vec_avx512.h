/* AVX-512: 32 registers of 16 floats, masks in their own registers. Included by vec.h. */
#define VEC_REGISTERS 32 /* a macro: tiles.def asks */
typedef __m512 vec;
typedef __mmask16 vec_mask;

/* Register tiles, rows by number of vectors: 14x32 leaves 2 registers for the panel and 1 for the broadcast
 * row; wider tiles read the panel's cache line fewer rows long but broadcast less. */
enum {
    VL = 16,
    TILE_VECTORS = 4,
    TILE_ROWS = 14,
    TILE_ROWS_1 = 14,
    TILE_ROWS_2 = 14,
    TILE_ROWS_3 = 8,
    TILE_ROWS_4 = 6,
    DEPTHWISE_OUTPUTS = 7, /* of a row at once: two rows of 7 and 9 weights; 7 divides common widths */
    DEPTHWISE_ROW = 14,    /* of one row alone, and taps of as many weights: 22 registers */
    DEPTHWISE_TAPS = 7,
    DEPTHWISE_DIFFS = 7, /* and of their gradient, with */
    DEPTHWISE_TAP_SUMS = 21
};

static inline vec_mask vec_mask_first(int64_t n) { return (vec_mask)((1u << n) - 1u); }
static inline vec vec_zero(void) { return _mm512_setzero_ps(); }
static inline vec vec_set1(float x) { return _mm512_set1_ps(x); }
static inline vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
static inline void vec_stream(float *p, vec v) { _mm512_stream_ps(p, v); }
static inline void vec_stream_end(void) { _mm_sfence(); }
static inline vec vec_load_mask(const float *p, vec_mask m) { return _mm512_maskz_loadu_ps(m, p); }
static inline void vec_store_mask(float *p, vec_mask m, vec v) { _mm512_mask_storeu_ps(p, m, v); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec vec_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static inline vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec vec_min(vec a, vec b) { return _mm512_min_ps(a, b); }
static inline vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }
static inline vec vec_abs(vec v) { return _mm512_abs_ps(v); }
/* In assembly, for compilers load *p into a register once for several uses, and that broadcast takes a turn of
 * the arithmetic units. */
static inline vec vec_add_at(vec v, const float *p)
{
    vec sum;
    __asm__("vaddps %2%{1to16%}, %1, %0" : "=v"(sum) : "v"(v), "m"(*p));
    return sum;
}
static inline vec vec_fma_at(vec v, const float *p, vec c)
{
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(v), "m"(*p));
    return c;
}
static inline vec vec_where_within(vec t, vec most, vec v)
{
    vec_mask positive = _mm512_cmp_ps_mask(t, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _mm512_maskz_mov_ps(_mm512_mask_cmp_ps_mask(positive, t, most, _CMP_LE_OQ), v);
}
/* v, in a register: keeps the compiler from loading it again for each use. */
static inline vec vec_held(vec v)
{
    __asm__("" : "+v"(v));
    return v;
}
