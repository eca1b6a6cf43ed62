/* Looks at an engine from outside. The runner prints what is found; nothing here is a test. */
#include "probe.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int keeps_signal_mask(void)
{
    return strcmp(engine->name, "ucontext") == 0;
}

int keeps_fp_environment(void)
{
    return strcmp(engine->name, "ucontext") == 0;
}

static void block_usr1(kapok_transfer_t t)
{
    sigset_t mask;

    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    (void)jump(t.fctx, NULL);
}

static const char *owner_of_the_signal_mask(struct stack *stack)
{
    sigset_t mask;

    (void)jump(stack_make(stack, block_usr1), NULL);
    (void)sigprocmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, SIGUSR1) ? "the thread's" : "each context's";
}

#if FP_CONTROL_KNOWN
static void round_down(kapok_transfer_t t)
{
    set_fp_rounding(FP_ROUND_DOWN);
    (void)jump(t.fctx, NULL);
}

static const char *owner_of_the_fp_environment(struct stack *stack)
{
    (void)jump(stack_make(stack, round_down), NULL);
    return fp_rounding() == FP_ROUND_DOWN ? "the thread's" : "each context's";
}
#else
static const char *owner_of_the_fp_environment(struct stack *stack)
{
    (void)stack;
    return "not looked at";
}
#endif

static void jump_back_for_ever(kapok_transfer_t t)
{
    for (;;)
        t = engine->jump(t.fctx, t.data);
}

static double now_ns(void)
{
    struct timespec now = {0, 0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double switch_ns(struct stack *stack)
{
    enum { TRIPS = 50000, TRIES = 3 };
    kapok_transfer_t t = jump(stack_make(stack, jump_back_for_ever), NULL);
    double best = 0;
    int try, i;

    for (try = 0; try < TRIES; try++) {
        double start = now_ns(), each;
        for (i = 0; i < TRIPS; i++)
            t = engine->jump(t.fctx, t.data);
        each = (now_ns() - start) / (2 * TRIPS);
        if (try == 0 || each < best)
            best = each;
    }
    return best;
}

void probe_engine(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    double ns = switch_ns(&stack);
    size_t least = least_stack_size(stack.high);
    const char *mask = owner_of_the_signal_mask(&stack), *fp = owner_of_the_fp_environment(&stack);

    printf("# %s: signal mask %s; floating-point environment %s; smallest stack %zu bytes; about %.1f ns a switch\n",
           engine->name, mask, fp, least, ns);
    stack_free(&stack);
}
