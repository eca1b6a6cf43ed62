/* Every engine there is, and which of them a build has. */
#ifndef KAPOK_ENGINES_H
#define KAPOK_ENGINES_H

#include "asm/asm.h"
#include "platform.h"
#include "record.h"

KAPOK_HIDDEN extern const struct kapok_engine kapok_engine_setjmp;
#if KAPOK_HAVE_MAKECONTEXT
KAPOK_HIDDEN extern const struct kapok_engine kapok_engine_ucontext;
#endif
#if KAPOK_HAVE_ASM
KAPOK_HIDDEN extern const struct kapok_engine kapok_engine_asm;
#endif

/* The same keeping the floating-point environment of each context; only behind Boost's names. */
KAPOK_HIDDEN extern const struct kapok_engine kapok_engine_setjmp_fenv;
#if KAPOK_HAVE_MAKECONTEXT
KAPOK_HIDDEN extern const struct kapok_engine kapok_engine_ucontext_fenv;
#endif
#if KAPOK_HAVE_ASM
KAPOK_HIDDEN extern const struct kapok_engine kapok_engine_asm_fenv;
#endif

#endif
