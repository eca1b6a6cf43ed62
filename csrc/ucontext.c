/*
 * Engine "ucontext": swapcontext(3), as POSIX.1-2001 has it.
 *
 * The reference that the others are compared with, and the one that sanitizers and debuggers understand. swapcontext
 * also saves and restores the signal mask, which on every libc known to us is one system call a switch and most of its
 * cost.
 *
 * The context is prepared at its first entry, not by make(): getcontext(3) reads the signal mask, and the mask that
 * counts is the one of whoever enters.
 *
 * ucontext_fenv.c compiles this file a second time, with KAPOK_KEEP_FENV: that engine keeps the floating-point
 * environment of each context also where the libc's swapcontext does not (glibc's does), and a context that has never
 * run starts with the one of its maker, as Boost's does.
 */
#define _XOPEN_SOURCE 700 /* macOS: without it <ucontext.h> declares another, smaller ucontext_t */
#define _DARWIN_C_SOURCE

#include "platform.h"

#if KAPOK_HAVE_MAKECONTEXT
#include <ucontext.h>

#include "engines.h"
#include "record.h"
#include "sanitizer.h"

#ifdef KAPOK_KEEP_FENV
#include <fenv.h>
#define ENGINE kapok_engine_ucontext_fenv
#else
#define ENGINE kapok_engine_ucontext
#endif

/* Of a context inside a jump: lies in the frame of that jump. `fresh` begins with one. */
struct suspended {
    struct kapok_head head;
    ucontext_t uc;
    KAPOK_SANITIZED(struct kapok_sanitized sanitized;)
};

/* Of a context that has never run: lies at the high end of its stack. */
struct fresh {
    struct suspended as_suspended;
    kapok_entry_fn fn;
    unsigned char *low;
#ifdef KAPOK_KEEP_FENV
    fenv_t fenv;
#endif
};

static kapok_fcontext_t ucontext_make(void *sp, size_t size, kapok_entry_fn fn)
{
    struct fresh *self = kapok_place_record(sp, size, sizeof *self, 0, sizeof(struct suspended));

    if (self == NULL)
        return NULL;
    KAPOK_SANITIZED(kapok_sanitize_stack((unsigned char *)sp - size, size);)
    self->as_suspended.head.state = KAPOK_FRESH(&ENGINE);
    self->fn = fn;
    self->low = (unsigned char *)sp - size;
#ifdef KAPOK_KEEP_FENV
    (void)fegetenv(&self->fenv);
#endif
    return self;
}

static void first_frame(unsigned int high, unsigned int low)
{
    struct fresh *self = kapok_join_halves(high, low);

    KAPOK_SANITIZED(struct suspended *left = self->as_suspended.head.transfer.fctx;
                    kapok_sanitize_arrived(&self->as_suspended.sanitized, &left->sanitized);)
#ifdef KAPOK_KEEP_FENV
    (void)fesetenv(&self->fenv);
#endif
    kapok_run_entry(&self->as_suspended.head, self->fn);
}

/* Gives a context that has never run something that swapcontext can enter; dies where `to` cannot be resumed. */
static KAPOK_COLD void prepare_fresh(struct suspended *to)
{
    struct fresh *fresh = (struct fresh *)(void *)to;

    if (to == NULL || to->head.state != KAPOK_FRESH(&ENGINE))
        kapok_die_bad_handle((struct kapok_head *)(void *)to);
    if (getcontext(&to->uc) != 0)
        kapok_die("getcontext failed");
    to->uc.uc_stack.ss_sp = (void *)fresh->low;
    to->uc.uc_stack.ss_size = (size_t)((unsigned char *)fresh - fresh->low);
    to->uc.uc_stack.ss_flags = 0;
    to->uc.uc_link = NULL;
    kapok_end_the_frames(fresh->low, to->uc.uc_stack.ss_size);
    makecontext(&to->uc, (void (*)(void))first_frame, 2, kapok_high_half(fresh), kapok_low_half(fresh));
    KAPOK_SANITIZED(kapok_sanitize_fresh(&to->sanitized, fresh->low, to->uc.uc_stack.ss_size);
                    /* Or ASan's swapcontext would forget what it knows of this stack's frames when `self` goes on. */
                    to->uc.uc_stack.ss_size = 0;)
}

/*
 * glibc on 64-bit POWER restores the vector registers only where VRSAVE is not zero; it is, since compilers leave it alone. So
 * the frame of the jump is made to keep those that a function has to: no instruction, but a reason to save them.
 */
#if defined(__powerpc64__) && defined(__ALTIVEC__) && defined(__GNUC__)
#define KEEP_VECTOR_REGISTERS()                                                                                        \
    __asm__ volatile("" ::: "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31")
#else
#define KEEP_VECTOR_REGISTERS() ((void)0)
#endif

static inline kapok_transfer_t switch_to(struct suspended *to, void *data, kapok_ontop_fn fn)
{
    struct suspended self;
#ifdef KAPOK_KEEP_FENV
    fenv_t fenv;
    (void)fegetenv(&fenv);
#endif

    if (KAPOK_UNLIKELY(to == NULL || to->head.state != KAPOK_SUSPENDED(&ENGINE)))
        prepare_fresh(to);
    /* Only now: `to` may be the caller's own last handle, whose record lay where this one does (see setjmp.c). */
    self.head.state = KAPOK_SUSPENDED(&ENGINE);
    to->head.state = KAPOK_CONSUMED;
    to->head.transfer.fctx = &self;
    to->head.transfer.data = data;
    to->head.ontop = fn;
    KAPOK_SANITIZED(kapok_sanitize_leaving(&self.sanitized, &to->sanitized);)
    KEEP_VECTOR_REGISTERS();
    if (swapcontext(&self.uc, &to->uc) != 0)
        kapok_die("swapcontext failed");
    KAPOK_SANITIZED(struct suspended *left = self.head.transfer.fctx;
                    kapok_sanitize_arrived(&self.sanitized, &left->sanitized);)
#ifdef KAPOK_KEEP_FENV
    (void)fesetenv(&fenv);
#endif
    if (KAPOK_UNLIKELY(self.head.ontop != NULL))
        return self.head.ontop(self.head.transfer);
    return self.head.transfer;
}

static kapok_transfer_t ucontext_jump(kapok_fcontext_t to, void *data)
{
    return switch_to(to, data, NULL);
}

static kapok_transfer_t ucontext_ontop(kapok_fcontext_t to, void *data, kapok_ontop_fn fn)
{
    return switch_to(to, data, fn);
}

const struct kapok_engine ENGINE = {"ucontext", ucontext_make, ucontext_jump, ucontext_ontop};
#else
typedef int kapok_no_ucontext; /* ISO C wants a declaration in every file */
#endif
