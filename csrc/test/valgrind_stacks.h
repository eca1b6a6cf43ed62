/*
 * Tells valgrind, where it is installed, which memory is used as stacks. It sees only the stack pointer move and would
 * take a switch to a stack nearby for a very large frame that comes or goes, and what lies between for dead.
 */
#ifndef KAPOK_TEST_VALGRIND_STACKS_H
#define KAPOK_TEST_VALGRIND_STACKS_H

#ifdef __has_include
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(low, high) 0u
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#define RUNNING_ON_VALGRIND 0
#endif

#endif
