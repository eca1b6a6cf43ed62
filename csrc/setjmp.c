/*
 * Engine "setjmp": _setjmp(3) and _longjmp(3) between stacks.
 *
 * A jump saves the caller with _setjmp into a record in its own frame and leaves by _longjmp to the record of the
 * target: two short libc functions, no system call, nothing but the callee-saved registers. ISO C does not bless a
 * longjmp to another stack; every libc that this was tried on does it, because jmp_buf holds registers and nothing
 * else, and QEMU, systemd and GNU Pth rely on it too. What _setjmp cannot do is the *first* entry of a new stack: that
 * is kapok_boot's (boot.h).
 *
 * The jump itself holds the _setjmp, with no helper under it: after the _longjmp the processor predicts returns by the
 * stack that it left, so each frame between here and the code that goes on costs one misprediction.
 *
 * setjmp_fenv.c compiles this file a second time, with KAPOK_KEEP_FENV: that engine keeps the floating-point
 * environment of each context, which _setjmp by itself does not.
 */
#undef _FORTIFY_SOURCE    /* its checked longjmp takes another stack for a corrupt one */
#define _XOPEN_SOURCE 700 /* declares _setjmp and _longjmp */

#include <setjmp.h>

#include "boot.h"
#include "engines.h"
#include "record.h"

#ifdef KAPOK_KEEP_FENV
#include <fenv.h>
#define ENGINE kapok_engine_setjmp_fenv
#else
#define ENGINE kapok_engine_setjmp
#endif

/* Of a context inside a jump: lies in the frame of that jump. */
struct suspended {
    struct kapok_head head;
    jmp_buf env;
};

/* Of a context that has never run: lies at the high end of its stack. */
struct fresh {
    struct kapok_head head;
    kapok_entry_fn fn;
    unsigned char *low;
#ifdef KAPOK_KEEP_FENV
    fenv_t fenv;
#endif
};

static kapok_fcontext_t setjmp_make(void *sp, size_t size, kapok_entry_fn fn)
{
    struct fresh *self = kapok_place_record(sp, size, sizeof *self, kapok_boot_bytes(), sizeof(struct suspended));

    if (self == NULL)
        return NULL;
    self->head.state = KAPOK_FRESH(&ENGINE);
    self->fn = fn;
    self->low = (unsigned char *)sp - size;
#ifdef KAPOK_KEEP_FENV
    (void)fegetenv(&self->fenv);
#endif
    return self;
}

static void first_frame(void *record)
{
    struct fresh *self = record;

#ifdef KAPOK_KEEP_FENV
    (void)fesetenv(&self->fenv);
#endif
    kapok_run_entry(&self->head, self->fn);
}

/* The slow way out of a jump: `to` has never run, or cannot be resumed at all. */
static KAPOK_COLD _Noreturn void enter_fresh(struct kapok_head *to, struct suspended *self, void *data,
                                             kapok_ontop_fn fn)
{
    struct fresh *fresh = (struct fresh *)(void *)to;

    if (to == NULL || to->state != KAPOK_FRESH(&ENGINE))
        kapok_die_bad_handle(to);
    self->head.state = KAPOK_SUSPENDED(&ENGINE);
    to->state = KAPOK_CONSUMED;
    to->transfer.fctx = self;
    to->transfer.data = data;
    to->ontop = fn;
    kapok_boot(fresh->low, (size_t)((unsigned char *)fresh - fresh->low), first_frame, fresh);
}

static inline int is_suspended(const struct suspended *to)
{
    return to != NULL && to->head.state == KAPOK_SUSPENDED(&ENGINE);
}

/*
 * jump and ontop differ in one word. They are written out because a function that calls _setjmp cannot be inlined, and
 * a call in between would cost the misprediction described above.
 *
 * The state is set after the target's has been read, which may be the caller's own last handle, whose record lay where
 * `self` does. Both are volatile, or the compiler, to whom a parameter cannot point to a local, might swap them.
 *
 * No local variable changes after the _setjmp, so none has to be volatile; what others write is `self`, whose address
 * has been given away, and the compiler knows that _setjmp returns twice.
 */
static kapok_transfer_t setjmp_jump(kapok_fcontext_t handle, void *data)
{
    struct suspended *to = handle;
    struct suspended self;
#ifdef KAPOK_KEEP_FENV
    fenv_t fenv;
    (void)fegetenv(&fenv);
#endif
    if (_setjmp(self.env) == 0) {
        if (KAPOK_UNLIKELY(!is_suspended(to)))
            enter_fresh(handle, &self, data, NULL);
        self.head.state = KAPOK_SUSPENDED(&ENGINE);
        to->head.state = KAPOK_CONSUMED;
        to->head.transfer.fctx = &self;
        to->head.transfer.data = data;
        to->head.ontop = NULL;
        _longjmp(to->env, 1);
    }
#ifdef KAPOK_KEEP_FENV
    (void)fesetenv(&fenv);
#endif
    if (KAPOK_UNLIKELY(self.head.ontop != NULL))
        return self.head.ontop(self.head.transfer);
    return self.head.transfer;
}

static kapok_transfer_t setjmp_ontop(kapok_fcontext_t handle, void *data, kapok_ontop_fn fn)
{
    struct suspended *to = handle;
    struct suspended self;
#ifdef KAPOK_KEEP_FENV
    fenv_t fenv;
    (void)fegetenv(&fenv);
#endif
    if (_setjmp(self.env) == 0) {
        if (KAPOK_UNLIKELY(!is_suspended(to)))
            enter_fresh(handle, &self, data, fn);
        self.head.state = KAPOK_SUSPENDED(&ENGINE);
        to->head.state = KAPOK_CONSUMED;
        to->head.transfer.fctx = &self;
        to->head.transfer.data = data;
        to->head.ontop = fn;
        _longjmp(to->env, 1);
    }
#ifdef KAPOK_KEEP_FENV
    (void)fesetenv(&fenv);
#endif
    if (KAPOK_UNLIKELY(self.head.ontop != NULL))
        return self.head.ontop(self.head.transfer);
    return self.head.transfer;
}

const struct kapok_engine ENGINE = {"setjmp", setjmp_make, setjmp_jump, setjmp_ontop};
