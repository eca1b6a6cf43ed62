/* What an engine does where engines may differ: what it is documented to do, and what it is seen to do. */
#ifndef KAPOK_TEST_PROBE_H
#define KAPOK_TEST_PROBE_H

#include "test.h"

/* Whether a context is documented to have its own signal mask; elsewhere the mask belongs to the thread. */
int keeps_signal_mask(void);

/* The same of the floating-point environment. */
int keeps_fp_environment(void);

/* Prints comment lines about the machine: system, C library, compiler, sizes, and how stacks are entered. */
void probe_system(void);

/* Prints one comment line about the engine under test: what it keeps, what it needs, what a switch costs. */
void probe_engine(void);

/*
 * The rounding mode, where it can be had without libm, which these tests are to be linked without. Elsewhere than on
 * glibc, setjmp(3) may keep it as well: the BSDs' does on x86-64.
 */
#if defined(__x86_64__) && defined(__GLIBC__)
#include <xmmintrin.h>

#define FP_CONTROL_KNOWN 1
#define FP_ROUND_NEAREST _MM_ROUND_NEAREST
#define FP_ROUND_DOWN _MM_ROUND_DOWN
#define FP_ROUND_UP _MM_ROUND_UP

static inline unsigned int fp_rounding(void)
{
    return _mm_getcsr() & _MM_ROUND_MASK;
}

static inline void set_fp_rounding(unsigned int mode)
{
    _mm_setcsr((_mm_getcsr() & ~(unsigned int)_MM_ROUND_MASK) | mode);
}
#elif defined(__aarch64__) && defined(__GLIBC__)
#define FP_CONTROL_KNOWN 1
#define FP_ROUND_MASK 0xc00000u /* of FPCR */
#define FP_ROUND_NEAREST 0u
#define FP_ROUND_UP 0x400000u
#define FP_ROUND_DOWN 0x800000u

static inline unsigned int fp_rounding(void)
{
    uint64_t control;

    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return (unsigned int)control & FP_ROUND_MASK;
}

static inline void set_fp_rounding(unsigned int mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode));
}
#else
#define FP_CONTROL_KNOWN 0
#endif

#endif
