/*
 * Engine "asm" on 32-bit ARM with hardware floating point (AAPCS32, VFP variant): jump, ontop, and the first frame of a
 * context. See x86_64_sysv.S for what is the same there: the idea and why a jump does not go on by a return.
 *
 * A function keeps r4 to r11, sp, d8 to d15, and the control bits of FPSCR, which arm_aapcs_vfp_fenv.S assembles this
 * file again for. It returns a struct of two pointers in memory, whose address it is given in r0, and is given one in
 * two registers. These functions are ARM code; addresses of Thumb code have their lowest bit set, and `bx` heeds it.
 *
 *     handle   +0      state: see record.h
 *              +4      FPSCR, where it is kept
 *              +8      r0: where the transfer goes
 *              +12     r4 to r11
 *              +44     lr: where it goes on
 *              +48     d8 to d15
 *
 * There are two descriptions of each frame: CFI for debuggers, and the tables of the ARM ABI for exceptions. The latter
 * describe a function only where it calls another one, which the first frame of a context does alone, and it is the
 * last one there is.
 */
#include "asm.h"

#if KAPOK_HAVE_ASM && defined(__arm__)

    .syntax unified
    .arm
    .cfi_sections .debug_frame

.macro describe_saved
    .cfi_rel_offset r4, 12
    .cfi_rel_offset r5, 16
    .cfi_rel_offset r6, 20
    .cfi_rel_offset r7, 24
    .cfi_rel_offset r8, 28
    .cfi_rel_offset r9, 32
    .cfi_rel_offset r10, 36
    .cfi_rel_offset r11, 40
    .cfi_rel_offset lr, 44
    .irp number, 8, 9, 10, 11, 12, 13, 14, 15
    .cfi_rel_offset d\number, 48 + 8 * (\number - 8)
    .endr
.endm

.macro describe_restored
    .irp register, r4, r5, r6, r7, r8, r9, r10, r11, lr, d8, d9, d10, d11, d12, d13, d14, d15
    .cfi_restore \register
    .endr
.endm

/*
 * Checks the handle in r1, leaves the running context for it, and has the handle of the one that was left in ip; r0 is
 * the one of the context that is entered. To find out whether the handle is good takes registers, which are saved
 * before; but where a used one's state may lie nothing is written until it has been read.
 */
.macro switch_stacks
    cmp r1, #0
    beq 2f
    .cfi_remember_state
    sub sp, sp, #KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset KAPOK_ASM_RECORD_BYTES
    add ip, sp, #8
    stmia ip!, {r0, r4-r11, lr}
    vstmia ip, {d8-d15}
    describe_saved
    ldr r4, 3f
0:
    add r4, pc, r4
    ldr r5, [r1]
    cmp r4, r5
    bne 1f
    .cfi_remember_state
#ifdef KAPOK_KEEP_FENV
    vmrs r5, fpscr
    str r5, [sp, #4]
#endif
    str r4, [sp]
    mov r4, #0
    str r4, [r1] /* KAPOK_CONSUMED */
    mov ip, sp
    mov sp, r1
#ifdef KAPOK_KEEP_FENV
    ldr r5, [sp, #4]
    vmsr fpscr, r5
#endif
    add r1, sp, #8
    ldmia r1!, {r0, r4-r11, lr}
    vldmia r1, {d8-d15}
    describe_restored
    add sp, sp, #KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset -KAPOK_ASM_RECORD_BYTES
.endm

/* What the checks of switch_stacks branch to. */
.macro give_up
1:
    .cfi_restore_state
    add r4, sp, #8
    ldmia r4, {r0, r4-r11, lr}
    describe_restored
    add sp, sp, #KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset -KAPOK_ASM_RECORD_BYTES
2:
    .cfi_restore_state
    mov r0, r1
    b KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
3:
    .word KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE) + 1 - (0b + 8) /* KAPOK_SUSPENDED, from where `add` reads pc */
.endm

    .text

/* kapok_transfer_t jump(kapok_fcontext_t to (r1), void *data (r2)): returns where r0 points to. */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)
    .fnstart
    .cfi_startproc
    switch_stacks
    str ip, [r0]
    str r2, [r0, #4]
    mov r1, lr /* through lr it would count as a return */
    bx r1
    give_up
    .cfi_endproc
    .fnend
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)

/* kapok_transfer_t ontop(kapok_fcontext_t to (r1), void *data (r2), kapok_ontop_fn fn (r3)). */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)
    .fnstart
    .cfi_startproc
    switch_stacks
    mov r1, ip
    bx r3
    give_up
    .cfi_endproc
    .fnend
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)

/* The first frame of a context: fn is in r4, the transfer behind the record, where make() has said that it shall be. */
    .p2align 5
    .fnstart
    .cantunwind
    .cfi_startproc
    .cfi_undefined lr
    nop
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)
    ldmia sp, {r0, r1}
    sub sp, sp, #KAPOK_ASM_RECORD_BYTES
    .cfi_adjust_cfa_offset KAPOK_ASM_RECORD_BYTES
    blx r4
    bl KAPOK_ASM_SYMBOL(kapok_die_returned)
    udf #0
    .cfi_endproc
    .fnend
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
