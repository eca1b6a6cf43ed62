/*
 * Every register that a function has to keep by the rules of the processor's ABI, filled and read back around a call:
 * what no C program can do by itself. The one place with assembly, and only for tests; elsewhere
 * KAPOK_TEST_REGISTER_BYTES is 0.
 */
#ifndef KAPOK_TEST_REGISTERS_H
#define KAPOK_TEST_REGISTERS_H

#include "../kapok_fctx.h"

#if defined(__GNUC__) && defined(__x86_64__) && defined(__LP64__)
#define KAPOK_TEST_REGISTERS "rbx, rbp, r12 to r15"
#define KAPOK_TEST_REGISTER_BYTES 48
#elif defined(__GNUC__) && defined(__i386__) && defined(__linux__)
#define KAPOK_TEST_REGISTERS "ebx, esi, edi, ebp"
#define KAPOK_TEST_REGISTER_BYTES 16
#elif defined(__GNUC__) && defined(__aarch64__) && defined(__LP64__)
#define KAPOK_TEST_REGISTERS "x19 to x29, d8 to d15"
#define KAPOK_TEST_REGISTER_BYTES 152
#elif defined(__GNUC__) && defined(__arm__) && defined(__ARM_PCS_VFP)
#define KAPOK_TEST_REGISTERS "r4 to r11, d8 to d15"
#define KAPOK_TEST_REGISTER_BYTES 96
#elif defined(__GNUC__) && defined(__s390x__)
#define KAPOK_TEST_REGISTERS "r6 to r13, f8 to f15"
#define KAPOK_TEST_REGISTER_BYTES 128
#elif defined(__GNUC__) && defined(__riscv_float_abi_double) && __riscv_xlen == 64
#define KAPOK_TEST_REGISTERS "s0 to s11, fs0 to fs11"
#define KAPOK_TEST_REGISTER_BYTES 192
#elif defined(__GNUC__) && defined(__powerpc64__) && defined(__ALTIVEC__) && _CALL_ELF == 2
#define KAPOK_TEST_REGISTERS "r14 to r31, f14 to f31, v20 to v31, cr2 to cr4, r2"
#define KAPOK_TEST_REGISTER_BYTES 496
#else
#define KAPOK_TEST_REGISTERS "unknown"
#define KAPOK_TEST_REGISTER_BYTES 0
#endif

struct kapok_test_hold {
    const unsigned char *in; /* both are 16-byte aligned */
    unsigned char *out;
    void (*jump)(void); /* an engine's jump or ontop */
};

/*
 * Fills the registers from `in`, calls jump(to, data, fn), and writes what they are then to `out`. It calls the engine
 * itself: a function of C in between would keep some registers, and so hide that the engine does not.
 */
kapok_transfer_t kapok_test_hold_registers(kapok_fcontext_t to, void *data, kapok_ontop_fn fn,
                                           const struct kapok_test_hold *hold) __asm__("kapok_test_hold_registers");

#endif
