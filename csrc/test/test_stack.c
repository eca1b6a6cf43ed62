/* The stack that a context is given: its size, its alignment, its bounds. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void never_entered(kapok_transfer_t t)
{
    (void)t;
    test_failed(__FILE__, __LINE__, "a context that was only made is never entered");
}

static void no_stack_no_context(void)
{
    CHECK(engine->make(NULL, 0, never_entered) == NULL);
    CHECK(engine->make(NULL, STACK_SIZE, never_entered) == NULL);
    CHECK(engine->make(NULL, SIZE_MAX, never_entered) == NULL);
}

static void a_size_beyond_the_address_space_is_refused(void)
{
    struct stack stack = stack_new(STACK_SIZE);

    /* More bytes below sp than there are addresses; nothing may be written to find that out. */
    CHECK(engine->make(token(4096), 4097, never_entered) == NULL);
    CHECK(engine->make(token(4096), STACK_SIZE, never_entered) == NULL);
    CHECK(engine->make(token(64), SIZE_MAX, never_entered) == NULL);
    CHECK(engine->make(stack.high, SIZE_MAX, never_entered) == NULL);
    stack.low = stack.high;
    stack_free(&stack);
}

static void too_small_a_size_is_refused(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    size_t least = least_stack_size(stack.high), size;

    CHECK(least > 0);
    (void)memset(stack.low, stack.high[0], STACK_SIZE); /* as stack_new left it */
    for (size = 0; size < least; size++)
        CHECK(engine->make(stack.high, size, never_entered) == NULL);
    stack.low = stack.high; /* none of these calls may have written anything */
    stack_free(&stack);
}

static void any_larger_size_is_accepted(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    size_t offset, size;

    for (offset = 0; offset < 64; offset++) {
        unsigned char *high = stack.high - offset;
        for (size = least_stack_size(high); size <= STACK_SIZE - offset; size += 1 + size / 100)
            CHECK(engine->make(high, size, never_entered) != NULL);
    }
    stack_free(&stack);
}

static void jump_back_thrice(kapok_transfer_t t)
{
    t = jump(t.fctx, t.data);
    t = jump(t.fctx, t.data);
    (void)jump(t.fctx, t.data);
}

static kapok_transfer_t pass_unchanged(kapok_transfer_t t)
{
    return t;
}

static void run_on_the_stack(const struct stack *stack)
{
    kapok_transfer_t t = {stack_make(stack, jump_back_thrice), NULL};
    uintptr_t i;

    for (i = 1; i <= 3; i++) {
        t = i == 2 ? ontop(t.fctx, token(i), pass_unchanged) : jump(t.fctx, token(i));
        CHECK(number(t.data) == i);
        CHECK(stack_holds(stack, t.fctx));
    }
    stack_check(stack);
}

/*
 * Runs a context that does nothing but jump on stacks that end at each place of a cache line. One on a large stack goes
 * first: the dynamic linker looks functions up at their first call, on the stack of the caller, of which it needs more
 * than a small stack has.
 */
static void run_on_stacks_of(size_t size)
{
    struct stack stack = stack_new(STACK_SIZE);
    size_t offset;

    run_on_the_stack(&stack);
    stack_free(&stack);
    for (offset = 0; offset < 64; offset++) {
        stack = stack_new(size + 64);
        stack.high = stack.low + offset + size;
        stack.low += offset;
        /* What is left of the block on either side belongs to the margins now, and is filled as they are. */
        run_on_the_stack(&stack);
        stack_free(&stack);
    }
}

static void the_least_size_is_enough_to_jump(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    size_t least = least_stack_size(stack.high), size;

    stack_free(&stack);
    for (size = least; size < least + 64; size += 7)
        run_on_stacks_of(size);
}

static void small_sizes_are_enough_to_jump(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    size_t least = least_stack_size(stack.high), size;

    stack_free(&stack);
    /* Where ucontext_t is as large as on aarch64, the first of these are refused; what is accepted has to work. */
    CHECK(least <= 16384);
    for (size = 2048; size <= 16384; size *= 2)
        if (size >= least)
            run_on_stacks_of(size);
}

static void print_and_scan_doubles(void)
{
    char text[64];
    double x = 0, y = 0;
    volatile double pi = 3.14159265358979;

    /* libc spills vector registers to where it takes the stack to be aligned; misaligned, this faults. */
    CHECK(snprintf(text, sizeof text, "%f %g %.3f", pi, 0.5 * pi, -2 * pi) > 0);
    CHECK(strcmp(text, "3.141593 1.5708 -6.283") == 0);
    CHECK(snprintf(text, sizeof text, "%Lf", (long double)pi) > 0);
    CHECK(strcmp(text, "3.141593") == 0);
    CHECK(sscanf("3.25 -1e3", "%lf %lf", &x, &y) == 2);
    CHECK(x == 3.25 && y == -1000);
}

static void print_a_double(kapok_transfer_t t)
{
    volatile double pi = 3.14159265358979;

    CHECK(printf("# pi is about %f\n", pi) == 23);
    (void)jump(t.fctx, NULL);
}

static void printf_works_on_a_context(void)
{
    struct stack stack = stack_new(STACK_SIZE);

    (void)jump(stack_make(&stack, print_a_double), NULL);
    stack_free(&stack);
}

static kapok_transfer_t check_on_top(kapok_transfer_t t)
{
    CHECK_ALIGNMENT();
    print_and_scan_doubles();
    return t;
}

static void check_alignment_often(kapok_transfer_t t)
{
    int i;

    for (i = 0; i < 3; i++) {
        _Alignas(64) unsigned char wide[64]; /* the compiler aligns this itself, given that the ABI is kept */
        void *volatile wide_at = wide;
        CHECK((uintptr_t)wide_at % 64 == 0);
        CHECK_ALIGNMENT();
        print_and_scan_doubles();
        t = jump(t.fctx, NULL);
    }
    (void)jump(t.fctx, NULL);
}

static void a_misaligned_stack_is_aligned_inside(void)
{
    size_t offset;

    for (offset = 0; offset < 64; offset++) {
        struct stack stack = stack_new(STACK_SIZE + 64);
        kapok_transfer_t t;
        stack.high = stack.low + offset + STACK_SIZE - offset % 7; /* a size that is no multiple of anything either */
        stack.low += offset;
        t = jump(stack_make(&stack, check_alignment_often), NULL);
        t = ontop(t.fctx, NULL, check_on_top);
        (void)jump(t.fctx, NULL);
        t = ontop(stack_make(&stack, check_alignment_often), NULL, check_on_top);
        (void)jump(t.fctx, NULL);
        stack_free(&stack);
    }
}

#define SPARE_BYTES ((size_t)16 * 1024)

/* Goes down until little of the stack is left, and switches at each level on the way down and on the way up. */
static kapok_fcontext_t go_down(const struct stack *stack, kapok_fcontext_t back, size_t *levels)
{
    volatile unsigned char ballast[200];
    unsigned char mark = (unsigned char)(*levels % 251);
    size_t i;

    for (i = 0; i < sizeof ballast; i++)
        ballast[i] = mark;
    ++*levels;
    back = jump(back, NULL).fctx;
    if ((uintptr_t)ballast > (uintptr_t)stack->low + SPARE_BYTES)
        back = go_down(stack, back, levels);
    for (i = 0; i < sizeof ballast; i++)
        CHECK(ballast[i] == mark);
    return jump(back, NULL).fctx;
}

static void go_down_and_up(kapok_transfer_t t)
{
    const struct stack *stack = t.data;
    size_t levels = 0;
    kapok_fcontext_t back = go_down(stack, t.fctx, &levels);

    (void)jump(back, &levels);
}

static void all_of_a_stack_can_be_used(void)
{
    struct stack stack = stack_new(1024 * 1024);
    size_t jumps = 0;
    kapok_transfer_t t = jump(stack_make(&stack, go_down_and_up), &stack);

    while (t.data == NULL) {
        t = jump(t.fctx, NULL);
        jumps++;
    }
    CHECK(jumps == 2 * *(size_t *)t.data);
    CHECK(jumps > 1000);
    stack_free(&stack);
}

const struct test_case stack_cases[] = {
    PASSES(no_stack_no_context),
    PASSES(a_size_beyond_the_address_space_is_refused),
    PASSES(too_small_a_size_is_refused),
    PASSES(any_larger_size_is_accepted),
    PASSES(the_least_size_is_enough_to_jump),
    PASSES(small_sizes_are_enough_to_jump),
    PASSES(printf_works_on_a_context),
    PASSES(a_misaligned_stack_is_aligned_inside),
    PASSES(all_of_a_stack_can_be_used),
    END_OF_CASES,
};
