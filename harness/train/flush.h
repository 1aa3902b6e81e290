/* Denormals as zero, for the calling thread: late in training dead units' moments decay into the denormals,
 * where x86 is a hundred times slower. */
#ifndef SEPBENCH_TRAIN_FLUSH_H
#define SEPBENCH_TRAIN_FLUSH_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__SSE__)
#include <xmmintrin.h>

static inline void flush_denormals(bool on)
{
    const unsigned ftz_daz = 0x8040;
    _mm_setcsr(on ? _mm_getcsr() | ftz_daz : _mm_getcsr() & ~ftz_daz);
}
#elif defined(__aarch64__)
static inline void flush_denormals(bool on)
{
    uint64_t fpcr, fz = UINT64_C(1) << 24;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    fpcr = on ? fpcr | fz : fpcr & ~fz;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
}
#else
static inline void flush_denormals(bool on) { (void)on; }
#endif

#endif
