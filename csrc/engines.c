/* The list of the engines of this build. */
#include "engines.h"

#include <string.h>

const struct kapok_engine *const kapok_engines[] = {
    &kapok_engine_setjmp,
#if KAPOK_HAVE_MAKECONTEXT
    &kapok_engine_ucontext,
#endif
#if KAPOK_HAVE_ASM
    &kapok_engine_asm,
#endif
};
const size_t kapok_engine_count = sizeof kapok_engines / sizeof kapok_engines[0];
const unsigned int kapok_fctx_abi_version = KAPOK_FCTX_ABI_VERSION;

const struct kapok_engine *kapok_engine_find(const char *name)
{
    size_t i;

    for (i = 0; i < kapok_engine_count; i++)
        if (strcmp(kapok_engines[i]->name, name) == 0)
            return kapok_engines[i];
    return NULL;
}
