/*
 * What the C tests of the shim share.
 *
 * A test is a function of no arguments. It uses the engine in `engine`; the runner (test_fctx.c) calls it once for each
 * engine of the build, each time in a process of its own, so that file-scope state starts afresh, a crash is laid to
 * its test, and a test may leave contexts suspended. It passes by returning; CHECK ends it otherwise.
 */
#ifndef KAPOK_TEST_H
#define KAPOK_TEST_H

#define _XOPEN_SOURCE 700 /* sigaction(2), alarm(2) and the like, under -std=c11 too */

#include <stddef.h>
#include <stdint.h>

#include "../kapok_fctx.h"

struct test_case {
    const char *name;
    void (*run)(void);
    const char *dies_with; /* the sentence that the test has to abort with, or NULL */
};

#define PASSES(function)                                                                                               \
    {                                                                                                                  \
#function, function, NULL                                                                                      \
    }
#define DIES(function, sentence)                                                                                       \
    {                                                                                                                  \
#function, function, sentence                                                                                  \
    }
#define END_OF_CASES                                                                                                   \
    {                                                                                                                  \
        NULL, NULL, NULL                                                                                               \
    }

extern const struct test_case switch_cases[];
extern const struct test_case ontop_cases[];
extern const struct test_case stack_cases[];
extern const struct test_case state_cases[];
extern const struct test_case register_cases[];
extern const struct test_case boot_cases[];
extern const struct test_case death_cases[];
extern const struct test_case walk_cases[];

/* The engine under test. */
extern const struct kapok_engine *engine;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            test_failed(__FILE__, __LINE__, #condition);                                                               \
    } while (0)

_Noreturn void test_failed(const char *file, int line, const char *what);

/* Ends the test as one that this build or system cannot run. */
_Noreturn void test_skipped(const char *why);

/*
 * From here `engine` is the one that Boost's names call instead, which keeps the floating-point environment of each
 * context. Skips the test where the build has not got them.
 */
void use_the_engine_of_boosts_names(void);

static inline kapok_transfer_t jump(kapok_fcontext_t to, void *data)
{
    return engine->jump(to, data);
}

static inline kapok_transfer_t ontop(kapok_fcontext_t to, void *data, kapok_ontop_fn fn)
{
    return engine->ontop(to, data, fn);
}

/* A number that travels as data. */
static inline void *token(uintptr_t n)
{
    return (void *)n;
}

static inline uintptr_t number(void *data)
{
    return (uintptr_t)data;
}

/* A stack from malloc(3) between two margins which nobody may write to. `low` and `high` may be moved inwards. */
struct stack {
    unsigned char *low;
    unsigned char *high;
    unsigned char *block;
    size_t block_size;
    unsigned int valgrind_id;
};

#define STACK_SIZE ((size_t)64 * 1024) /* room for printf of a double */
#define STACK_MARGIN ((size_t)4096)

struct stack stack_new(size_t size);
size_t stack_size(const struct stack *stack);

/* make() on the whole of the stack; checks that it succeeds and that the record lies inside. */
kapok_fcontext_t stack_make(const struct stack *stack, kapok_entry_fn fn);

/* Whether the object at `p` lies on the stack. */
int stack_holds(const struct stack *stack, const volatile void *p);

/* CHECKs that nothing outside [low, high) was written to. */
void stack_check(const struct stack *stack);

/* The same, and gives the memory back. */
void stack_free(struct stack *stack);

/* The smallest size that make() accepts for a stack that ends at `high`. */
size_t least_stack_size(unsigned char *high);

/*
 * CHECKs that the running function got its stack aligned as the ABI wants it. The address goes through a volatile
 * because the compiler, who counts on the alignment, would otherwise compute the answer from what should be.
 */
#define CHECK_ALIGNMENT()                                                                                              \
    do {                                                                                                               \
        _Alignas(16) unsigned char aligned_local[16];                                                                  \
        void *volatile where = aligned_local;                                                                          \
        CHECK((uintptr_t)where % 16 == 0);                                                                             \
        CHECK_FRAME_ALIGNMENT();                                                                                       \
    } while (0)

#if defined(__x86_64__) && defined(__GNUC__)
#define CHECK_FRAME_ALIGNMENT()                                                                                        \
    do {                                                                                                               \
        void *volatile frame = __builtin_frame_address(0);                                                             \
        CHECK((uintptr_t)frame % 16 == 0);                                                                             \
    } while (0)
#else
#define CHECK_FRAME_ALIGNMENT() ((void)0)
#endif

#endif
