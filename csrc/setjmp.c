/*
 * Engine "setjmp": setjmp and longjmp between stacks, the compiler's own or _setjmp(3) and _longjmp(3).
 *
 * A jump saves the caller into a record in its own frame and leaves by a longjmp to the record of the target: no system
 * call, nothing but the callee-saved registers. ISO C does not bless a longjmp to another stack; every libc that this
 * was tried on does it, because jmp_buf holds registers and nothing else, and QEMU, systemd and GNU Pth rely on it too.
 * What setjmp cannot do is the *first* entry of a new stack: that is kapok_boot's (boot.h).
 *
 * The jump itself holds the setjmp, with no helper under it: after the longjmp the processor predicts returns by the
 * stack that it left, so each frame between here and the code that goes on costs one misprediction. The compiler's own
 * has none of libc's frames either, and takes half the time (platform.h says where it is used). It notes the stack
 * pointer, the frame pointer and where to go on; all other registers are saved by the function around it, which the
 * compiler sees to. It may not be given a record that the same function call has filled, and is not.
 *
 * setjmp_fenv.c compiles this file a second time, with KAPOK_KEEP_FENV: that engine keeps the floating-point
 * environment of each context, which setjmp by itself does not.
 */
#undef _FORTIFY_SOURCE    /* its checked longjmp takes another stack for a corrupt one */
#define _XOPEN_SOURCE 700 /* declares _setjmp and _longjmp */

#include "boot.h"
#include "engines.h"
#include "record.h"

#if KAPOK_BUILTIN_SETJMP
typedef void *saved_registers[5]; /* as both compilers document */
#define SAVE(registers) __builtin_setjmp(registers)
#define RESUME(registers) __builtin_longjmp(registers, 1)
#else
#include <setjmp.h>
typedef jmp_buf saved_registers;
#define SAVE(registers) _setjmp(registers)
#define RESUME(registers) _longjmp(registers, 1)
#endif

#ifdef KAPOK_KEEP_FENV
#include <fenv.h>
#define ENGINE kapok_engine_setjmp_fenv
#else
#define ENGINE kapok_engine_setjmp
#endif

/* Of a context inside a jump: lies in the frame of that jump. */
struct suspended {
    struct kapok_head head;
    saved_registers registers;
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
 * jump and ontop differ in one word. They are written out because a function that calls setjmp must not be inlined, which
 * not every compiler knows, and a call in between would cost the misprediction described above.
 *
 * The state is set after the target's has been read, which may be the caller's own last handle, whose record lay where
 * `self` does. Both are volatile, or the compiler, to whom a parameter cannot point to a local, might swap them.
 *
 * No local variable changes after SAVE, so none has to be volatile; what others write is `self`, whose address has been
 * given away, and the compiler knows that SAVE returns twice.
 */
KAPOK_NO_STACK_PROTECTOR KAPOK_NOINLINE static kapok_transfer_t setjmp_jump(kapok_fcontext_t handle, void *data)
{
    struct suspended *to = handle;
    struct suspended self;
#ifdef KAPOK_KEEP_FENV
    fenv_t fenv;
    (void)fegetenv(&fenv);
#endif
    if (SAVE(self.registers) == 0) {
        if (KAPOK_UNLIKELY(!is_suspended(to)))
            enter_fresh(handle, &self, data, NULL);
        self.head.state = KAPOK_SUSPENDED(&ENGINE);
        to->head.state = KAPOK_CONSUMED;
        to->head.transfer.fctx = &self;
        to->head.transfer.data = data;
        to->head.ontop = NULL;
        RESUME(to->registers);
    }
#ifdef KAPOK_KEEP_FENV
    (void)fesetenv(&fenv);
#endif
    if (KAPOK_UNLIKELY(self.head.ontop != NULL))
        return self.head.ontop(self.head.transfer);
    return self.head.transfer;
}

KAPOK_NO_STACK_PROTECTOR KAPOK_NOINLINE static kapok_transfer_t setjmp_ontop(kapok_fcontext_t handle, void *data,
                                                                             kapok_ontop_fn fn)
{
    struct suspended *to = handle;
    struct suspended self;
#ifdef KAPOK_KEEP_FENV
    fenv_t fenv;
    (void)fegetenv(&fenv);
#endif
    if (SAVE(self.registers) == 0) {
        if (KAPOK_UNLIKELY(!is_suspended(to)))
            enter_fresh(handle, &self, data, fn);
        self.head.state = KAPOK_SUSPENDED(&ENGINE);
        to->head.state = KAPOK_CONSUMED;
        to->head.transfer.fctx = &self;
        to->head.transfer.data = data;
        to->head.ontop = fn;
        RESUME(to->registers);
    }
#ifdef KAPOK_KEEP_FENV
    (void)fesetenv(&fenv);
#endif
    if (KAPOK_UNLIKELY(self.head.ontop != NULL))
        return self.head.ontop(self.head.transfer);
    return self.head.transfer;
}

const struct kapok_engine ENGINE = {"setjmp", setjmp_make, setjmp_jump, setjmp_ontop};
