/*
 * Engine "asm" on i386, System V ABI as Linux has it: jump, ontop, and the first frame of a context. See x86_64_sysv.S
 * for what is the same there: the idea, the order of things, and why a jump goes on by `jmp`.
 *
 * A function keeps ebx, esi, edi, ebp and the control words of the floating-point units; i386_sysv_fenv.S assembles
 * this file again for the latter, and then takes a processor with SSE. It finds on the stack where to put a struct that
 * it returns, takes that address away when it returns, and owns all of its arguments.
 *
 *     handle   +0      state: see record.h
 *              +4      MXCSR (4 bytes) and x87 control word (2), where they are kept, and 2 that keep the rest aligned
 *              +12     edi, esi, ebx, ebp
 *              +28     where it goes on: the return address of the call
 *              +32     where the transfer goes
 *              +36     two words that are the callee's: an on-top function finds its argument here
 */
#include "asm.h"

#if KAPOK_HAVE_ASM && defined(__i386__)

/* The flag of indirect branch tracking in `jmp`s to return addresses, which have no endbr32. Others ignore it. */
#define NOTRACK .byte 0x3e

/* Processors before the Pentium Pro do not ignore endbr32. */
#ifdef __CET__
#define LANDING_PAD endbr32
#else
#define LANDING_PAD
#endif

.macro save register
    pushl \register
    .cfi_adjust_cfa_offset 4
    .cfi_rel_offset \register, 0
.endm

.macro restore register
    popl \register
    .cfi_adjust_cfa_offset -4
    .cfi_restore \register
.endm

/*
 * Checks the handle, leaves the running context for it, and has the new handle of the one that was left in eax, the
 * data in edx. The other arguments are above the record that was left.
 */
.macro switch_stacks
    LANDING_PAD
    movl 8(%esp), %ecx
    testl %ecx, %ecx
    je 1f
    call kapok_asm_here
2:
    leal KAPOK_ASM_SYMBOL(KAPOK_ASM_ENGINE) + 1 - 2b(%eax), %eax /* KAPOK_SUSPENDED */
    cmpl %eax, (%ecx)
    jne 1f
    movl 12(%esp), %edx
    .cfi_remember_state
    save %ebp
    save %ebx
    save %esi
    save %edi
    leal -8(%esp), %esp
    .cfi_adjust_cfa_offset 8
#ifdef KAPOK_KEEP_FENV
    stmxcsr (%esp)
    fnstcw 4(%esp)
#endif
    pushl %eax
    .cfi_adjust_cfa_offset 4
    movl $0, (%ecx) /* KAPOK_CONSUMED */
    movl %esp, %eax
#ifdef KAPOK_KEEP_FENV
    ldmxcsr 4(%ecx)
    fldcw 8(%ecx)
#endif
    leal 12(%ecx), %esp
    .cfi_adjust_cfa_offset -12
    restore %edi
    restore %esi
    restore %ebx
    restore %ebp
.endm

/* What its checks branch to. */
.macro give_up
1:
    .cfi_restore_state
    movl %ecx, 4(%esp)
    jmp KAPOK_ASM_SYMBOL(kapok_die_bad_handle)
.endm

    .text

/* Where it was called from, in eax: there is no other way to ask. */
    .p2align 4
kapok_asm_here:
    .cfi_startproc
    movl (%esp), %eax
    ret
    .cfi_endproc

/* kapok_transfer_t jump(kapok_fcontext_t to, void *data): returns where the word before them points to. */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)
    .cfi_startproc
    switch_stacks
    movl 4(%esp), %ecx
    movl %eax, (%ecx)
    movl %edx, 4(%ecx)
    movl %ecx, %eax
    popl %ecx
    .cfi_adjust_cfa_offset -4
    .cfi_register %eip, %ecx
    leal 4(%esp), %esp
    .cfi_adjust_cfa_offset -4
    NOTRACK
    jmp *%ecx
    give_up
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_JUMP)

/*
 * kapok_transfer_t ontop(kapok_fcontext_t to, void *data, kapok_ontop_fn fn): what fn is given takes the place of what
 * the jump was.
 */
    .p2align 5
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)
    .cfi_startproc
    switch_stacks
    movl KAPOK_ASM_RECORD_BYTES + 12(%eax), %ecx
    movl %eax, 8(%esp)
    movl %edx, 12(%esp)
    jmp *%ecx
    give_up
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ONTOP)

/*
 * The first frame of a context: fn is in ebx, the transfer behind the record and what make() has put there in the place
 * of a caller's arguments.
 */
    .p2align 5
    .cfi_startproc
    .cfi_undefined %eip
    nop
function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)
    LANDING_PAD
    movl 8(%esp), %eax
    movl 12(%esp), %edx
    subl $KAPOK_ASM_RECORD_BYTES + 4 + 16, %esp /* below the record, and aligned as it is */
    .cfi_adjust_cfa_offset KAPOK_ASM_RECORD_BYTES + 4 + 16
    movl %eax, (%esp)
    movl %edx, 4(%esp)
    call *%ebx
    call KAPOK_ASM_SYMBOL(kapok_die_returned)
    ud2
    .cfi_endproc
end_function KAPOK_ASM_SYMBOL(KAPOK_ASM_ENTER)

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
