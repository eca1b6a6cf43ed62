/*
 * Engine "asm": a switch written by hand for the machines that have one, asm/<machine>_<abi>.S.
 *
 * It is there to be compared with the others, and for those who want the last nanoseconds: what the C library does for
 * engine "setjmp" with checks and mangled pointers, without these. Only what is the same on every machine is here: a
 * new context is a record as a jump leaves it, so that its first entry is a jump like any other, and costs as much.
 *
 * asm_fenv.c compiles this file a second time, with KAPOK_KEEP_FENV: that engine keeps the floating-point control words
 * of each context, and a context that has never run starts with those of its maker, as Boost's does. On this one they
 * are the thread's.
 */
#include "engines.h"

#if KAPOK_HAVE_ASM
#include <string.h>

#include "asm/suspended.h"

KAPOK_HIDDEN kapok_transfer_t KAPOK_ASM_JUMP(kapok_fcontext_t to, void *data);
KAPOK_HIDDEN kapok_transfer_t KAPOK_ASM_ONTOP(kapok_fcontext_t to, void *data, kapok_ontop_fn fn);
/* Not to be called: it takes its arguments from where a jump leaves its results. */
KAPOK_HIDDEN void KAPOK_ASM_ENTER(void);

_Static_assert(sizeof(struct suspended) == KAPOK_ASM_RECORD_BYTES, "the assembler's record");
_Static_assert(offsetof(struct suspended, state) == 0, "every record begins with its state");

static kapok_fcontext_t asm_make(void *sp, size_t size, kapok_entry_fn fn)
{
    struct fresh *self = kapok_place_record(sp, size, sizeof *self, 0, sizeof(struct suspended));

    if (self == NULL)
        return NULL;
    (void)memset(self, 0, sizeof *self);
    provide_for_the_first_frame(self);
#ifdef KAPOK_KEEP_FENV
    note_control_words(&self->as_suspended);
#endif
    self->as_suspended.fn = fn;
    self->as_suspended.resume = KAPOK_ASM_ENTER;
    self->as_suspended.state = KAPOK_SUSPENDED(&KAPOK_ASM_ENGINE);
    return self;
}

const struct kapok_engine KAPOK_ASM_ENGINE = {"asm", asm_make, KAPOK_ASM_JUMP, KAPOK_ASM_ONTOP};
#else
typedef int kapok_no_asm; /* ISO C wants a declaration in every file */
#endif
