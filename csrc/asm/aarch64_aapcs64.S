/*
 * Engine "asm" on aarch64, AAPCS64 (section 6.1): jump, ontop, and the first frame of a context. See x86_64_sysv.S for
 * what is the same there: the idea, the order of things, and why a jump goes on by `br`.
 *
 * A function keeps x19 to x29, sp, the low halves of v8 to v15, and the control word FPCR, which
 * aarch64_aapcs64_fenv.S assembles this file again for. The record lies right below the stack pointer of the caller.
 *
 *     handle   +0      state: see record.h
 *              +8      FPCR, where it is kept
 *              +16     x19 to x28
 *              +96     x29, and x30: where it goes on
 *              +112    d8 to d15
 *
 * Nothing here is a landing pad of branch target identification but the functions' own beginnings, and the file is not
 * marked as safe for it: where the compiler's default is to check (__ARM_FEATURE_BTI_DEFAULT), a jump goes on by `ret`,
 * which is not checked, and is mispredicted.
 */
#include "asm.h"

#if KAPOK_HAVE_ASM && defined(__aarch64__)

#define LANDING_PAD hint #38 /* bti jc, where there is that */

.macro save_pair first, second, offset
    stp \first, \second, [sp, #\offset]
    .cfi_rel_offset \first, \offset
    .cfi_rel_offset \second, \offset + 8
.endm

.macro restore_pair first, second, offset
    ldp \first, \second, [sp, #\offset]
    .cfi_restore \first
    .cfi_restore \second
.endm

/* Checks the handle in x0, leaves the running context for it, and has the handle of the one that was left in x9. */
.macro switch_stacks
    LANDING_PAD
    cbz x0, 1f
#ifdef __APPLE__
    adrp x10, KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)@PAGE
    add x10, x10, KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)@PAGEOFF
#else
    adrp x10, KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)
    add x10, x10, #:lo12:KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)
#endif
    add x10, x10, #1 /* KAPOK_SUSPENDED */
    ldr x11, [x0]
    cmp x10, x11
    b.ne 1f
    .cfi_remember_state
    sub sp, sp, #KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset KAPOK_ASM_RECORD_BYTES
    save_pair x19, x20, 16
    save_pair x21, x22, 32
    save_pair x23, x24, 48
    save_pair x25, x26, 64
    save_pair x27, x28, 80
    save_pair x29, x30, 96
    save_pair d8, d9, 112
    save_pair d10, d11, 128
    save_pair d12, d13, 144
    save_pair d14, d15, 160
#ifdef KAPOK_KEEP_FENV
    mrs x11, fpcr
    str x11, [sp, #8]
#endif
    str x10, [sp]
    str xzr, [x0] /* KAPOK_CONSUMED */
    mov x9, sp
    mov sp, x0
#ifdef KAPOK_KEEP_FENV
    ldr x11, [sp, #8]
    msr fpcr, x11
#endif
    restore_pair x19, x20, 16
    restore_pair x21, x22, 32
    restore_pair x23, x24, 48
    restore_pair x25, x26, 64
    restore_pair x27, x28, 80
    restore_pair x29, x30, 96
    restore_pair d8, d9, 112
    restore_pair d10, d11, 128
    restore_pair d12, d13, 144
    restore_pair d14, d15, 160
    add sp, sp, #KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset -KAPOK_ASM_RECORD_BYTES
.endm

    .text

/* kapok_transfer_t jump(kapok_fcontext_t to (x0), void *data (x1)): returns in x0 and x1, where the data is already. */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)
    .cfi_startproc
    switch_stacks
    mov x0, x9
#ifdef __ARM_FEATURE_BTI_DEFAULT
    ret
#else
    br x30
#endif
1:
    .cfi_restore_state
    b KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)

/* kapok_transfer_t ontop(kapok_fcontext_t to (x0), void *data (x1), kapok_ontop_fn fn (x2)). */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)
    .cfi_startproc
    switch_stacks
    mov x0, x9
    mov x16, x2 /* from here a branch counts as a call */
    br x16
1:
    .cfi_restore_state
    b KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)

/* The first frame of a context: fn is in x19, the transfer where a jump leaves it, which is where fn wants it. */
    .p2align 5
    .cfi_startproc
    .cfi_undefined x30
    nop
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)
    LANDING_PAD
    sub sp, sp, #KAPOK_ASM_RECORD_BYTES
    blr x19
    bl KAPOK_ASM_SYMBOL(kapok_die_returned)
    brk #1
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
