/*
 * What the engines share: the head of every record, the record of a context that has never run, and the way to die.
 *
 * A handle points to a record. Every record begins with its state, so that a jump can tell a live handle of its own
 * engine from anything else before it trusts the rest. With the engines in C it begins with struct kapok_head: who
 * resumes a context writes the head of its record (the transfer and the on-top function), marks it consumed, and only
 * then leaves its own stack. Engine "asm" hands over the transfer in registers.
 */
#ifndef KAPOK_RECORD_H
#define KAPOK_RECORD_H

#include <stdint.h>

#include "kapok_fctx.h"

/* GCC and clang know both; any other C11 compiler gets plain C. */
#if defined(__GNUC__)
#define KAPOK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define KAPOK_COLD __attribute__((cold, noinline))
#define KAPOK_NOINLINE __attribute__((noinline))
#else
#define KAPOK_UNLIKELY(x) (x)
#define KAPOK_COLD
#define KAPOK_NOINLINE
#endif

/* Symbols that the engines share but that are nobody else's business. */
#if defined(__GNUC__) && defined(__ELF__)
#define KAPOK_HIDDEN __attribute__((visibility("hidden")))
#else
#define KAPOK_HIDDEN
#endif

struct kapok_head {
    volatile uintptr_t state;  /* one of the three below; volatile for its order, see the jumps */
    kapok_transfer_t transfer; /* what the jump that resumes this context brings */
    kapok_ontop_fn ontop;      /* to be run before the context goes on, or NULL */
};

/* A live record names its engine and its kind in one word, which stale stack memory does not hold by chance. */
#define KAPOK_CONSUMED ((uintptr_t)0)
#define KAPOK_SUSPENDED(engine) ((uintptr_t)(engine) + 1) /* inside a jump */
#define KAPOK_FRESH(engine) ((uintptr_t)(engine) + 2)     /* made, never run */

/*
 * What the frames from the entry of a stack to inside its first jump need, the record of that jump apart. Seen, in
 * unoptimised builds: 450 bytes on x86-64, 500 on aarch64, 1700 on s390x, where no frame is smaller than 160. With more
 * than this, engine "ucontext" on x86-64 would refuse a stack of one page.
 */
#define KAPOK_FIRST_FRAMES_BYTES 1920u

/*
 * Where a record of `record_size` bytes goes on the stack [sp - size, sp), or NULL when there is no room for it, for
 * what the boot takes, and for a function that does nothing but jump, with its record of `jump_record_size` bytes.
 */
KAPOK_HIDDEN void *kapok_place_record(void *sp, size_t size, size_t record_size, size_t boot_size,
                                      size_t jump_record_size);

/* Runs the on-top function if there is one, then `fn`, which must not return. The bottom frame of every context. */
KAPOK_HIDDEN void kapok_run_entry(struct kapok_head *head, kapok_entry_fn fn);

/* For when `fn` has returned. */
KAPOK_HIDDEN KAPOK_COLD _Noreturn void kapok_die_returned(void);

/* Writes "kapok: <sentence>" to standard error and aborts: for what nothing sane can go on from. */
KAPOK_HIDDEN KAPOK_COLD _Noreturn void kapok_die(const char *sentence);

/* Explains why `to` cannot be resumed by the engine that was asked to, and aborts. */
KAPOK_HIDDEN KAPOK_COLD _Noreturn void kapok_die_bad_handle(const struct kapok_head *to);

/* makecontext(3) hands over ints. A pointer travels as two of them, on every platform. */
static inline unsigned int kapok_high_half(const void *p)
{
    return (unsigned int)((uint64_t)(uintptr_t)p >> 32);
}

static inline unsigned int kapok_low_half(const void *p)
{
    return (unsigned int)((uint64_t)(uintptr_t)p & 0xffffffffu);
}

static inline void *kapok_join_halves(unsigned int high, unsigned int low)
{
    return (void *)(uintptr_t)((uint64_t)high << 32 | low);
}

/*
 * glibc's makecontext on 64-bit POWER does not write the outermost return address, so that who walks the stack goes on
 * by what lay at its high end before. Elsewhere there is nothing to do.
 */
static inline void kapok_end_the_frames(void *low, size_t size)
{
#ifdef __powerpc64__
    uintptr_t *high = (uintptr_t *)(((uintptr_t)low + size) & ~(uintptr_t)15);
    int i;

    for (i = 1; i <= 16; i++)
        high[-i] = 0;
#else
    (void)low;
    (void)size;
#endif
}

#endif
