/*
 * Engine "asm" on s390x (ELF ABI s390x supplement): jump, ontop, and the first frame of a context. See x86_64_sysv.S
 * for what is the same there: the idea and the order of things.
 *
 * A function keeps r6 to r13, r15, which is the stack pointer, f8 to f15, and the control bits of FPC, which
 * s390x_elf_fenv.S assembles this file again for. It returns a struct of two pointers in memory, whose address it is
 * given in r2, and is given one by its address: so the record has room for the argument of an on-top function.
 *
 *     handle   +0      state: see record.h
 *              +8      FPC (4 bytes), where it is kept, and 4 that keep the rest aligned
 *              +16     r2: where the transfer goes
 *              +24     r6 to r13
 *              +88     r14: where it goes on
 *              +96     r15, which is +184: those who walk the stack do not know it from the rest
 *              +104    f8 to f15
 *              +168    the argument of an on-top function
 *              +184    the stack pointer of the caller, with 160 bytes where callees may keep registers
 *
 * An on-top function is called from a frame, which is the record and such 160 bytes below it: its argument has to be
 * somewhere.
 */
#include "asm.h"

#if KAPOK_HAVE_ASM && defined(__s390x__)

#define SAVE_AREA_BYTES 160

.macro describe_saved
    .irp number, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    .cfi_rel_offset %r\number, 24 + 8 * (\number - 6)
    .endr
.endm

.macro save_floating number
    std %f\number, 104 + 8 * (\number - 8)(%r15)
    .cfi_rel_offset %f\number, 104 + 8 * (\number - 8)
.endm

.macro restore_floating number
    ld %f\number, 104 + 8 * (\number - 8)(%r15)
    .cfi_restore %f\number
.endm

/*
 * Checks the handle in r3, leaves the running context for it, and has the handle of the one that was left in r1. The
 * stack pointer is at the record then, and r2 and r14 are those of the context that is entered.
 */
.macro switch_stacks
    ltgr %r3, %r3
    je 1f
    larl %r1, KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)
    aghi %r1, 1 /* KAPOK_SUSPENDED */
    cg %r1, 0(%r3)
    jne 1f
    .cfi_remember_state
    lgr %r0, %r15
    aghi %r15, -KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset KAPOK_ASM_RECORD_BYTES
    stg %r2, 16(%r15)
    stmg %r6, %r14, 24(%r15)
    stg %r0, 96(%r15)
    describe_saved
    .irp number, 8, 9, 10, 11, 12, 13, 14, 15
    save_floating \number
    .endr
#ifdef KAPOK_KEEP_FENV
    stfpc 8(%r15)
#endif
    stg %r1, 0(%r15)
    xc 0(8, %r3), 0(%r3) /* KAPOK_CONSUMED */
    lgr %r1, %r15
    lgr %r15, %r3
#ifdef KAPOK_KEEP_FENV
    lfpc 8(%r15)
#endif
    .irp number, 8, 9, 10, 11, 12, 13, 14, 15
    restore_floating \number
    .endr
    lg %r2, 16(%r15)
    lmg %r6, %r14, 24(%r15)
    .irp number, 6, 7, 8, 9, 10, 11, 12, 13
    .cfi_restore %r\number
    .endr
.endm

    .text

/* kapok_transfer_t jump(kapok_fcontext_t to (r3), void *data (r4)): returns where r2 points to. */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)
    .cfi_startproc
    switch_stacks
    .cfi_restore %r14
    aghi %r15, KAPOK_ASM_RECORD_BYTES
    .cfi_restore %r15
    .cfi_adjust_cfa_offset -KAPOK_ASM_RECORD_BYTES
    stg %r1, 0(%r2)
    stg %r4, 8(%r2)
    br %r14
1:
    .cfi_restore_state
    lgr %r2, %r3
    jg KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)

/* kapok_transfer_t ontop(kapok_fcontext_t to (r3), void *data (r4), kapok_ontop_fn fn (r5)). */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)
    .cfi_startproc
    switch_stacks
    stg %r1, 168(%r15)
    stg %r4, 176(%r15)
    la %r3, 168(%r15)
    aghi %r15, -SAVE_AREA_BYTES
    .cfi_adjust_cfa_offset SAVE_AREA_BYTES
    basr %r14, %r5
    lg %r14, SAVE_AREA_BYTES + 88(%r15)
    .cfi_restore %r14
    aghi %r15, SAVE_AREA_BYTES + KAPOK_ASM_RECORD_BYTES
    .cfi_restore %r15
    .cfi_adjust_cfa_offset -SAVE_AREA_BYTES - KAPOK_ASM_RECORD_BYTES
    br %r14
1:
    .cfi_restore_state
    lgr %r2, %r3
    jg KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)

/* The first frame of a context: fn is in r6, the transfer behind the record, where make() has said that it shall be. */
    .p2align 5
    .cfi_startproc
    .cfi_undefined %r14
    .cfi_def_cfa_offset 0 /* there is no room for a callee's registers above it */
    nop
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)
    lgr %r2, %r15
    aghi %r15, -SAVE_AREA_BYTES - KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset SAVE_AREA_BYTES + KAPOK_ASM_RECORD_BYTES
    xc 0(8, %r15), 0(%r15) /* the end of the chain of frames, for those who follow that */
    basr %r14, %r6
    brasl %r14, KAPOK_ASM_SYMBOL(kapok_die_returned)
    j .+2 /* traps */
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
