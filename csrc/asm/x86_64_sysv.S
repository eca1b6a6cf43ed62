/*
 * Engine "asm" on x86-64, System V ABI (psABI 1.0, section 3.2): jump, ontop, and the first frame of a context.
 *
 * A suspended context lies below the return address of the jump that it is suspended in, and its handle is the address
 * of that. The ABI has a function keep rbx, rbp, r12 to r15 and the control words of the floating-point units;
 * x86_64_sysv_fenv.S assembles this file again for the latter.
 *
 *              plain   with control words
 *     handle   +0      +0     state: see record.h
 *                      +8     MXCSR (4 bytes), x87 control word (2), and 10 that keep the rest aligned
 *              +8      +24    r15, r14, r13, r12, rbx, rbp
 *              +56     +72    where it goes on: the return address of the call
 *
 * Both sides have the same layout, so one description of the frame (CFI) is right before and after the stack pointer
 * changes: whoever walks the stack in the middle sees the context that is left, or the one that is entered.
 *
 * A jump goes on by `jmp`, not by `ret`. The processor predicts a `ret` by a stack of the calls that it has seen, the
 * last of which was made on the stack that is left; a `jmp` it predicts by where this one went before.
 */
#include "asm.h"

#if KAPOK_HAVE_ASM && defined(__x86_64__)

/* The flag of indirect branch tracking in `jmp`s to return addresses, which have no endbr64. Others ignore it. */
#define NOTRACK .byte 0x3e

.macro save register
    pushq \register
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset \register, 0
.endm

.macro restore register
    popq \register
    .cfi_adjust_cfa_offset -8
    .cfi_restore \register
.endm

/*
 * Checks the handle in rdi, leaves the running context for it, and has the new handle of the one that was left in rax.
 * Whether the handle is good is asked before anything is pushed: a used one's record may lie where this one's will.
 */
.macro switch_stacks
    endbr64
    testq %rdi, %rdi
    je 1f
    leaq KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE)+1(%rip), %rax /* KAPOK_SUSPENDED, which is the state of a fresh one, too */
    cmpq %rax, (%rdi)
    jne 1f
    .cfi_remember_state
    save %rbp
    save %rbx
    save %r12
    save %r13
    save %r14
    save %r15
#ifdef KAPOK_KEEP_FENV
    leaq -16(%rsp), %rsp
    .cfi_adjust_cfa_offset 16
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
#endif
    pushq %rax
    .cfi_adjust_cfa_offset 8
    xorl %ecx, %ecx
    movq %rcx, (%rdi) /* KAPOK_CONSUMED */
    movq %rsp, %rax
#ifdef KAPOK_KEEP_FENV
    ldmxcsr 8(%rdi)
    fldcw 12(%rdi)
    leaq 24(%rdi), %rsp
    .cfi_adjust_cfa_offset -24
#else
    leaq 8(%rdi), %rsp
    .cfi_adjust_cfa_offset -8
#endif
    restore %r15
    restore %r14
    restore %r13
    restore %r12
    restore %rbx
    restore %rbp
.endm

    .text

    .p2align 5
/* kapok_transfer_t jump(kapok_fcontext_t to (rdi), void *data (rsi)): returns in rax and rdx. */
function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)
    .cfi_startproc
    switch_stacks
    movq %rsi, %rdx
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rcx
    NOTRACK
    jmpq *%rcx
1:
    .cfi_restore_state
    jmp KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)

    .p2align 5
/*
 * kapok_transfer_t ontop(kapok_fcontext_t to (rdi), void *data (rsi), kapok_ontop_fn fn (rdx)): as if the target had
 * called `fn` where it called its jump. What fn returns is where a jump's result would be; what it throws comes out of
 * that call. No frame of this function is left.
 */
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)
    .cfi_startproc
    switch_stacks
    movq %rax, %rdi
    jmpq *%rdx
1:
    .cfi_restore_state
    jmp KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)

/*
 * The first frame of a context, where the record of make() goes on: fn, in rbx, gets the transfer. Here every walk of
 * the stack ends, because there is no return address; make() has put a zero into rbp for those who follow that.
 *
 * It is also what an on-top function of a context that has never run returns to. Who walks the stack looks up the byte
 * before a return address, which the `nop` makes one of this frame.
 */
    .p2align 5
    .cfi_startproc
    .cfi_undefined %rip
    nop
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)
    endbr64
    subq $KAPOK_ASM_RECORD_BYTES, %rsp /* below the record, which stays, consumed: a used handle is recognised */
    movq %rax, %rdi
    movq %rdx, %rsi
    callq *%rbx
    callq KAPOK_ASM_SYMBOL(kapok_die_returned)
    ud2
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
