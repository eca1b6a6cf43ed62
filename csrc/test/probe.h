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
#elif defined(__GLIBC__) && defined(__GNUC__) && defined(__i386__)
#define FP_CONTROL_KNOWN 1
#define FP_ROUND_MASK 0xc00u /* of the x87 control word */
#define FP_ROUND_NEAREST 0u
#define FP_ROUND_DOWN 0x400u
#define FP_ROUND_UP 0x800u
#define READ_FP_CONTROL(word) __asm__ volatile("fnstcw %0" : "=m"(word))
#define WRITE_FP_CONTROL(word) __asm__ volatile("fldcw %0" : : "m"(word))
typedef uint16_t fp_control;
#elif defined(__GLIBC__) && defined(__aarch64__)
#define FP_CONTROL_KNOWN 1
#define FP_ROUND_MASK 0xc00000u /* of FPCR */
#define FP_ROUND_NEAREST 0u
#define FP_ROUND_UP 0x400000u
#define FP_ROUND_DOWN 0x800000u
#define READ_FP_CONTROL(word) __asm__ volatile("mrs %0, fpcr" : "=r"(word))
#define WRITE_FP_CONTROL(word) __asm__ volatile("msr fpcr, %0" : : "r"(word))
typedef uint64_t fp_control;
#elif defined(__GLIBC__) && defined(__arm__) && defined(__ARM_PCS_VFP)
#define FP_CONTROL_KNOWN 1
#define FP_ROUND_MASK 0xc00000u /* of FPSCR */
#define FP_ROUND_NEAREST 0u
#define FP_ROUND_UP 0x400000u
#define FP_ROUND_DOWN 0x800000u
#define READ_FP_CONTROL(word) __asm__ volatile("vmrs %0, fpscr" : "=r"(word))
#define WRITE_FP_CONTROL(word) __asm__ volatile("vmsr fpscr, %0" : : "r"(word))
typedef uint32_t fp_control;
#elif defined(__GLIBC__) && defined(__riscv_flen)
#define FP_CONTROL_KNOWN 1
#define FP_ROUND_MASK 7u /* of frm */
#define FP_ROUND_NEAREST 0u
#define FP_ROUND_DOWN 2u
#define FP_ROUND_UP 3u
#define READ_FP_CONTROL(word) __asm__ volatile("frrm %0" : "=r"(word))
#define WRITE_FP_CONTROL(word) __asm__ volatile("fsrm %0" : : "r"(word))
typedef uintptr_t fp_control;
#elif defined(__GLIBC__) && defined(__s390x__)
#define FP_CONTROL_KNOWN 1
#define FP_ROUND_MASK 3u /* of FPC */
#define FP_ROUND_NEAREST 0u
#define FP_ROUND_UP 2u
#define FP_ROUND_DOWN 3u
#define READ_FP_CONTROL(word) __asm__ volatile("efpc %0" : "=d"(word))
#define WRITE_FP_CONTROL(word) __asm__ volatile("sfpc %0" : : "d"(word))
typedef uint32_t fp_control;
#elif defined(__GLIBC__) && defined(__powerpc64__)
#define FP_CONTROL_KNOWN 1
#define FP_ROUND_MASK 3u /* of FPSCR */
#define FP_ROUND_NEAREST 0u
#define FP_ROUND_UP 2u
#define FP_ROUND_DOWN 3u
#define READ_FP_CONTROL(word) __asm__ volatile("mffs 0\n\tstfd 0, %0" : "=m"(word) : : "fr0")
#define WRITE_FP_CONTROL(word) __asm__ volatile("lfd 0, %0\n\tmtfsf 0x01, 0" : : "m"(word) : "fr0")
typedef uint64_t fp_control;
#else
#define FP_CONTROL_KNOWN 0
#endif

#ifdef READ_FP_CONTROL
static inline unsigned int fp_rounding(void)
{
    fp_control word;

    READ_FP_CONTROL(word);
    return (unsigned int)word & FP_ROUND_MASK;
}

static inline void set_fp_rounding(unsigned int mode)
{
    fp_control word;

    READ_FP_CONTROL(word);
    word = (fp_control)(((uint64_t)word & ~(uint64_t)FP_ROUND_MASK) | mode);
    WRITE_FP_CONTROL(word);
}
#endif

/* x86 has two units with a mode each: the other one of the two, in the same words. */
#if FP_CONTROL_KNOWN
#if defined(__x86_64__)
static inline unsigned int fp_rounding_of_the_other_unit(void)
{
    uint16_t word;

    __asm__ volatile("fnstcw %0" : "=m"(word));
    return (word & 0xc00u) << 3;
}

static inline void set_fp_rounding_of_the_other_unit(unsigned int mode)
{
    uint16_t word;

    __asm__ volatile("fnstcw %0" : "=m"(word));
    word = (uint16_t)((word & ~0xc00u) | mode >> 3);
    __asm__ volatile("fldcw %0" : : "m"(word));
}
#elif defined(__i386__)
static inline unsigned int fp_rounding_of_the_other_unit(void)
{
    uint32_t word;

    __asm__ volatile("stmxcsr %0" : "=m"(word));
    return (word & 0x6000u) >> 3;
}

static inline void set_fp_rounding_of_the_other_unit(unsigned int mode)
{
    uint32_t word;

    __asm__ volatile("stmxcsr %0" : "=m"(word));
    word = (word & ~0x6000u) | mode << 3;
    __asm__ volatile("ldmxcsr %0" : : "m"(word));
}
#else
#define fp_rounding_of_the_other_unit fp_rounding
#define set_fp_rounding_of_the_other_unit set_fp_rounding
#endif
#endif

#endif
