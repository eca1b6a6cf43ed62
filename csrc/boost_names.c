/*
 * Boost.Context's own three symbols, with its ABI, so that a program that was linked against Boost's assembly can be
 * linked against this library instead. KAPOK_SWITCH chooses the engine, once, at the first call; a name that this build
 * does not have ends the program with a sentence, because these functions cannot report it.
 */
#ifdef KAPOK_BOOST_NAMES
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engines.h"

kapok_fcontext_t make_fcontext(void *sp, size_t size, kapok_entry_fn fn);
kapok_transfer_t jump_fcontext(kapok_fcontext_t to, void *data);
kapok_transfer_t ontop_fcontext(kapok_fcontext_t to, void *data, kapok_ontop_fn fn);

#if KAPOK_HAVE_MAKECONTEXT
#define IF_UCONTEXT ", ucontext"
#else
#define IF_UCONTEXT ""
#endif
#if KAPOK_HAVE_ASM
#define IF_ASM ", asm"
#else
#define IF_ASM ""
#endif

static const struct kapok_engine *_Atomic chosen_engine;

static KAPOK_COLD const struct kapok_engine *choose_engine(void)
{
    const char *name = getenv("KAPOK_SWITCH");
    const struct kapok_engine *engine = NULL;

    if (name == NULL || *name == '\0' || strcmp(name, "setjmp") == 0)
        engine = &kapok_engine_setjmp_fenv;
#if KAPOK_HAVE_MAKECONTEXT
    else if (strcmp(name, "ucontext") == 0)
        engine = &kapok_engine_ucontext_fenv;
#endif
#if KAPOK_HAVE_ASM
    else if (strcmp(name, "asm") == 0)
        engine = &kapok_engine_asm_fenv;
#endif
    else
        kapok_die("KAPOK_SWITCH names no switch engine of this build, which has: setjmp" IF_UCONTEXT IF_ASM);
    /* Threads that race here choose the same. */
    atomic_store_explicit(&chosen_engine, engine, memory_order_relaxed);
    return engine;
}

static inline const struct kapok_engine *engine(void)
{
    const struct kapok_engine *e = atomic_load_explicit(&chosen_engine, memory_order_relaxed);

    return KAPOK_UNLIKELY(e == NULL) ? choose_engine() : e;
}

kapok_fcontext_t make_fcontext(void *sp, size_t size, kapok_entry_fn fn)
{
    return engine()->make(sp, size, fn);
}

kapok_transfer_t jump_fcontext(kapok_fcontext_t to, void *data)
{
    return engine()->jump(to, data);
}

kapok_transfer_t ontop_fcontext(kapok_fcontext_t to, void *data, kapok_ontop_fn fn)
{
    return engine()->ontop(to, data, fn);
}
#else
typedef int kapok_no_boost_names; /* ISO C wants a declaration in every file */
#endif
