/*
 * Every register that a function has to keep by the rules of the processor's ABI, filled and read back around a call: what no
 * C program can do by itself. The one place with assembly, and only for tests; elsewhere KAPOK_TEST_REGISTER_BYTES is 0.
 */
#ifndef KAPOK_TEST_REGISTERS_H
#define KAPOK_TEST_REGISTERS_H

#if defined(__GNUC__) && defined(__x86_64__) && defined(__LP64__)
#define KAPOK_TEST_REGISTERS "rbx, rbp, r12 to r15"
#define KAPOK_TEST_REGISTER_BYTES 48
#elif defined(__GNUC__) && defined(__i386__)
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
#define KAPOK_TEST_REGISTERS "r14 to r31, f14 to f31, v20 to v31"
#define KAPOK_TEST_REGISTER_BYTES 480
#else
#define KAPOK_TEST_REGISTERS "unknown"
#define KAPOK_TEST_REGISTER_BYTES 0
#endif

/* Fills the registers from `in`, calls fn(arg), and writes what they are then to `out`. Both are 16-byte aligned. */
void kapok_test_hold_registers(const unsigned char *in, unsigned char *out, void (*fn)(void *),
                               void *arg) __asm__("kapok_test_hold_registers");

#endif
