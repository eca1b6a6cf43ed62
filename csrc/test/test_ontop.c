/* ontop(): a function that runs on the target's stack before the target goes on. */
#include "test.h"

static struct stack stack; /* of the target */
static int steps;          /* what happened so far, so that order can be checked */

static kapok_transfer_t triple_on_the_target(kapok_transfer_t t)
{
    CHECK_ALIGNMENT();
    CHECK(stack_holds(&stack, &t));
    CHECK(!stack_holds(&stack, t.fctx));
    t.data = token(number(t.data) * 3);
    steps++;
    return t;
}

static void return_each_number(kapok_transfer_t t)
{
    for (;;)
        t = jump(t.fctx, t.data);
}

static void on_a_suspended_context(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, return_each_number), token(5));
    CHECK(t.data == token(5));
    t = ontop(t.fctx, token(7), triple_on_the_target);
    CHECK(steps == 1);
    CHECK(t.data == token(21));
    /* It was for that one time. */
    t = jump(t.fctx, token(7));
    CHECK(steps == 1);
    CHECK(t.data == token(7));
    stack_free(&stack);
}

static void on_a_fresh_context(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = ontop(stack_make(&stack, return_each_number), token(4), triple_on_the_target);
    CHECK(steps == 1);
    CHECK(t.data == token(12));
    t = jump(t.fctx, token(4));
    CHECK(t.data == token(4));
    stack_free(&stack);
}

static void again_and_again(void)
{
    kapok_transfer_t t;
    uintptr_t i;

    stack = stack_new(STACK_SIZE);
    t.fctx = stack_make(&stack, return_each_number);
    for (i = 0; i < 10000; i++) {
        t = ontop(t.fctx, token(i), triple_on_the_target);
        CHECK(number(t.data) == 3 * i);
    }
    CHECK(steps == 10000);
    stack_free(&stack);
}

static kapok_transfer_t replace_the_transfer(kapok_transfer_t t)
{
    kapok_fcontext_t *seen = t.data;

    *seen = t.fctx;
    return (kapok_transfer_t){NULL, token(9)};
}

static kapok_fcontext_t replaced; /* the handle that replace_the_transfer hid from the target */

static void see_a_replaced_transfer(kapok_transfer_t t)
{
    if (t.data == NULL)
        t = jump(t.fctx, NULL);
    CHECK(t.fctx == NULL);
    CHECK(t.data == token(9));
    (void)jump(replaced, token(10));
}

static void its_result_replaces_the_transfer(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, see_a_replaced_transfer), NULL);
    t = ontop(t.fctx, &replaced, replace_the_transfer);
    CHECK(t.data == token(10));
    t = ontop(stack_make(&stack, see_a_replaced_transfer), &replaced, replace_the_transfer);
    CHECK(t.data == token(10));
    stack_free(&stack);
}

/* Jumps back before it lets the target go on. */
static kapok_transfer_t pause_first(kapok_transfer_t t)
{
    steps++;
    t = jump(t.fctx, token(100));
    CHECK(t.data == token(8));
    steps++;
    return t;
}

static void it_may_switch(void)
{
    kapok_transfer_t t;
    int fresh;

    stack = stack_new(STACK_SIZE);
    for (fresh = 0; fresh < 2; fresh++) {
        t.fctx = stack_make(&stack, return_each_number);
        if (!fresh)
            t = jump(t.fctx, NULL);
        steps = 0;
        t = ontop(t.fctx, NULL, pause_first);
        CHECK(steps == 1);
        CHECK(t.data == token(100));
        t = jump(t.fctx, token(8));
        CHECK(steps == 2);
        CHECK(t.data == token(8)); /* the target went on, with what the function returned */
    }
    stack_free(&stack);
}

/* While it is paused, another one is put on top of it. */
static void on_top_of_one_another(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, return_each_number), NULL);
    t = ontop(t.fctx, NULL, pause_first);
    CHECK(t.data == token(100));
    t = ontop(t.fctx, NULL, pause_first); /* what it returns is what the first one's jump returns: 8 */
    CHECK(t.data == token(100));
    t = jump(t.fctx, token(8));
    CHECK(steps == 4);
    CHECK(t.data == token(8));
    stack_free(&stack);
}

static kapok_transfer_t never_return(kapok_transfer_t t)
{
    CHECK(stack_holds(&stack, &t));
    (void)jump(t.fctx, token(11));
    test_failed(__FILE__, __LINE__, "what was abandoned is never resumed");
}

static void never_entered(kapok_transfer_t t)
{
    (void)t;
    test_failed(__FILE__, __LINE__, "the entry function does not run before the on-top function has returned");
}

static void it_may_never_return(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = ontop(stack_make(&stack, never_entered), NULL, never_return);
    CHECK(t.data == token(11));
    t = jump(stack_make(&stack, return_each_number), NULL);
    t = ontop(t.fctx, NULL, never_return);
    CHECK(t.data == token(11));
    stack_free(&stack);
}

static kapok_transfer_t on_the_main_stack(kapok_transfer_t t)
{
    CHECK(!stack_holds(&stack, &t));
    CHECK(stack_holds(&stack, t.fctx));
    t.data = token(number(t.data) + 1);
    return t;
}

static void put_on_top_of_main(kapok_transfer_t t)
{
    for (;;)
        t = ontop(t.fctx, t.data, on_the_main_stack);
}

static void on_the_first_context(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, put_on_top_of_main), token(1));
    CHECK(t.data == token(2));
    t = ontop(t.fctx, token(5), triple_on_the_target);
    CHECK(t.data == token(16));
    stack_free(&stack);
}

/* Boost frees the stack of a context that has ended in this way: by a function on the next one's stack. */
static kapok_transfer_t free_what_was_left(kapok_transfer_t t)
{
    struct stack *left = t.data;

    CHECK(stack_holds(left, t.fctx));
    stack_free(left);
    return (kapok_transfer_t){NULL, NULL};
}

static void end_by_being_freed(kapok_transfer_t t)
{
    (void)ontop(t.fctx, t.data, free_what_was_left);
}

static void a_stack_is_freed_by_the_next_context(void)
{
    int i;

    for (i = 0; i < 100; i++) {
        kapok_transfer_t t;
        stack = stack_new(STACK_SIZE);
        t = jump(stack_make(&stack, end_by_being_freed), &stack);
        CHECK(t.fctx == NULL);
        CHECK(stack.block == NULL);
    }
}

/* The same where the next context has never run: it must not need the stack that it was entered from. */
static struct stack first_stack;

static void enter_the_next_by_being_freed(kapok_transfer_t t)
{
    (void)ontop(t.data, &first_stack, free_what_was_left);
}

static kapok_fcontext_t main_context;

static void after_the_first(kapok_transfer_t t)
{
    CHECK(t.fctx == NULL);
    CHECK(first_stack.block == NULL);
    (void)jump(main_context, token(12));
}

static kapok_transfer_t remember_main(kapok_transfer_t t)
{
    main_context = t.fctx;
    return t;
}

static void a_stack_is_freed_by_a_fresh_context(void)
{
    kapok_transfer_t t;

    first_stack = stack_new(STACK_SIZE);
    stack = stack_new(STACK_SIZE);
    t = ontop(stack_make(&first_stack, enter_the_next_by_being_freed), stack_make(&stack, after_the_first),
              remember_main);
    CHECK(t.data == token(12));
    stack_free(&stack);
}

const struct test_case ontop_cases[] = {
    PASSES(on_a_suspended_context),
    PASSES(on_a_fresh_context),
    PASSES(again_and_again),
    PASSES(its_result_replaces_the_transfer),
    PASSES(it_may_switch),
    PASSES(on_top_of_one_another),
    PASSES(it_may_never_return),
    PASSES(on_the_first_context),
    PASSES(a_stack_is_freed_by_the_next_context),
    PASSES(a_stack_is_freed_by_a_fresh_context),
    END_OF_CASES,
};
