/* Whoever walks the stack, for a backtrace or an exception, finds the frames of the context, and then its end. */
#include "test.h"

/* Where a program that a C compiler links by itself has an unwinder. With musl-gcc it is made for another libc. */
#if defined(__GLIBC__) || defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__)

#include <unwind.h>

enum { FAR_TOO_MANY = 200 };

/* The unwinder of the ARM ABI does not tell one end from another, and knows no canonical addresses. */
#ifdef __ARM_EABI_UNWINDER__
#define STOP_WALKING _URC_FAILURE
#define END_OF_WALK _URC_FAILURE
#define ADDRESS_OF_FRAME(frame) _Unwind_GetGR(frame, 13)
#else
#define STOP_WALKING _URC_NORMAL_STOP
#define END_OF_WALK _URC_END_OF_STACK
#define ADDRESS_OF_FRAME(frame) _Unwind_GetCFA(frame)
#endif

static struct stack stack;

/* A frame's canonical address is the stack pointer of its caller: of the first frame of all, perhaps the high end. */
static int is_on_the_stack(struct _Unwind_Context *frame)
{
    uintptr_t inside = (uintptr_t)ADDRESS_OF_FRAME(frame) - 1;

    return inside >= (uintptr_t)stack.low && inside < (uintptr_t)stack.high;
}

struct walk {
    int frames, on_the_stack;
};

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *frame, void *data)
{
    struct walk *walk = data;

    walk->frames++;
    walk->on_the_stack += is_on_the_stack(frame);
    return walk->frames < FAR_TOO_MANY ? _URC_NO_REASON : STOP_WALKING;
}

static struct walk walk_from_here(void)
{
    struct walk walk = {0, 0};

    CHECK(_Unwind_Backtrace(count_frame, &walk) == END_OF_WALK);
    CHECK(walk.frames < FAR_TOO_MANY);
    return walk;
}

/* The frames of the context, which are, apart from one that may be past the end, all that there are. */
static int frames_of_the_context(void)
{
    struct walk walk = walk_from_here();

    CHECK(walk.on_the_stack >= walk.frames - 1);
    return walk.on_the_stack;
}

static int all_frames(void)
{
    return walk_from_here().frames;
}

typedef int counter(void);

/* Each level is a frame, which the compiler can neither inline nor leave out. */
static int walk_from(int depth, counter *count);
static int (*const volatile call_walk_from)(int, counter *) = walk_from;

static int walk_from(int depth, counter *count)
{
    volatile int frames = depth == 0 ? count() : call_walk_from(depth - 1, count);

    return frames;
}

/* Not all compilers describe the frames of C without -fexceptions: GCC 12 does not for riscv64. Then there is nothing to walk on
 * the thread's own stack either. */
static void skip_without_tables(void)
{
    if (walk_from(12, all_frames) != walk_from(2, all_frames) + 10)
        test_skipped("this build has no tables for an unwinder: it takes -fexceptions");
}

static void walk_each_time(kapok_transfer_t t)
{
    for (;;) {
        int shallow = walk_from(2, frames_of_the_context), deep = walk_from(12, frames_of_the_context);
        CHECK(deep == shallow + 10);
        t = jump(t.fctx, NULL);
    }
}

static kapok_transfer_t walk_on_top(kapok_transfer_t t)
{
    CHECK(walk_from(12, frames_of_the_context) == walk_from(2, frames_of_the_context) + 10);
    return t;
}

static void a_walk_of_the_stack_ends(void)
{
    kapok_transfer_t t;

    skip_without_tables();
    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, walk_each_time), NULL);
    (void)jump(t.fctx, NULL);
    stack_free(&stack);
}

static void a_walk_from_on_top_ends(void)
{
    kapok_transfer_t t;

    skip_without_tables();
    stack = stack_new(STACK_SIZE);
    t = ontop(stack_make(&stack, walk_each_time), NULL, walk_on_top);
    (void)ontop(t.fctx, NULL, walk_on_top);
    stack_free(&stack);
}

static int seen_of_the_context;

static void jump_back_once(kapok_transfer_t t)
{
    (void)jump(t.fctx, NULL);
}

static _Unwind_Reason_Code count_frames_of_the_context(struct _Unwind_Context *frame, void *data)
{
    int *frames = data;

    seen_of_the_context += is_on_the_stack(frame);
    return ++*frames < FAR_TOO_MANY ? _URC_NO_REASON : STOP_WALKING;
}

static void a_walk_of_the_thread_does_not_see_contexts(void)
{
    int frames = 0;

    skip_without_tables();
    stack = stack_new(STACK_SIZE);
    (void)jump(stack_make(&stack, jump_back_once), NULL);
    CHECK(_Unwind_Backtrace(count_frames_of_the_context, &frames) == END_OF_WALK);
    CHECK(frames > 1 && frames < FAR_TOO_MANY);
    CHECK(seen_of_the_context == 0);
    stack_free(&stack);
}

#else

static void skip(void)
{
    test_skipped("this build may have no unwinder");
}

#define a_walk_of_the_stack_ends skip
#define a_walk_from_on_top_ends skip
#define a_walk_of_the_thread_does_not_see_contexts skip

#endif

const struct test_case walk_cases[] = {
    PASSES(a_walk_of_the_stack_ends),
    PASSES(a_walk_from_on_top_ends),
    PASSES(a_walk_of_the_thread_does_not_see_contexts),
    END_OF_CASES,
};
