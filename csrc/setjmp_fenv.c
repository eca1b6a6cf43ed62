/* Engine "setjmp" once more, keeping the floating-point environment of each context. Needs libm on some systems. */
#ifdef KAPOK_BOOST_NAMES
#define KAPOK_KEEP_FENV
#include "setjmp.c"
#else
typedef int kapok_no_boost_names; /* ISO C wants a declaration in every file */
#endif
