/*
 * What the C library has, as far as there is no asking it: a function that is declared may still be missing when the
 * program is linked.
 *
 * KAPOK_HAVE_MAKECONTEXT: makecontext(3) and its family, which POSIX.1-2008 has dropped. musl, Android and OpenBSD have
 * none; the one of macOS on arm64 does not work. Defined as 0 by hand, it makes any system one of those: for tests.
 */
#ifndef KAPOK_PLATFORM_H
#define KAPOK_PLATFORM_H

/*
 * KAPOK_BUILTIN_SETJMP: the compiler's own setjmp and longjmp, where the tests of the shim were run with them: GCC and
 * clang on x86-64, GCC on aarch64, where clang has none. Defined as 0 by hand, it makes the engine use the C library's.
 *
 * Where GCC for aarch64 checks the stack (-fstack-protector-strong, which some distributions have by default), it
 * expects the address of the guard, after its own setjmp, in a place that it has written on another path only: every jump
 * crashes. Seen with GCC 12. So functions that call it are not checked there, and where that cannot be said (before
 * GCC 11) it is not used.
 */
#if defined(__aarch64__) && defined(__GNUC__) && !defined(__clang__) &&                                                \
    (defined(__SSP__) || defined(__SSP_STRONG__) || defined(__SSP_ALL__) || defined(__SSP_EXPLICIT__))
#if __GNUC__ >= 11
#define KAPOK_NO_STACK_PROTECTOR __attribute__((no_stack_protector))
#elif !defined(KAPOK_BUILTIN_SETJMP)
#define KAPOK_BUILTIN_SETJMP 0
#endif
#endif
#ifndef KAPOK_NO_STACK_PROTECTOR
#define KAPOK_NO_STACK_PROTECTOR
#endif

#ifndef KAPOK_BUILTIN_SETJMP
#if defined(__GNUC__) && defined(__ELF__) && !defined(__ILP32__) &&                                                    \
    (defined(__x86_64__) || (defined(__aarch64__) && !defined(__clang__)))
#define KAPOK_BUILTIN_SETJMP 1
#else
#define KAPOK_BUILTIN_SETJMP 0
#endif
#endif

#include <limits.h> /* any header of the C library: on Linux it says which one it is */

#ifndef KAPOK_HAVE_MAKECONTEXT
#if defined(__OpenBSD__) || defined(__ANDROID__) || (defined(__APPLE__) && defined(__aarch64__)) ||                    \
    (defined(__linux__) && !defined(__GLIBC__) && !defined(__UCLIBC__))
#define KAPOK_HAVE_MAKECONTEXT 0
#else
#define KAPOK_HAVE_MAKECONTEXT 1
#endif
#endif

#endif
