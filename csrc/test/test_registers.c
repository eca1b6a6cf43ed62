/* The registers that a function has to keep, all of them, across a thousand switches and on stacks of each size. */
#include "test.h"

#include <string.h>
#include <unistd.h>

#include "registers.h"

#if KAPOK_TEST_REGISTER_BYTES > 0
enum { ROUNDS = 1000 };

/* Other bytes for each register, side and round. */
static void fill(unsigned char *bytes, unsigned long side, unsigned long round)
{
    unsigned long state = side * 7919 + round * 104729 + 1;
    size_t i;

    for (i = 0; i < KAPOK_TEST_REGISTER_BYTES; i++) {
        state = (state * 1103515245ul + 12345ul) & 0xfffffffful;
        bytes[i] = (unsigned char)(state >> 16);
    }
}

static kapok_transfer_t pass_unchanged(kapok_transfer_t t)
{
    return t;
}

/* One switch each time, so that the registers themselves have the bytes when it happens, and not a frame. */
static void hold(kapok_fcontext_t *other, unsigned long side)
{
    _Alignas(16) unsigned char in[KAPOK_TEST_REGISTER_BYTES];
    _Alignas(16) unsigned char out[KAPOK_TEST_REGISTER_BYTES];
    const struct kapok_test_hold by_jump = {in, out, (void (*)(void))engine->jump};
    const struct kapok_test_hold by_ontop = {in, out, (void (*)(void))engine->ontop};
    unsigned long round;

    for (round = 0; round < ROUNDS; round++) {
        fill(in, side, round);
        (void)memset(out, 0, sizeof out);
        *other = kapok_test_hold_registers(*other, NULL, pass_unchanged, round % 5 == 4 ? &by_ontop : &by_jump).fctx;
        CHECK(memcmp(in, out, sizeof in) == 0);
    }
}

static void hold_there(kapok_transfer_t t)
{
    kapok_fcontext_t other = t.fctx;

    hold(&other, 1);
    (void)jump(other, token(1));
}

static void hold_on_a_stack_of(size_t size)
{
    struct stack stack = stack_new(size);
    kapok_fcontext_t other = stack_make(&stack, hold_there);

    hold(&other, 2);
    CHECK(jump(other, NULL).data == token(1)); /* it has looked at its last round */
    stack_free(&stack);
}

static void every_register_is_kept(void)
{
    hold_on_a_stack_of(STACK_SIZE);
}

static void every_register_is_kept_for_boosts_names(void)
{
    use_the_engine_of_boosts_names();
    hold_on_a_stack_of(STACK_SIZE);
}

static void every_register_is_kept_on_stacks_of_each_size(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size;

    for (size = 16384; size <= (size_t)16 * 1024 * 1024; size *= 4)
        hold_on_a_stack_of(size);
    for (size = page; size <= 64 * page; size *= 2)
        if (size >= 16384)
            hold_on_a_stack_of(size);
}

#else
static void every_register_is_kept(void)
{
    test_skipped("which registers this processor's ABI keeps is not known to the test");
}

static void every_register_is_kept_for_boosts_names(void)
{
    every_register_is_kept();
}

static void every_register_is_kept_on_stacks_of_each_size(void)
{
    every_register_is_kept();
}
#endif

const struct test_case register_cases[] = {
    PASSES(every_register_is_kept),
    PASSES(every_register_is_kept_for_boosts_names),
    PASSES(every_register_is_kept_on_stacks_of_each_size),
    END_OF_CASES,
};
