/* Control and data: who runs next, on which stack, with what. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "valgrind_stacks.h"

static void the_engine_is_in_the_list(void)
{
    size_t i, seen = 0;

    CHECK(kapok_fctx_abi_version == KAPOK_FCTX_ABI_VERSION);
    CHECK(kapok_engine_count > 0);
    for (i = 0; i < kapok_engine_count; i++)
        seen += strcmp(kapok_engines[i]->name, engine->name) == 0;
    CHECK(seen == 1);
    CHECK(kapok_engine_find(engine->name) == engine);
    CHECK(kapok_engine_find("") == NULL);
    CHECK(kapok_engine_find("bogus") == NULL);
}

static int entered;

static void enter_and_jump_back(kapok_transfer_t t)
{
    CHECK(t.fctx != NULL);
    CHECK(t.data == token(1));
    entered++;
    (void)jump(t.fctx, token(2));
}

static void make_does_not_enter(void)
{
    struct stack stack = stack_new(STACK_SIZE);

    (void)stack_make(&stack, enter_and_jump_back);
    CHECK(entered == 0);
    stack_free(&stack);
}

static void the_first_jump_enters(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    kapok_transfer_t t = jump(stack_make(&stack, enter_and_jump_back), token(1));

    CHECK(entered == 1);
    CHECK(t.data == token(2));
    CHECK(stack_holds(&stack, t.fctx)); /* it is suspended there, with all its state */
    stack_free(&stack);
}

static void double_each_number(kapok_transfer_t t)
{
    for (;;)
        t = jump(t.fctx, token(number(t.data) * 2));
}

static void data_go_both_ways(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    kapok_transfer_t t = {stack_make(&stack, double_each_number), NULL};
    uintptr_t i;

    for (i = 0; i < 10000; i++) {
        t = jump(t.fctx, token(i));
        CHECK(number(t.data) == i * 2);
    }
    t = jump(t.fctx, NULL);
    CHECK(t.data == NULL);
    stack_free(&stack);
}

struct pair {
    int sum, difference;
};

static void compute_pair_twice(kapok_transfer_t t)
{
    int i;

    for (i = 0; i < 2; i++) {
        struct pair *pair = t.data;
        struct pair result = {pair->sum + pair->difference, pair->sum - pair->difference};
        t = jump(t.fctx, &result); /* it lives for as long as this jump lasts */
    }
    (void)jump(t.fctx, NULL);
}

static void a_pointer_is_transferred_twice(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    struct pair pair = {5, 3};
    kapok_transfer_t t = jump(stack_make(&stack, compute_pair_twice), &pair);
    struct pair *result = t.data;

    CHECK(stack_holds(&stack, result));
    CHECK(result->sum == 8 && result->difference == 2);
    pair = *result;
    t = jump(t.fctx, &pair);
    result = t.data;
    CHECK(result->sum == 10 && result->difference == 6);
    t = jump(t.fctx, NULL);
    CHECK(t.data == NULL);
    stack_free(&stack);
}

static kapok_fcontext_t main_context;

static void pass_on(kapok_transfer_t t)
{
    /* First it is given whom to jump to, and only then told to. */
    kapok_transfer_t told = jump(t.fctx, NULL);

    main_context = told.fctx;
    (void)jump(t.data, token(7));
}

static void jump_to_main(kapok_transfer_t t)
{
    CHECK(t.data == token(7));
    (void)jump(main_context, t.fctx);
}

static void contexts_jump_to_each_other(void)
{
    struct stack a = stack_new(STACK_SIZE), b = stack_new(STACK_SIZE);
    kapok_transfer_t t = jump(stack_make(&a, pass_on), stack_make(&b, jump_to_main));

    CHECK(stack_holds(&a, t.fctx));
    t = jump(t.fctx, NULL);
    CHECK(stack_holds(&b, t.fctx)); /* who came back is not who was jumped to */
    CHECK(stack_holds(&a, t.data));
    stack_free(&a);
    stack_free(&b);
}

/* Each level makes its inner one and hands everything on between it and the outer one. */
static void relay(kapok_transfer_t t)
{
    uintptr_t depth = number(t.data);
    kapok_transfer_t inner = {NULL, NULL};
    struct stack stack = {NULL, NULL, NULL, 0, 0};

    if (depth > 0) {
        stack = stack_new(STACK_SIZE);
        inner = jump(stack_make(&stack, relay), token(depth - 1));
        CHECK(inner.data == token(0));
    }
    t = jump(t.fctx, token(0));
    while (t.data != NULL) {
        uintptr_t n = number(t.data);
        if (depth > 0) {
            inner = jump(inner.fctx, token(n));
            n = number(inner.data);
        }
        t = jump(t.fctx, token(n + 1));
    }
    if (depth > 0) {
        (void)jump(inner.fctx, NULL);
        stack_free(&stack);
    }
    (void)jump(t.fctx, NULL);
}

static void contexts_nest(void)
{
    enum { DEPTH = 50 };
    struct stack stack = stack_new(STACK_SIZE);
    kapok_transfer_t t = jump(stack_make(&stack, relay), token(DEPTH));

    CHECK(t.data == token(0));
    t = jump(t.fctx, token(1));
    CHECK(t.data == token(1 + DEPTH + 1));
    t = jump(t.fctx, token(100));
    CHECK(t.data == token(100 + DEPTH + 1));
    (void)jump(t.fctx, NULL);
    stack_free(&stack);
}

static void work_on_a_part_of_the_own_stack(kapok_transfer_t t)
{
    unsigned char part[STACK_SIZE / 2];
    kapok_transfer_t inner = {engine->make(part + sizeof part, sizeof part, double_each_number), NULL};
    uintptr_t i;

    CHECK(inner.fctx != NULL);
    for (i = 1; i < 100; i++) {
        inner = jump(inner.fctx, token(i));
        CHECK(number(inner.data) == 2 * i);
        t = jump(t.fctx, token(i));
    }
    (void)jump(t.fctx, NULL);
}

static void a_stack_lies_inside_another(void)
{
    struct stack stack = stack_new(2 * STACK_SIZE);
    kapok_transfer_t t = {stack_make(&stack, work_on_a_part_of_the_own_stack), NULL};
    uintptr_t i = 0;

    if (RUNNING_ON_VALGRIND)
        test_skipped("valgrind cannot be told of a stack inside a stack");
    do {
        t = jump(t.fctx, NULL);
        CHECK(t.data == NULL || number(t.data) == ++i);
    } while (t.data != NULL);
    CHECK(i == 99);
    stack_free(&stack);
}

enum { MANY = 4000, MANY_STACK_BYTES = 16 * 1024 };

static struct stack many_stacks[MANY];
static kapok_fcontext_t many[MANY];

static void add_up(kapok_transfer_t t)
{
    uintptr_t sum = 0;

    for (;;) {
        sum += number(t.data);
        t = jump(t.fctx, token(sum));
    }
}

static void thousands_live_at_once(void)
{
    size_t i;
    uintptr_t round, expected = 0;

    for (i = 0; i < MANY; i++) {
        many_stacks[i] = stack_new(MANY_STACK_BYTES);
        many[i] = stack_make(&many_stacks[i], add_up);
    }
    for (round = 1; round <= 5; round++) {
        expected += round;
        for (i = 0; i < MANY; i++) {
            kapok_transfer_t t = jump(many[i], token(round + i));
            many[i] = t.fctx;
            CHECK(number(t.data) == expected + round * i);
        }
    }
    for (i = 0; i < MANY; i++)
        stack_free(&many_stacks[i]);
}

static int laps;

/* Member i of a ring: learns where its predecessor is suspended, and hands over to its successor. */
static void ring_member(kapok_transfer_t t)
{
    for (;;) {
        size_t self = number(t.data), next = (self + 1) % MANY;
        if (self > 0 || laps > 0) /* the very first comes from outside the ring */
            many[(self + MANY - 1) % MANY] = t.fctx;
        if (self == 0 && ++laps == 4) {
            (void)jump(main_context, NULL);
            test_failed(__FILE__, __LINE__, "nobody resumes the ring after its end");
        }
        t = jump(many[next], token(next));
    }
}

static void ring_starter(kapok_transfer_t t)
{
    main_context = t.fctx;
    (void)jump(many[0], token(0));
}

static void a_ring_of_thousands(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    size_t i;

    for (i = 0; i < MANY; i++) {
        many_stacks[i] = stack_new(MANY_STACK_BYTES);
        many[i] = stack_make(&many_stacks[i], ring_member);
    }
    (void)jump(stack_make(&stack, ring_starter), NULL);
    CHECK(laps == 4);
    for (i = 0; i < MANY; i++)
        stack_free(&many_stacks[i]);
    stack_free(&stack);
}

/* Visits 1 .. 2^depth - 1 in order, as the nodes of a tree, and is suspended at every depth of its recursion. */
static kapok_fcontext_t visit(kapok_fcontext_t consumer, uintptr_t node, uintptr_t step)
{
    if (step > 1)
        consumer = visit(consumer, node - step / 2, step / 2);
    consumer = jump(consumer, token(node)).fctx;
    if (step > 1)
        consumer = visit(consumer, node + step / 2, step / 2);
    return consumer;
}

static void generate(kapok_transfer_t t)
{
    (void)jump(visit(t.fctx, 512, 512), NULL);
}

static void suspended_at_any_depth(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    kapok_transfer_t t = {stack_make(&stack, generate), NULL};
    uintptr_t i;

    for (i = 1; i < 1024; i++) {
        t = jump(t.fctx, NULL);
        CHECK(number(t.data) == i);
    }
    CHECK(jump(t.fctx, NULL).data == NULL);
    stack_free(&stack);
}

/* The other way round: here it is the one that resumes whose depth varies. */
static uintptr_t resume_deeply(kapok_fcontext_t *context, uintptr_t depth)
{
    volatile unsigned char ballast[100];
    kapok_transfer_t t;

    ballast[depth % sizeof ballast] = (unsigned char)depth;
    t = jump(*context, token(depth));
    *context = t.fctx;
    CHECK(number(t.data) == 2 * depth);
    CHECK(ballast[depth % sizeof ballast] == (unsigned char)depth);
    return depth == 0 ? 0 : 1 + resume_deeply(context, depth - 1);
}

static void resumed_from_any_depth(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    kapok_fcontext_t context = stack_make(&stack, double_each_number);

    CHECK(resume_deeply(&context, 200) == 200);
    CHECK(resume_deeply(&context, 300) == 300);
    stack_free(&stack);
}

static void a_stack_is_used_again(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    int i;

    /* What was suspended there is abandoned; its record must not confuse the next one. */
    for (i = 0; i < 1000; i++) {
        kapok_transfer_t t = jump(stack_make(&stack, enter_and_jump_back), token(1));
        CHECK(t.data == token(2));
    }
    CHECK(entered == 1000);
    stack_free(&stack);
}

const struct test_case switch_cases[] = {
    PASSES(the_engine_is_in_the_list),
    PASSES(make_does_not_enter),
    PASSES(the_first_jump_enters),
    PASSES(data_go_both_ways),
    PASSES(a_pointer_is_transferred_twice),
    PASSES(contexts_jump_to_each_other),
    PASSES(contexts_nest),
    PASSES(a_stack_lies_inside_another),
    PASSES(thousands_live_at_once),
    PASSES(a_ring_of_thousands),
    PASSES(suspended_at_any_depth),
    PASSES(resumed_from_any_depth),
    PASSES(a_stack_is_used_again),
    END_OF_CASES,
};
