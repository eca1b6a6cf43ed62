/* One function for each ABI that is known here; registers.h says what it does. */
#include "registers.h"

/* clang-format off */
#if KAPOK_TEST_REGISTER_BYTES == 0
typedef int kapok_test_knows_no_registers; /* ISO C wants a declaration in every file */
#else
#define FUNCTION(...) \
    __asm__(".text\n.globl kapok_test_hold_registers\n.p2align 4\n" __VA_ARGS__)
#define LABEL "kapok_test_hold_registers:\n"
#endif

#if KAPOK_TEST_REGISTER_BYTES == 0
#elif defined(__x86_64__)
/* to: rdi, data: rsi, fn: rdx, hold: rcx */
#if defined(__CET__)
#define LANDING "endbr64\n"
#else
#define LANDING ""
#endif
FUNCTION(LABEL LANDING
    "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n pushq %rcx\n movq 0(%rcx), %rax\n"
    "movq 0(%rax), %rbx\n movq 8(%rax), %rbp\n movq 16(%rax), %r12\n"
    "movq 24(%rax), %r13\n movq 32(%rax), %r14\n movq 40(%rax), %r15\n"
    "call *16(%rcx)\n popq %rcx\n movq 8(%rcx), %rcx\n"
    "movq %rbx, 0(%rcx)\n movq %rbp, 8(%rcx)\n movq %r12, 16(%rcx)\n"
    "movq %r13, 24(%rcx)\n movq %r14, 32(%rcx)\n movq %r15, 40(%rcx)\n"
    "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");

#elif defined(__i386__)
/* The address of the result and all four on the stack, which is aligned to 16 bytes where a call is made. */
FUNCTION(LABEL
    "pushl %ebp\n pushl %ebx\n pushl %esi\n pushl %edi\n subl $12, %esp\n movl 48(%esp), %ecx\n"
    "pushl 44(%esp)\n pushl 44(%esp)\n pushl 44(%esp)\n pushl 44(%esp)\n movl 0(%ecx), %eax\n"
    "movl 0(%eax), %ebx\n movl 4(%eax), %esi\n movl 8(%eax), %edi\n movl 12(%eax), %ebp\n"
    "call *8(%ecx)\n movl 60(%esp), %ecx\n movl 4(%ecx), %ecx\n"
    "movl %ebx, 0(%ecx)\n movl %esi, 4(%ecx)\n movl %edi, 8(%ecx)\n movl %ebp, 12(%ecx)\n"
    "addl $24, %esp\n popl %edi\n popl %esi\n popl %ebx\n popl %ebp\n ret $4\n");

#elif defined(__aarch64__)
/* to: x0, data: x1, fn: x2, hold: x3. Of v8 to v15 the lower halves are kept. x18 is the system's. */
FUNCTION(LABEL
    "stp x29, x30, [sp, #-176]!\n"
    "stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n stp x25, x26, [sp, #64]\n"
    "stp x27, x28, [sp, #80]\n"
    "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
    "str x3, [sp, #160]\n ldr x9, [x3]\n ldr x10, [x3, #16]\n"
    "ldp x19, x20, [x9]\n ldp x21, x22, [x9, #16]\n ldp x23, x24, [x9, #32]\n ldp x25, x26, [x9, #48]\n"
    "ldp x27, x28, [x9, #64]\n ldr x29, [x9, #80]\n"
    "ldp d8, d9, [x9, #88]\n ldp d10, d11, [x9, #104]\n ldp d12, d13, [x9, #120]\n ldp d14, d15, [x9, #136]\n"
    "blr x10\n ldr x9, [sp, #160]\n ldr x9, [x9, #8]\n"
    "stp x19, x20, [x9]\n stp x21, x22, [x9, #16]\n stp x23, x24, [x9, #32]\n stp x25, x26, [x9, #48]\n"
    "stp x27, x28, [x9, #64]\n str x29, [x9, #80]\n"
    "stp d8, d9, [x9, #88]\n stp d10, d11, [x9, #104]\n stp d12, d13, [x9, #120]\n stp d14, d15, [x9, #136]\n"
    "ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]\n ldp x25, x26, [sp, #64]\n"
    "ldp x27, x28, [sp, #80]\n"
    "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
    "ldp x29, x30, [sp], #176\n ret\n");

#elif defined(__arm__)
/* The address of the result: r0, to: r1, data: r2, fn: r3, hold on the stack. */
FUNCTION(".syntax unified\n.arm\n.fpu vfpv3-d16\n.type kapok_test_hold_registers, %function\n" LABEL
    "push {r3, r4-r11, lr}\n vpush {d8-d15}\n ldr ip, [sp, #104]\n ldr lr, [ip, #8]\n ldr ip, [ip]\n"
    "ldmia ip!, {r4-r11}\n vldmia ip, {d8-d15}\n"
    "blx lr\n ldr ip, [sp, #104]\n ldr ip, [ip, #4]\n"
    "stmia ip!, {r4-r11}\n vstmia ip, {d8-d15}\n"
    "vpop {d8-d15}\n pop {r3, r4-r11, pc}\n");

#elif defined(__s390x__)
/* The address of the result: r2, to: r3, data: r4, fn: r5, hold: r6. The caller's frame has the room for r6 to r15. */
FUNCTION(".type kapok_test_hold_registers, @function\n" LABEL
    "stmg %r6, %r15, 48(%r15)\n aghi %r15, -232\n lg %r1, 0(%r6)\n lg %r14, 16(%r6)\n"
    ".irp n, 8,9,10,11,12,13,14,15\n std %f\\n, 160+8*(\\n-8)(%r15)\n ld %f\\n, 64+8*(\\n-8)(%r1)\n .endr\n"
    "lmg %r6, %r13, 0(%r1)\n basr %r14, %r14\n lg %r1, 280(%r15)\n lg %r1, 8(%r1)\n stmg %r6, %r13, 0(%r1)\n"
    ".irp n, 8,9,10,11,12,13,14,15\n std %f\\n, 64+8*(\\n-8)(%r1)\n ld %f\\n, 160+8*(\\n-8)(%r15)\n .endr\n"
    "lmg %r6, %r15, 280(%r15)\n br %r14\n");

#elif defined(__riscv)
/* to: a0, data: a1, fn: a2, hold: a3 */
#define ALL ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11\n "
FUNCTION(".type kapok_test_hold_registers, @function\n" LABEL
    "addi sp, sp, -208\n sd ra, 0(sp)\n sd a3, 200(sp)\n ld t0, 0(a3)\n ld t1, 16(a3)\n"
    ALL "sd s\\n, 8+8*\\n(sp)\n fsd fs\\n, 104+8*\\n(sp)\n ld s\\n, 8*\\n(t0)\n fld fs\\n, 96+8*\\n(t0)\n .endr\n"
    "jalr t1\n ld t0, 200(sp)\n ld t0, 8(t0)\n"
    ALL "sd s\\n, 8*\\n(t0)\n fsd fs\\n, 96+8*\\n(t0)\n ld s\\n, 8+8*\\n(sp)\n fld fs\\n, 104+8*\\n(sp)\n .endr\n"
    "ld ra, 0(sp)\n addi sp, sp, 208\n ret\n");

#elif defined(__powerpc64__)
/*
 * to: r3, data: r4, fn: r5, hold: r6. Of the condition register three fields are kept, 12 of the 32 bits at 480; the
 * others are copied. So are the 8 bytes at 488, but for bits by which r2 has changed, which a function keeps for those
 * of its module.
 */
#define HIGH18 ".irp n, 14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n "
#define HIGH12 ".irp n, 20,21,22,23,24,25,26,27,28,29,30,31\n "
FUNCTION(".type kapok_test_hold_registers, @function\n" LABEL
    "mflr 0\n std 0, 16(1)\n mfcr 0\n stw 0, 8(1)\n"
    "stdu 1, -544(1)\n std 2, 24(1)\n std 6, 512(1)\n ld 8, 0(6)\n"
    HIGH18 "std \\n, 32+8*(\\n-14)(1)\n stfd \\n, 176+8*(\\n-14)(1)\n"
           "ld \\n, 8*(\\n-14)(8)\n lfd \\n, 144+8*(\\n-14)(8)\n .endr\n"
    HIGH12 "li 7, 320+16*(\\n-20)\n stvx \\n, 1, 7\n li 7, 288+16*(\\n-20)\n lvx \\n, 8, 7\n .endr\n"
    "lwz 7, 480(8)\n mtcrf 0x38, 7\n"
    "ld 12, 16(6)\n mtctr 12\n bctrl\n ld 6, 512(1)\n ld 8, 0(6)\n ld 6, 8(6)\n"
    "mfcr 9\n ld 7, 480(8)\n std 7, 480(6)\n lwz 7, 480(8)\n rlwimi 7, 9, 0, 8, 19\n stw 7, 480(6)\n"
    "ld 9, 24(1)\n xor 9, 9, 2\n ld 2, 24(1)\n ld 7, 488(8)\n xor 7, 7, 9\n std 7, 488(6)\n"
    HIGH18 "std \\n, 8*(\\n-14)(6)\n stfd \\n, 144+8*(\\n-14)(6)\n"
           "ld \\n, 32+8*(\\n-14)(1)\n lfd \\n, 176+8*(\\n-14)(1)\n .endr\n"
    HIGH12 "li 7, 288+16*(\\n-20)\n stvx \\n, 6, 7\n li 7, 320+16*(\\n-20)\n lvx \\n, 1, 7\n .endr\n"
    "addi 1, 1, 544\n ld 0, 16(1)\n mtlr 0\n lwz 0, 8(1)\n mtcrf 0x38, 0\n blr\n");
#endif
