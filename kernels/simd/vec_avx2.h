/* AVX2 + FMA3: 16 registers of 8 floats, masks as vectors of all-ones lanes. Included by vec.h. */
#define VEC_REGISTERS 16 /* a macro: tiles.def asks */
typedef __m256 vec;
typedef __m256i vec_mask;

/* 6x16 and 4x24 both use 12 accumulators, the panel's 2 or 3 vectors and one broadcast. */
enum {
    VL = 8,
    TILE_VECTORS = 3,
    TILE_ROWS = 6,
    TILE_ROWS_1 = 6,
    TILE_ROWS_2 = 6,
    TILE_ROWS_3 = 4,
    TILE_ROWS_4 = 0,
    DEPTHWISE_OUTPUTS = 4, /* of a row at once: two rows of 4, 6 weights and a source vector */
    DEPTHWISE_ROW = 7,     /* of one row alone, and taps of as many weights: 15 registers */
    DEPTHWISE_TAPS = 7,
    DEPTHWISE_DIFFS = 4, /* and of their gradient, with */
    DEPTHWISE_TAP_SUMS = 10
};

static inline vec_mask vec_mask_first(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vec vec_zero(void) { return _mm256_setzero_ps(); }
static inline vec vec_set1(float x) { return _mm256_set1_ps(x); }
static inline vec vec_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
static inline void vec_stream(float *p, vec v) { _mm256_stream_ps(p, v); }
static inline void vec_stream_end(void) { _mm_sfence(); }
static inline vec vec_load_mask(const float *p, vec_mask m) { return _mm256_maskload_ps(p, m); }
static inline void vec_store_mask(float *p, vec_mask m, vec v) { _mm256_maskstore_ps(p, m, v); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec vec_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec vec_min(vec a, vec b) { return _mm256_min_ps(a, b); }
static inline vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }
static inline vec vec_abs(vec v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
static inline vec vec_add_at(vec v, const float *p) { return vec_add(v, vec_set1(*p)); }
static inline vec vec_fma_at(vec v, const float *p, vec c) { return vec_fma(v, vec_set1(*p), c); }
static inline vec vec_where_within(vec t, vec most, vec v)
{
    vec positive = _mm256_cmp_ps(t, _mm256_setzero_ps(), _CMP_GT_OQ);
    return _mm256_and_ps(_mm256_and_ps(positive, _mm256_cmp_ps(t, most, _CMP_LE_OQ)), v);
}
/* v, in a register: keeps the compiler from loading it again for each use. */
static inline vec vec_held(vec v)
{
    __asm__("" : "+x"(v));
    return v;
}
