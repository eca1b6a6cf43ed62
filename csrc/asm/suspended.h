/*
 * What a jump of engine "asm" leaves on the stack, for make() to fill in: the layout is the assembler's, and so are the
 * names of registers. A context that has never run looks the same, with what a caller of jump() would have provided
 * behind it.
 *
 * Where a function returns a struct of two pointers in memory that its caller provides (i386, arm, s390x), a fresh
 * context has that memory at its high end, and the first frame takes the transfer from there.
 */
#ifndef KAPOK_ASM_SUSPENDED_H
#define KAPOK_ASM_SUSPENDED_H

#include <stdint.h>

#include "../kapok_fctx.h"

#if defined(__x86_64__)
struct suspended {
    uintptr_t state;
#ifdef KAPOK_KEEP_FENV
    uint32_t mxcsr;
    uint16_t x87_control;
    unsigned char unused[10];
#endif
    uintptr_t r15_to_r12[4];
    kapok_entry_fn fn; /* rbx */
    uintptr_t rbp;
    void (*resume)(void);
};
struct fresh {
    struct suspended as_suspended;
};
#elif defined(__i386__)
struct suspended {
    uintptr_t state;
    uint32_t mxcsr;       /* unused, with the next, on the engine that does not keep them */
    uint16_t x87_control; /* and two bytes that keep the rest aligned */
    uintptr_t edi, esi;
    kapok_entry_fn fn; /* ebx */
    uintptr_t ebp;
    void (*resume)(void);
};
struct fresh {
    struct suspended as_suspended;
    kapok_transfer_t *result; /* as jump() is called: the address of its result, then two words that are its own */
    uintptr_t arguments[2];
    kapok_transfer_t first;
};
#elif defined(__aarch64__)
struct suspended {
    uintptr_t state;
    uintptr_t fpcr;    /* unused on the engine that does not keep it */
    kapok_entry_fn fn; /* x19 */
    uintptr_t x20_to_x28[9];
    uintptr_t x29;
    void (*resume)(void); /* x30 */
    uint64_t d8_to_d15[8];
};
struct fresh {
    struct suspended as_suspended;
};
#elif defined(__arm__)
struct suspended {
    uintptr_t state;
    uint32_t fpscr;           /* unused on the engine that does not keep it */
    kapok_transfer_t *result; /* r0 */
    kapok_entry_fn fn;        /* r4 */
    uintptr_t r5_to_r11[7];
    void (*resume)(void); /* lr */
    uint64_t d8_to_d15[8];
};
struct fresh {
    struct suspended as_suspended;
    kapok_transfer_t first;
};
#elif defined(__riscv)
struct suspended {
    uintptr_t state;
    uintptr_t frm; /* unused on the engine that does not keep it */
    uintptr_t s0;
    kapok_entry_fn fn; /* s1 */
    uintptr_t s2_to_s11[10];
    void (*resume)(void); /* ra */
    uintptr_t unused;     /* a stack pointer is a multiple of 16 */
    uint64_t fs0_to_fs11[12];
};
struct fresh {
    struct suspended as_suspended;
};
#elif defined(__s390x__)
struct suspended {
    uintptr_t state;
    uint32_t fpc; /* unused on the engine that does not keep it */
    uint32_t unused;
    kapok_transfer_t *result; /* r2 */
    kapok_entry_fn fn;        /* r6 */
    uintptr_t r7_to_r13[7];
    void (*resume)(void); /* r14 */
    void *r15;            /* for those who walk the stack */
    uint64_t f8_to_f15[8];
    kapok_transfer_t argument; /* of an on-top function, which is given its address */
};
struct fresh {
    struct suspended as_suspended;
    kapok_transfer_t first;
};
#else /* 64-bit POWER */
struct suspended {
    uintptr_t state;
    double fpscr; /* unused on the engine that does not keep it */
    uintptr_t cr;
    void (*resume)(void); /* lr */
    unsigned char v20_to_v31[12][16];
    kapok_entry_fn fn; /* r14 */
    uintptr_t r15_to_r31[17];
    uint64_t f14_to_f31[18];
};
struct fresh {
    struct suspended as_suspended;
    uintptr_t outermost[4]; /* the header of a frame, with which the chain of frames ends */
};
#endif

#ifdef KAPOK_KEEP_FENV
static inline void note_control_words(struct suspended *self)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(self->mxcsr), "=m"(self->x87_control));
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(self->fpcr));
#elif defined(__arm__)
    __asm__ volatile("vmrs %0, fpscr" : "=r"(self->fpscr));
#elif defined(__riscv)
    __asm__ volatile("frrm %0" : "=r"(self->frm));
#elif defined(__s390x__)
    __asm__ volatile("stfpc %0" : "=Q"(self->fpc));
#else
    __asm__ volatile("mffs %0" : "=d"(self->fpscr));
#endif
}
#endif

/* What jump() would have had from its caller; all else is zero, and a frame pointer of zero ends a chain of frames. */
static inline void provide_for_the_first_frame(struct fresh *self)
{
#if defined(__i386__)
    self->result = &self->first;
#elif defined(__arm__)
    self->as_suspended.result = &self->first;
#elif defined(__s390x__)
    self->as_suspended.result = &self->first;
    self->as_suspended.r15 = &self->first;
#elif defined(__powerpc64__)
    ((uintptr_t *)(void *)self)[-4] = (uintptr_t)self->outermost; /* the frame of the jump begins with a header, too */
#else
    (void)self;
#endif
}

#endif
