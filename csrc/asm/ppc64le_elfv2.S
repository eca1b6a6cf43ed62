/*
 * Engine "asm" on ppc64le (OpenPOWER ELFv2 ABI): jump, ontop, and the first frame of a context. See x86_64_sysv.S for
 * what is the same there: the idea, the order of things, and why a jump does not go on by a return.
 *
 * A function keeps r1, which is the stack pointer, r14 to r31, f14 to f31, v20 to v31, the fields 2 to 4 of the
 * condition register, and the control bits of FPSCR, which ppc64le_elfv2_fenv.S assembles this file again for. It keeps
 * r2, the TOC of its module, for those of that module, and the others see to theirs: all contexts are left and entered
 * with the TOC of this module.
 *
 *     r1       +0      the header of a frame: the address of the one above, and 24 bytes that callees use
 *     handle   +0      state: see record.h
 *              +8      FPSCR, where it is kept
 *              +16     the condition register (4 bytes)
 *              +24     lr: where it goes on
 *              +32     v20 to v31
 *              +224    r14 to r31
 *              +368    f14 to f31
 *              +512    the stack pointer of the caller
 *
 * An on-top function is called from that frame, because it may come back with another module's TOC.
 */
#include "asm.h"

#if KAPOK_HAVE_ASM && defined(__powerpc64__)

#define HEADER_BYTES 32
#define FRAME_BYTES (HEADER_BYTES + KAPOK_ASM_RECORD_BYTES)
#define TOC_OF_CALLER 24

/* Offsets from r1. */
#define STATE HEADER_BYTES
#define FPSCR (HEADER_BYTES + 8)
#define CONDITIONS (HEADER_BYTES + 16)
#define LINK (HEADER_BYTES + 24)
#define VECTORS (HEADER_BYTES + 32)
#define GENERAL (HEADER_BYTES + 224)
#define FLOATING (HEADER_BYTES + 368)

/* The numbers of registers in CFI: f0 is 32, lr 65, the first field of the condition register 68, v0 77. */
.macro save number
    std \number, GENERAL + 8 * (\number - 14)(1)
    .cfi_rel_offset \number, GENERAL + 8 * (\number - 14)
    stfd \number, FLOATING + 8 * (\number - 14)(1)
    .cfi_rel_offset 32 + \number, FLOATING + 8 * (\number - 14)
.endm

.macro restore number
    ld \number, GENERAL + 8 * (\number - 14)(1)
    .cfi_restore \number
    lfd \number, FLOATING + 8 * (\number - 14)(1)
    .cfi_restore 32 + \number
.endm

.macro save_vector number
    li 7, VECTORS + 16 * (\number - 20)
    stvx \number, 1, 7
    .cfi_rel_offset 77 + \number, VECTORS + 16 * (\number - 20)
.endm

.macro restore_vector number
    li 7, VECTORS + 16 * (\number - 20)
    lvx \number, 1, 7
    .cfi_restore 77 + \number
.endm

/* A function that others call by its address begins with the address of its TOC. */
.macro begin name
    function \name
0:
    addis 2, 12, .TOC. - 0b@ha
    addi 2, 2, .TOC. - 0b@l
    .localentry \name, . - \name
.endm

/*
 * Checks the handle in r3, leaves the running context for it, and has the handle of the one that was left in r6. The
 * stack pointer is at the frame then, and where the context goes on is in r0.
 */
.macro switch_stacks
    cmpdi 3, 0
    beq 1f
    addis 6, 2, KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)@toc@ha
    addi 6, 6, KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)@toc@l
    addi 6, 6, 1 /* KAPOK_SUSPENDED */
    ld 7, 0(3)
    cmpd 6, 7
    bne 1f
    .cfi_remember_state
    mflr 0
    mfcr 8
    stdu 1, -FRAME_BYTES(1)
    .cfi_adjust_cfa_offset FRAME_BYTES
    std 0, LINK(1)
    .cfi_rel_offset 65, LINK
    stw 8, CONDITIONS(1)
    .cfi_rel_offset 70, CONDITIONS
    .cfi_rel_offset 71, CONDITIONS
    .cfi_rel_offset 72, CONDITIONS
    .irp number, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    save_vector \number
    .endr
    .irp number, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    save \number
    .endr
#ifdef KAPOK_KEEP_FENV
    mffs 0
    stfd 0, FPSCR(1)
#endif
    std 6, STATE(1)
    li 7, 0
    std 7, 0(3) /* KAPOK_CONSUMED */
    addi 6, 1, HEADER_BYTES
    addi 1, 3, -HEADER_BYTES
#ifdef KAPOK_KEEP_FENV
    lfd 0, FPSCR(1)
    mtfsf 0x03, 0       /* the traps and the rounding mode, without what has happened */
    mtfsf 0x01, 0, 0, 1 /* the rounding mode of decimals */
#endif
    .irp number, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    restore_vector \number
    .endr
    .irp number, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    restore \number
    .endr
    lwz 8, CONDITIONS(1)
    mtcrf 0x38, 8
    .cfi_restore 70
    .cfi_restore 71
    .cfi_restore 72
    ld 0, LINK(1)
.endm

/* Goes on where r0 says, without a return. */
.macro go_on
    mtlr 0
    .cfi_restore 65
    mtctr 0
    addi 1, 1, FRAME_BYTES
    .cfi_adjust_cfa_offset -FRAME_BYTES
    bctr
.endm

    .text

/* kapok_transfer_t jump(kapok_fcontext_t to (r3), void *data (r4)): returns in r3 and r4, where the data is already. */
    .p2align 5
begin KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)
    .cfi_startproc
    switch_stacks
    mr 3, 6
    go_on
1:
    .cfi_restore_state
    b KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)

/* kapok_transfer_t ontop(kapok_fcontext_t to (r3), void *data (r4), kapok_ontop_fn fn (r5)). */
    .p2align 5
begin KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)
    .cfi_startproc
    switch_stacks
    mr 3, 6
    mr 12, 5
    mtctr 12
    std 2, TOC_OF_CALLER(1)
    bctrl
    ld 2, TOC_OF_CALLER(1)
    ld 0, LINK(1)
    go_on
1:
    .cfi_restore_state
    b KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)

/*
 * The first frame of a context: fn is in r14, the transfer where a jump leaves it, which is where fn wants it. The TOC
 * is this module's, as everywhere after a jump.
 */
    .p2align 5
    .cfi_startproc
    .cfi_undefined 65
    nop
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)
    stdu 1, -FRAME_BYTES(1)
    .cfi_adjust_cfa_offset FRAME_BYTES
    mr 12, 14
    mtctr 12
    std 2, TOC_OF_CALLER(1)
    bctrl
    ld 2, TOC_OF_CALLER(1)
    bl KAPOK_ASM_SYMBOL(kapok_die_returned)
    nop
    trap
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
