/* The stacks of the tests. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "valgrind_stacks.h"

#define MARGIN_BYTE 0xc5

struct stack stack_new(size_t size)
{
    struct stack stack;

    stack.block_size = STACK_MARGIN + size + STACK_MARGIN;
    stack.block = malloc(stack.block_size);
    CHECK(stack.block != NULL);
    /* The stack itself too: a test must not pass because fresh memory happens to be zero. */
    (void)memset(stack.block, MARGIN_BYTE, stack.block_size);
    stack.low = stack.block + STACK_MARGIN;
    stack.high = stack.low + size;
    stack.valgrind_id = VALGRIND_STACK_REGISTER(stack.low, stack.high);
    return stack;
}

size_t stack_size(const struct stack *stack)
{
    return (size_t)(stack->high - stack->low);
}

kapok_fcontext_t stack_make(const struct stack *stack, kapok_entry_fn fn)
{
    kapok_fcontext_t made = engine->make(stack->high, stack_size(stack), fn);

    CHECK(made != NULL);
    CHECK(stack_holds(stack, made));
    return made;
}

int stack_holds(const struct stack *stack, const volatile void *p)
{
    return (uintptr_t)p >= (uintptr_t)stack->low && (uintptr_t)p < (uintptr_t)stack->high;
}

void stack_check(const struct stack *stack)
{
    const unsigned char *p, *end = stack->block + stack->block_size;

    for (p = stack->block; p < stack->low; p++)
        CHECK(*p == MARGIN_BYTE);
    for (p = stack->high; p < end; p++)
        CHECK(*p == MARGIN_BYTE);
}

void stack_free(struct stack *stack)
{
    stack_check(stack);
    VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
    free(stack->block);
    stack->block = NULL;
}

static void never_entered(kapok_transfer_t t)
{
    (void)t;
    test_failed(__FILE__, __LINE__, "a context that was only made is never entered");
}

size_t least_stack_size(unsigned char *high)
{
    size_t size;

    for (size = 0; size <= STACK_SIZE; size++)
        if (engine->make(high, size, never_entered) != NULL)
            return size;
    test_failed(__FILE__, __LINE__, "make() accepts some size");
}
