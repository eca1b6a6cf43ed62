/* Engine "asm" once more, keeping the floating-point control words of each context. */
#ifdef KAPOK_BOOST_NAMES
#define KAPOK_KEEP_FENV
#include "asm.c"
#else
typedef int kapok_no_boost_names; /* ISO C wants a declaration in every file */
#endif
