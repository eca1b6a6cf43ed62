/*
 * Engine "asm" on riscv64, lp64d (RISC-V ELF psABI): jump, ontop, and the first frame of a context. See x86_64_sysv.S
 * for what is the same there: the idea, the order of things, and why a jump does not go on by a return.
 *
 * A function keeps s0 to s11, sp, fs0 to fs11, and frm, the rounding mode, which riscv64_lp64d_fenv.S assembles this
 * file again for. Vector registers are not kept by any function. The record lies right below the stack pointer of the
 * caller.
 *
 *     handle   +0      state: see record.h
 *              +8      frm, where it is kept
 *              +16     s0 to s11
 *              +112    ra: where it goes on
 *              +120    8 that keep sp a multiple of 16
 *              +128    fs0 to fs11
 */
#include "asm.h"

#if KAPOK_HAVE_ASM && defined(__riscv)

.macro save number
    sd s\number, 16 + 8 * \number(sp)
    .cfi_rel_offset s\number, 16 + 8 * \number
    fsd fs\number, 128 + 8 * \number(sp)
    .cfi_rel_offset fs\number, 128 + 8 * \number
.endm

.macro restore number
    ld s\number, 16 + 8 * \number(sp)
    .cfi_restore s\number
    fld fs\number, 128 + 8 * \number(sp)
    .cfi_restore fs\number
.endm

/* Checks the handle in a0, leaves the running context for it, and has the handle of the one that was left in t0. */
.macro switch_stacks
    beqz a0, 1f
    lla t0, KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)
    addi t0, t0, 1 /* KAPOK_SUSPENDED */
    ld t1, 0(a0)
    bne t0, t1, 1f
    .cfi_remember_state
    addi sp, sp, -KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset KAPOK_ASM_RECORD_BYTES
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    save \number
    .endr
    sd ra, 112(sp)
    .cfi_rel_offset ra, 112
#ifdef KAPOK_KEEP_FENV
    frrm t1
    sd t1, 8(sp)
#endif
    sd t0, 0(sp)
    sd zero, 0(a0) /* KAPOK_CONSUMED */
    mv t0, sp
    mv sp, a0
#ifdef KAPOK_KEEP_FENV
    ld t1, 8(sp)
    fsrm t1
#endif
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    restore \number
    .endr
    ld ra, 112(sp)
    .cfi_restore ra
    addi sp, sp, KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset -KAPOK_ASM_RECORD_BYTES
.endm

    .text

/* kapok_transfer_t jump(kapok_fcontext_t to (a0), void *data (a1)): returns in a0 and a1, where the data is already. */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)
    .cfi_startproc
    switch_stacks
    mv a0, t0
    mv t1, ra /* through ra it would count as a return */
    jr t1
1:
    .cfi_restore_state
    tail KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)

/* kapok_transfer_t ontop(kapok_fcontext_t to (a0), void *data (a1), kapok_ontop_fn fn (a2)). */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)
    .cfi_startproc
    switch_stacks
    mv a0, t0
    jr a2
1:
    .cfi_restore_state
    tail KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)

/* The first frame of a context: fn is in s1, the transfer where a jump leaves it, which is where fn wants it. */
    .p2align 5
    .cfi_startproc
    .cfi_undefined ra
    nop
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)
    addi sp, sp, -KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset KAPOK_ASM_RECORD_BYTES
    jalr s1
    call KAPOK_ASM_SYMBOL(kapok_die_returned)
    unimp
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
