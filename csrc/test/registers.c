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
/* in: rdi, out: rsi, fn: rdx, arg: rcx */
#if defined(__CET__)
#define LANDING "endbr64\n"
#else
#define LANDING ""
#endif
FUNCTION(LABEL LANDING
    "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n pushq %rsi\n"
    "movq 0(%rdi), %rbx\n movq 8(%rdi), %rbp\n movq 16(%rdi), %r12\n"
    "movq 24(%rdi), %r13\n movq 32(%rdi), %r14\n movq 40(%rdi), %r15\n"
    "movq %rcx, %rdi\n call *%rdx\n popq %rsi\n"
    "movq %rbx, 0(%rsi)\n movq %rbp, 8(%rsi)\n movq %r12, 16(%rsi)\n"
    "movq %r13, 24(%rsi)\n movq %r14, 32(%rsi)\n movq %r15, 40(%rsi)\n"
    "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");

#elif defined(__i386__)
/* All four on the stack, which is aligned to 16 bytes where a call is made. */
FUNCTION(LABEL
    "pushl %ebp\n pushl %ebx\n pushl %esi\n pushl %edi\n subl $8, %esp\n"
    "movl 28(%esp), %eax\n movl 36(%esp), %ecx\n pushl 40(%esp)\n"
    "movl 0(%eax), %ebx\n movl 4(%eax), %esi\n movl 8(%eax), %edi\n movl 12(%eax), %ebp\n"
    "call *%ecx\n addl $12, %esp\n movl 24(%esp), %eax\n"
    "movl %ebx, 0(%eax)\n movl %esi, 4(%eax)\n movl %edi, 8(%eax)\n movl %ebp, 12(%eax)\n"
    "popl %edi\n popl %esi\n popl %ebx\n popl %ebp\n ret\n");

#elif defined(__aarch64__)
/* in: x0, out: x1, fn: x2, arg: x3. Of v8 to v15 the lower halves are kept. x18 is the system's. */
FUNCTION(LABEL
    "stp x29, x30, [sp, #-176]!\n"
    "stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n stp x25, x26, [sp, #64]\n"
    "stp x27, x28, [sp, #80]\n"
    "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
    "str x1, [sp, #160]\n"
    "ldp x19, x20, [x0]\n ldp x21, x22, [x0, #16]\n ldp x23, x24, [x0, #32]\n ldp x25, x26, [x0, #48]\n"
    "ldp x27, x28, [x0, #64]\n ldr x29, [x0, #80]\n"
    "ldp d8, d9, [x0, #88]\n ldp d10, d11, [x0, #104]\n ldp d12, d13, [x0, #120]\n ldp d14, d15, [x0, #136]\n"
    "mov x0, x3\n blr x2\n ldr x1, [sp, #160]\n"
    "stp x19, x20, [x1]\n stp x21, x22, [x1, #16]\n stp x23, x24, [x1, #32]\n stp x25, x26, [x1, #48]\n"
    "stp x27, x28, [x1, #64]\n str x29, [x1, #80]\n"
    "stp d8, d9, [x1, #88]\n stp d10, d11, [x1, #104]\n stp d12, d13, [x1, #120]\n stp d14, d15, [x1, #136]\n"
    "ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]\n ldp x25, x26, [sp, #64]\n"
    "ldp x27, x28, [sp, #80]\n"
    "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
    "ldp x29, x30, [sp], #176\n ret\n");

#elif defined(__arm__)
/* in: r0, out: r1, fn: r2, arg: r3 */
FUNCTION(".syntax unified\n.arm\n.fpu vfpv3-d16\n.type kapok_test_hold_registers, %function\n" LABEL
    "push {r1, r4-r11, lr}\n vpush {d8-d15}\n"
    "ldmia r0!, {r4-r11}\n vldmia r0, {d8-d15}\n"
    "mov r0, r3\n blx r2\n ldr r1, [sp, #64]\n"
    "stmia r1!, {r4-r11}\n vstmia r1, {d8-d15}\n"
    "vpop {d8-d15}\n pop {r1, r4-r11, pc}\n");

#elif defined(__s390x__)
/* in: r2, out: r3, fn: r4, arg: r5. The caller's frame has the room for r6 to r15. */
FUNCTION(".type kapok_test_hold_registers, @function\n" LABEL
    "stmg %r6, %r15, 48(%r15)\n aghi %r15, -232\n stg %r3, 224(%r15)\n"
    ".irp n, 8,9,10,11,12,13,14,15\n std %f\\n, 160+8*(\\n-8)(%r15)\n ld %f\\n, 64+8*(\\n-8)(%r2)\n .endr\n"
    "lmg %r6, %r13, 0(%r2)\n lgr %r2, %r5\n basr %r14, %r4\n lg %r1, 224(%r15)\n stmg %r6, %r13, 0(%r1)\n"
    ".irp n, 8,9,10,11,12,13,14,15\n std %f\\n, 64+8*(\\n-8)(%r1)\n ld %f\\n, 160+8*(\\n-8)(%r15)\n .endr\n"
    "lmg %r6, %r15, 280(%r15)\n br %r14\n");

#elif defined(__riscv)
/* in: a0, out: a1, fn: a2, arg: a3 */
#define ALL ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11\n "
FUNCTION(".type kapok_test_hold_registers, @function\n" LABEL
    "addi sp, sp, -208\n sd ra, 0(sp)\n sd a1, 200(sp)\n"
    ALL "sd s\\n, 8+8*\\n(sp)\n fsd fs\\n, 104+8*\\n(sp)\n ld s\\n, 8*\\n(a0)\n fld fs\\n, 96+8*\\n(a0)\n .endr\n"
    "mv a0, a3\n jalr a2\n ld a1, 200(sp)\n"
    ALL "sd s\\n, 8*\\n(a1)\n fsd fs\\n, 96+8*\\n(a1)\n ld s\\n, 8+8*\\n(sp)\n fld fs\\n, 104+8*\\n(sp)\n .endr\n"
    "ld ra, 0(sp)\n addi sp, sp, 208\n ret\n");

#elif defined(__powerpc64__)
/* in: r3, out: r4, fn: r5, arg: r6. The fields of the condition register that are kept are not looked at. */
#define HIGH18 ".irp n, 14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n "
#define HIGH12 ".irp n, 20,21,22,23,24,25,26,27,28,29,30,31\n "
FUNCTION(".type kapok_test_hold_registers, @function\n" LABEL
    "mflr 0\n std 0, 16(1)\n stdu 1, -528(1)\n std 2, 24(1)\n std 4, 512(1)\n"
    HIGH18 "std \\n, 32+8*(\\n-14)(1)\n stfd \\n, 176+8*(\\n-14)(1)\n"
           "ld \\n, 8*(\\n-14)(3)\n lfd \\n, 144+8*(\\n-14)(3)\n .endr\n"
    HIGH12 "li 7, 320+16*(\\n-20)\n stvx \\n, 1, 7\n li 7, 288+16*(\\n-20)\n lvx \\n, 3, 7\n .endr\n"
    "mr 12, 5\n mtctr 12\n mr 3, 6\n bctrl\n ld 2, 24(1)\n ld 4, 512(1)\n"
    HIGH18 "std \\n, 8*(\\n-14)(4)\n stfd \\n, 144+8*(\\n-14)(4)\n"
           "ld \\n, 32+8*(\\n-14)(1)\n lfd \\n, 176+8*(\\n-14)(1)\n .endr\n"
    HIGH12 "li 7, 288+16*(\\n-20)\n stvx \\n, 4, 7\n li 7, 320+16*(\\n-20)\n lvx \\n, 1, 7\n .endr\n"
    "addi 1, 1, 528\n ld 0, 16(1)\n mtlr 0\n blr\n");
#endif
