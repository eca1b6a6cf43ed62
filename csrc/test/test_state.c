/* What a switch keeps, and what belongs to the thread. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "probe.h"

static struct stack stack;

/*
 * More values than a processor has registers, each of which depends on its own history, through a volatile so that none
 * can be computed from another. With a context to jump to, another computation overwrites the registers between any two
 * rounds; without one, this is the result to expect.
 */
static const volatile unsigned long one = 1;
static const volatile double half = 0.5;

enum { ROUNDS = 500 };

static double mix(kapok_fcontext_t *other, unsigned long seed)
{
    unsigned long a = seed, b = a * 3 + one, c = b * 3 + one, d = c * 3 + one, e = d * 3 + one, f = e * 3 + one,
                  g = f * 3 + one, h = g * 3 + one, i = h * 3 + one, j = i * 3 + one, k = j * 3 + one, l = k * 3 + one;
    double p = (double)(seed % 1000), q = p + half, r = q + half, s = r + half, t = s + half, u = t + half,
           v = u + half, w = v + half, x = w + half, y = x + half, z = y + half;
    int round;

    for (round = 0; round < ROUNDS; round++) {
        if (other != NULL)
            *other = jump(*other, NULL).fctx;
        a = a * 5 + one, b = b * 7 + one, c = c * 9 + one, d = d * 11 + one, e = e * 13 + one, f = f * 15 + one;
        g = g * 17 + one, h = h * 19 + one, i = i * 21 + one, j = j * 23 + one, k = k * 25 + one, l = l * 27 + one;
        /* Halving and adding a half is exact for a while and deterministic for ever. */
        p = p * half + 1, q = q * half + 2, r = r * half + 3, s = s * half + 4, t = t * half + 5, u = u * half + 6;
        v = v * half + 7, w = w * half + 8, x = x * half + 9, y = y * half + 10, z = z * half + 11;
    }
    return (double)((a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l) % 1000003) + p + q + r + s + t + u + v + w + x + y +
           z;
}

static void mix_there(kapok_transfer_t t)
{
    kapok_fcontext_t other = t.fctx;
    volatile double result = mix(&other, 12345);

    (void)jump(other, (void *)(uintptr_t)&result);
}

static void registers_are_kept(void)
{
    volatile double expected_here = mix(NULL, 777), expected_there = mix(NULL, 12345), result;
    kapok_fcontext_t other;
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    other = stack_make(&stack, mix_there);
    result = mix(&other, 777);
    CHECK(result == expected_here);
    t = jump(other, NULL);
    CHECK(*(double *)t.data == expected_there);
    stack_free(&stack);
}

static const volatile double seven = 7;

static void divide_by_seven(kapok_transfer_t t)
{
    double x = 1e10; /* in a register, if the ABI has one that is kept */
    int i;

    for (i = 0; i < 20; i++) {
        double result = x;
        t = jump(t.fctx, &result);
        x /= seven;
    }
    (void)jump(t.fctx, NULL);
}

static void floating_point_values_are_kept(void)
{
    volatile double expected = 1e10, expected_product = 3;
    double product = 3;
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, divide_by_seven), NULL);
    while (t.data != NULL) {
        CHECK(*(double *)t.data == expected);
        expected /= seven;
        expected_product *= seven;
        product *= seven;
        t = jump(t.fctx, NULL);
        CHECK(product == expected_product);
    }
    stack_free(&stack);
}

static void change_errno(kapok_transfer_t t)
{
    CHECK(errno == 4001);
    errno = 4002;
    (void)jump(t.fctx, NULL);
    CHECK(errno == 4003);
    errno = 4004;
    (void)jump(t.fctx, NULL);
}

static void errno_belongs_to_the_thread(void)
{
    kapok_fcontext_t made;
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    made = stack_make(&stack, change_errno);
    errno = 4001;
    t = jump(made, NULL);
    CHECK(errno == 4002);
    errno = 4003;
    (void)jump(t.fctx, NULL);
    CHECK(errno == 4004);
    stack_free(&stack);
}

static int is_blocked(int sig)
{
    sigset_t mask;

    CHECK(sigprocmask(SIG_BLOCK, NULL, &mask) == 0);
    return sigismember(&mask, sig);
}

static void change_mask(int how, int sig)
{
    sigset_t mask;

    CHECK(sigemptyset(&mask) == 0);
    CHECK(sigaddset(&mask, sig) == 0);
    CHECK(sigprocmask(how, &mask, NULL) == 0);
}

static void block_usr2_instead(kapok_transfer_t t)
{
    CHECK(is_blocked(SIGUSR1)); /* as who entered, not as who made */
    CHECK(!is_blocked(SIGUSR2));
    change_mask(SIG_UNBLOCK, SIGUSR1);
    change_mask(SIG_BLOCK, SIGUSR2);
    t = jump(t.fctx, NULL);
    CHECK(!is_blocked(SIGUSR1));
    CHECK(is_blocked(SIGUSR2) == keeps_signal_mask());
    (void)jump(t.fctx, NULL);
}

static kapok_transfer_t check_the_enterers_mask(kapok_transfer_t t)
{
    CHECK(is_blocked(SIGUSR1));
    return t;
}

static void check_the_signal_mask(int by_ontop)
{
    kapok_fcontext_t made;
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    made = stack_make(&stack, block_usr2_instead);
    change_mask(SIG_BLOCK, SIGUSR1);
    t = by_ontop ? ontop(made, NULL, check_the_enterers_mask) : jump(made, NULL);
    CHECK(is_blocked(SIGUSR1) == keeps_signal_mask());
    CHECK(is_blocked(SIGUSR2) == !keeps_signal_mask());
    change_mask(SIG_UNBLOCK, SIGUSR1);
    change_mask(SIG_UNBLOCK, SIGUSR2);
    (void)jump(t.fctx, NULL);
    CHECK(!is_blocked(SIGUSR1));
    CHECK(!is_blocked(SIGUSR2));
    stack_free(&stack);
}

static void the_signal_mask_is_as_documented(void)
{
    check_the_signal_mask(0);
}

static void the_signal_mask_is_as_documented_after_ontop(void)
{
    check_the_signal_mask(1);
}

#if FP_CONTROL_KNOWN
static void round_up_instead(kapok_transfer_t t)
{
    CHECK(fp_rounding() == FP_ROUND_DOWN); /* as who entered, not as who made */
    set_fp_rounding(FP_ROUND_UP);
    t = jump(t.fctx, NULL);
    CHECK(fp_rounding() == (keeps_fp_environment() ? FP_ROUND_UP : FP_ROUND_NEAREST));
    (void)jump(t.fctx, NULL);
}

static void the_floating_point_environment_is_as_documented(void)
{
    kapok_fcontext_t made;
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    made = stack_make(&stack, round_up_instead);
    set_fp_rounding(FP_ROUND_DOWN);
    t = jump(made, NULL);
    CHECK(fp_rounding() == (keeps_fp_environment() ? FP_ROUND_DOWN : FP_ROUND_UP));
    set_fp_rounding(FP_ROUND_NEAREST);
    (void)jump(t.fctx, NULL);
    CHECK(fp_rounding() == FP_ROUND_NEAREST);
    stack_free(&stack);
}

static int both_units_round(unsigned int mode)
{
    return fp_rounding() == mode && fp_rounding_of_the_other_unit() == mode;
}

static void set_both_units(unsigned int mode)
{
    set_fp_rounding(mode);
    set_fp_rounding_of_the_other_unit(mode);
}

static kapok_transfer_t find_it_rounding_to_nearest(kapok_transfer_t t)
{
    CHECK(both_units_round(FP_ROUND_NEAREST));
    return t;
}

static void round_down_instead(kapok_transfer_t t)
{
    CHECK(both_units_round(FP_ROUND_NEAREST)); /* as who made, and as what ran on top left it */
    set_both_units(FP_ROUND_DOWN);
    t = jump(t.fctx, NULL);
    CHECK(both_units_round(FP_ROUND_DOWN));
    (void)jump(t.fctx, NULL);
}

static void boosts_names_keep_the_rounding_mode(void)
{
    kapok_transfer_t t;
    int by_ontop;

    use_the_engine_of_boosts_names();
    stack = stack_new(STACK_SIZE);
    for (by_ontop = 0; by_ontop < 2; by_ontop++) {
        kapok_fcontext_t made = stack_make(&stack, round_down_instead);
        set_both_units(FP_ROUND_UP);
        t = by_ontop ? ontop(made, NULL, find_it_rounding_to_nearest) : jump(made, NULL);
        CHECK(both_units_round(FP_ROUND_UP));
        (void)jump(t.fctx, NULL);
        CHECK(both_units_round(FP_ROUND_UP));
        set_both_units(FP_ROUND_NEAREST);
    }
    stack_free(&stack);
}
#else
static void the_floating_point_environment_is_as_documented(void)
{
    test_skipped("no way known to set the rounding mode here without libm");
}

static void boosts_names_keep_the_rounding_mode(void)
{
    the_floating_point_environment_is_as_documented();
}
#endif

static volatile sig_atomic_t handled_on_the_stack;

static void note_the_stack(int sig)
{
    volatile int here = sig;

    handled_on_the_stack = stack_holds(&stack, &here) ? 2 : 1;
}

static void raise_there(kapok_transfer_t t)
{
    CHECK(raise(SIGUSR1) == 0);
    CHECK(handled_on_the_stack == 2);
    t = jump(t.fctx, NULL);
    (void)jump(t.fctx, NULL);
}

static void a_signal_is_handled_on_a_context(void)
{
    struct sigaction action = {.sa_handler = note_the_stack};
    kapok_transfer_t t;

    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    stack = stack_new(STACK_SIZE);
    t = jump(stack_make(&stack, raise_there), NULL);
    CHECK(raise(SIGUSR1) == 0);
    CHECK(handled_on_the_stack == 1);
    (void)jump(t.fctx, NULL);
    stack_free(&stack);
}

static void count_visits(kapok_transfer_t t)
{
    uintptr_t visits = 0;

    for (;;)
        t = jump(t.fctx, token(++visits));
}

static void *resume_here(void *context)
{
    kapok_transfer_t *t = context;

    *t = jump(t->fctx, NULL);
    return NULL;
}

static void resume_in_another_thread(kapok_transfer_t *t)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, resume_here, t) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void another_thread_resumes(void)
{
    kapok_transfer_t t;
    uintptr_t i;

    stack = stack_new(STACK_SIZE);
    t.fctx = stack_make(&stack, count_visits);
    for (i = 1; i <= 20; i++) {
        if (i % 3 == 0)
            t = jump(t.fctx, NULL);
        else
            resume_in_another_thread(&t);
        CHECK(number(t.data) == i);
        CHECK(stack_holds(&stack, t.fctx));
    }
    stack_free(&stack);
}

static void another_thread_starts(void)
{
    kapok_transfer_t t;

    stack = stack_new(STACK_SIZE);
    t.fctx = stack_make(&stack, count_visits);
    resume_in_another_thread(&t);
    CHECK(t.data == token(1));
    t = jump(t.fctx, NULL);
    CHECK(t.data == token(2));
    stack_free(&stack);
}

enum { THREADS = 4, THREAD_JUMPS = 20000 };

static void *count_to_the_end(void *unused)
{
    struct stack own = stack_new(STACK_SIZE);
    kapok_transfer_t t = {stack_make(&own, count_visits), NULL};
    uintptr_t i;

    for (i = 1; i <= THREAD_JUMPS; i++) {
        t = jump(t.fctx, NULL);
        CHECK(number(t.data) == i);
    }
    stack_free(&own);
    return unused;
}

static void threads_do_not_disturb_each_other(void)
{
    pthread_t threads[THREADS];
    int i;

    for (i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, count_to_the_end, NULL) == 0);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

const struct test_case state_cases[] = {
    PASSES(registers_are_kept),
    PASSES(floating_point_values_are_kept),
    PASSES(errno_belongs_to_the_thread),
    PASSES(the_signal_mask_is_as_documented),
    PASSES(the_signal_mask_is_as_documented_after_ontop),
    PASSES(the_floating_point_environment_is_as_documented),
    PASSES(boosts_names_keep_the_rounding_mode),
    PASSES(a_signal_is_handled_on_a_context),
    PASSES(another_thread_resumes),
    PASSES(another_thread_starts),
    PASSES(threads_do_not_disturb_each_other),
    END_OF_CASES,
};
