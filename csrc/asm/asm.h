/*
 * Engine "asm", what its C and its assembler have to agree on: where there is the engine, and how long a record is.
 *
 * Nothing here but the preprocessor's: the assembler reads this file, too. KAPOK_ASM asks for the engine (the Cargo
 * feature `asm` defines it); KAPOK_HAVE_ASM says whether this machine has one.
 */
#ifndef KAPOK_ASM_ASM_H
#define KAPOK_ASM_ASM_H

/* Not: x32 and arm64ilp32, whose pointers have 32 bits; arm64e, whose return addresses are signed. */
#if defined(KAPOK_ASM) && (defined(__ELF__) || defined(__APPLE__)) && !defined(__ILP32__) && !defined(__arm64e__) &&   \
    (defined(__x86_64__) || defined(__aarch64__))
#define KAPOK_HAVE_ASM 1
#else
#define KAPOK_HAVE_ASM 0
#endif

/* The bytes of a suspended context, the address where it goes on included; struct suspended in asm.c has the fields. */
#if defined(__x86_64__)
#ifdef KAPOK_KEEP_FENV
#define KAPOK_ASM_RECORD_BYTES 80
#else
#define KAPOK_ASM_RECORD_BYTES 64
#endif
#else
#define KAPOK_ASM_RECORD_BYTES 176
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
#endif

#endif
