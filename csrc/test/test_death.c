/* What has to end the process: with SIGABRT, and a sentence on standard error. */
#include "test.h"

#include <string.h>

#define TO_NULL "jump to a NULL context handle"
#define TO_CONSUMED                                                                                                    \
    "jump to a context handle that was used before: a handle is good for one jump, the next one arrives in the "       \
    "transfer"
#define TO_OTHER_ENGINES "jump to a context handle that another switch engine made"
#define RETURNED "a context function returned; it has to end by a jump to another context"

static struct stack stack;

static kapok_transfer_t pass_unchanged(kapok_transfer_t t)
{
    return t;
}

static void jump_to_null(void)
{
    (void)jump(NULL, NULL);
}

static void ontop_of_null(void)
{
    (void)ontop(NULL, NULL, pass_unchanged);
}

static void jump_to_null_there(kapok_transfer_t t)
{
    (void)t;
    (void)jump(NULL, NULL);
}

static void jump_to_null_from_a_context(void)
{
    stack = stack_new(STACK_SIZE);
    (void)jump(stack_make(&stack, jump_to_null_there), NULL);
}

static void jump_back_for_ever(kapok_transfer_t t)
{
    for (;;)
        t = jump(t.fctx, NULL);
}

/* The record of make() is consumed by the first entry, and nothing is put in its place while the context lives. */
static kapok_fcontext_t consumed_handle(void)
{
    kapok_fcontext_t made;

    stack = stack_new(STACK_SIZE);
    made = stack_make(&stack, jump_back_for_ever);
    (void)jump(made, NULL);
    return made;
}

static void jump_to_a_consumed_handle(void)
{
    (void)jump(consumed_handle(), NULL);
}

static void ontop_of_a_consumed_handle(void)
{
    (void)ontop(consumed_handle(), NULL, pass_unchanged);
}

static void jump_to_data(kapok_transfer_t t)
{
    (void)jump(t.data, NULL);
}

static void jump_to_the_own_first_handle(void)
{
    kapok_fcontext_t made;

    stack = stack_new(STACK_SIZE);
    made = stack_make(&stack, jump_to_data);
    (void)jump(made, made);
}

static void ontop_of_data(kapok_transfer_t t)
{
    (void)ontop(t.data, NULL, pass_unchanged);
}

static void ontop_of_the_own_first_handle(void)
{
    kapok_fcontext_t made;

    stack = stack_new(STACK_SIZE);
    made = stack_make(&stack, ontop_of_data);
    (void)jump(made, made);
}

/*
 * The handle of the jump that was resumed last, used by the context itself for its next jump from the same place: that
 * jump's record is about to lie where the old one did.
 */
static void jump_to_each_data(kapok_transfer_t t)
{
    kapok_fcontext_t to = t.fctx;

    for (;;)
        to = jump(to, NULL).data;
}

static void jump_to_the_own_handle(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, jump_to_each_data), NULL);
    (void)jump(t.fctx, t.fctx);
}

static void ontop_of_each_data(kapok_transfer_t t)
{
    kapok_fcontext_t to = t.fctx;

    for (;;)
        to = ontop(to, NULL, pass_unchanged).data;
}

static void ontop_of_the_own_handle(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, ontop_of_each_data), NULL);
    (void)jump(t.fctx, t.fctx);
}

/* Suspends far down the stack. */
static kapok_transfer_t suspend_deep(kapok_fcontext_t back)
{
    volatile unsigned char ballast[16 * 1024];
    kapok_transfer_t t;

    ballast[0] = 1;
    t = jump(back, NULL);
    CHECK(ballast[0] == 1);
    return t;
}

static void overwrite_the_stack(void)
{
    volatile unsigned char rubbish[24 * 1024];
    size_t i;

    for (i = 0; i < sizeof rubbish; i++)
        rubbish[i] = 0xa5;
    CHECK(rubbish[0] == 0xa5);
}

/* Called through these, they cannot be inlined: each has a frame of its own. */
static kapok_transfer_t (*const volatile call_suspend_deep)(kapok_fcontext_t) = suspend_deep;
static void (*const volatile call_overwrite_the_stack)(void) = overwrite_the_stack;

static void suspend_deep_then_shallow(kapok_transfer_t t)
{
    t = call_suspend_deep(t.fctx);
    call_overwrite_the_stack();
    (void)jump(t.fctx, NULL);
}

static void jump_to_a_frame_that_is_gone(void)
{
    kapok_fcontext_t deep;

    stack = stack_new(STACK_SIZE);
    deep = jump(stack_make(&stack, suspend_deep_then_shallow), NULL).fctx;
    (void)jump(deep, NULL);
    (void)jump(deep, NULL);
}

/* The next one after `engine` in the list. */
static const struct kapok_engine *other_engine(void)
{
    size_t i;

    if (kapok_engine_count < 2)
        test_skipped("this build has one engine only");
    for (i = 0; kapok_engines[i] != engine; i++)
        ;
    return kapok_engines[(i + 1) % kapok_engine_count];
}

static kapok_fcontext_t fresh_of_another_engine(void)
{
    stack = stack_new(STACK_SIZE);
    return other_engine()->make(stack.high, STACK_SIZE, jump_back_for_ever);
}

static void jump_by_other_engine(kapok_transfer_t t)
{
    (void)other_engine()->jump(t.fctx, NULL);
}

static kapok_fcontext_t suspended_of_another_engine(void)
{
    stack = stack_new(STACK_SIZE);
    return other_engine()->jump(other_engine()->make(stack.high, STACK_SIZE, jump_by_other_engine), NULL).fctx;
}

static void jump_to_a_fresh_one_of_another_engine(void)
{
    (void)jump(fresh_of_another_engine(), NULL);
}

static void jump_to_a_suspended_one_of_another_engine(void)
{
    (void)jump(suspended_of_another_engine(), NULL);
}

static void ontop_of_a_fresh_one_of_another_engine(void)
{
    (void)ontop(fresh_of_another_engine(), NULL, pass_unchanged);
}

static void ontop_of_a_suspended_one_of_another_engine(void)
{
    (void)ontop(suspended_of_another_engine(), NULL, pass_unchanged);
}

static void return_at_once(kapok_transfer_t t)
{
    (void)t;
}

static void a_function_returns_at_once(void)
{
    stack = stack_new(STACK_SIZE);
    (void)jump(stack_make(&stack, return_at_once), NULL);
}

static void return_after_a_jump(kapok_transfer_t t)
{
    (void)jump(t.fctx, NULL);
}

static void a_function_returns_after_a_jump(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, return_after_a_jump), NULL);
    (void)jump(t.fctx, NULL);
}

static void a_function_returns_after_ontop(void)
{
    stack = stack_new(STACK_SIZE);
    (void)ontop(stack_make(&stack, return_at_once), NULL, pass_unchanged);
}

const struct test_case death_cases[] = {
    DIES(jump_to_null, TO_NULL),
    DIES(ontop_of_null, TO_NULL),
    DIES(jump_to_null_from_a_context, TO_NULL),
    DIES(jump_to_a_consumed_handle, TO_CONSUMED),
    DIES(ontop_of_a_consumed_handle, TO_CONSUMED),
    DIES(jump_to_the_own_first_handle, TO_CONSUMED),
    DIES(ontop_of_the_own_first_handle, TO_CONSUMED),
    DIES(jump_to_the_own_handle, TO_CONSUMED),
    DIES(ontop_of_the_own_handle, TO_CONSUMED),
    DIES(jump_to_a_frame_that_is_gone, TO_CONSUMED),
    DIES(jump_to_a_fresh_one_of_another_engine, TO_OTHER_ENGINES),
    DIES(jump_to_a_suspended_one_of_another_engine, TO_OTHER_ENGINES),
    DIES(ontop_of_a_fresh_one_of_another_engine, TO_OTHER_ENGINES),
    DIES(ontop_of_a_suspended_one_of_another_engine, TO_OTHER_ENGINES),
    DIES(a_function_returns_at_once, RETURNED),
    DIES(a_function_returns_after_a_jump, RETURNED),
    DIES(a_function_returns_after_ontop, RETURNED),
    END_OF_CASES,
};
