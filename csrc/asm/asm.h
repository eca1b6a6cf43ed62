/*
 * Engine "asm", what its C and its assembler have to agree on: where there is the engine, and how long a record is.
 *
 * Nothing here but the preprocessor's: the assembler reads this file, too. KAPOK_ASM asks for the engine (the Cargo
 * feature `asm` defines it); KAPOK_HAVE_ASM says whether this machine has one.
 *
 * KAPOK_ASM_RECORD_BYTES: the bytes of a suspended context; struct suspended in suspended.h has the fields.
 */
#ifndef KAPOK_ASM_ASM_H
#define KAPOK_ASM_ASM_H

/*
 * Not: x32 and arm64ilp32, whose pointers have 32 bits; arm64e, whose return addresses are signed; other floating-point
 * ABIs on RISC-V and ARM, and ARM processors that know Thumb only; ELFv1 and big endian POWER; i386 elsewhere than on
 * Linux, where a function returns a struct of 8 bytes in registers. Nobody has written or tried those.
 */
#if !defined(KAPOK_ASM) || (!defined(__ELF__) && !defined(__APPLE__))
#define KAPOK_HAVE_ASM 0
#elif defined(__x86_64__) && !defined(__ILP32__)
#define KAPOK_HAVE_ASM 1
#ifdef KAPOK_KEEP_FENV
#define KAPOK_ASM_RECORD_BYTES 80
#else
#define KAPOK_ASM_RECORD_BYTES 64
#endif
#elif defined(__aarch64__) && !defined(__ILP32__) && !defined(__arm64e__)
#define KAPOK_HAVE_ASM 1
#define KAPOK_ASM_RECORD_BYTES 176
#elif defined(__APPLE__)
#define KAPOK_HAVE_ASM 0
#elif defined(__riscv_float_abi_double) && __riscv_xlen == 64
#define KAPOK_HAVE_ASM 1
#define KAPOK_ASM_RECORD_BYTES 224
#elif defined(__s390x__)
#define KAPOK_HAVE_ASM 1
#define KAPOK_ASM_RECORD_BYTES 184
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__) && defined(__ALTIVEC__) && _CALL_ELF == 2
#define KAPOK_HAVE_ASM 1
#define KAPOK_ASM_RECORD_BYTES 512
#elif defined(__ARM_PCS_VFP) && defined(__ARM_ARCH_ISA_ARM) && defined(__ARMEL__)
#define KAPOK_HAVE_ASM 1
#define KAPOK_ASM_RECORD_BYTES 112
#elif defined(__i386__) && defined(__linux__)
#define KAPOK_HAVE_ASM 1
#define KAPOK_ASM_RECORD_BYTES 32
#else
#define KAPOK_HAVE_ASM 0
#endif

/* The names of this engine's functions: there are two of each in a library, see asm_fenv.c. */
#ifdef KAPOK_KEEP_FENV
#define KAPOK_ASM_ENGINE kapok_engine_asm_fenv
#define KAPOK_ASM_JUMP kapok_asm_fenv_jump
#define KAPOK_ASM_ONTOP kapok_asm_fenv_ontop
#define KAPOK_ASM_ENTER kapok_asm_fenv_enter
#else
#define KAPOK_ASM_ENGINE kapok_engine_asm
#define KAPOK_ASM_JUMP kapok_asm_jump
#define KAPOK_ASM_ONTOP kapok_asm_ontop
#define KAPOK_ASM_ENTER kapok_asm_enter
#endif

#ifdef __ASSEMBLER__
/* C's names as the assembler writes them, and what it calls a symbol that leaves the file but not the library. */
#ifdef __APPLE__
#define KAPOK_ASM_JOIN(a, b) a##b
#define KAPOK_ASM_SYMBOL(name) KAPOK_ASM_JOIN(_, name)
#define KAPOK_ASM_HIDDEN .private_extern
#else
#define KAPOK_ASM_SYMBOL(name) name
#define KAPOK_ASM_HIDDEN .hidden
#endif

/* clang-format off */
#if KAPOK_HAVE_ASM
.macro function name
    .globl \name
    KAPOK_ASM_HIDDEN \name
#ifdef __ELF__
    .type \name, %function
#endif
\name:
.endm

.macro end_function name
#ifdef __ELF__
    .size \name, . - \name
#endif
.endm
#endif
/* clang-format on */
#endif

#endif
