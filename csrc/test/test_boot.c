/* The first entry of a context: it may work by signals, and nobody is to notice. */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE

#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../platform.h"

/* The signal that a boot by sigaltstack(2) uses. */
#define SIGNAL SIGUSR2

enum { THREADS = 4, CONTEXTS = 300, SIGNALS = 3000, CHILDREN = 30 };

static volatile sig_atomic_t done;

static void jump_back(kapok_transfer_t t)
{
    for (;;)
        t = jump(t.fctx, t.data);
}

static void enter_one(void)
{
    struct stack stack = stack_new(STACK_SIZE);

    CHECK(number(jump(stack_make(&stack, jump_back), token(7)).data) == 7);
    stack_free(&stack);
}

/* What belongs to the thread or to the process, as far as signals go. */
struct signals {
    sigset_t mask;
    struct sigaction action;
    stack_t stack;
};

static struct signals look(void)
{
    struct signals now;

    memset(&now, 0, sizeof now);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &now.mask) == 0);
    CHECK(sigaction(SIGNAL, NULL, &now.action) == 0);
    CHECK(sigaltstack(NULL, &now.stack) == 0);
    return now;
}

static void check_same(const struct signals *a, const struct signals *b)
{
    int i;

    for (i = 1; i < 32; i++)
        CHECK(sigismember(&a->mask, i) == sigismember(&b->mask, i));
    CHECK(a->action.sa_handler == b->action.sa_handler);
    CHECK(a->stack.ss_flags == b->stack.ss_flags);
    if ((a->stack.ss_flags & SS_DISABLE) == 0) {
        CHECK(a->stack.ss_sp == b->stack.ss_sp);
        CHECK(a->stack.ss_size == b->stack.ss_size);
    }
}

static struct signals before;

static void look_within(kapok_transfer_t t)
{
    struct signals now = look();

    check_same(&now, &before);
    jump_back(t);
}

static void enter_one_that_looks(void)
{
    struct stack stack = stack_new(STACK_SIZE);
    struct signals after;

    before = look();
    (void)jump(stack_make(&stack, look_within), NULL);
    after = look();
    check_same(&after, &before);
    stack_free(&stack);
}

static void count(int number)
{
    (void)number;
    done++;
}

static void first_entry_leaves_the_signals_alone(void)
{
    struct sigaction action;
    stack_t own;
    sigset_t some;

    enter_one_that_looks();
    /* With everything that there is to be changed. */
    memset(&action, 0, sizeof action);
    action.sa_handler = count;
    CHECK(sigaction(SIGNAL, &action, NULL) == 0);
    memset(&own, 0, sizeof own);
    own.ss_size = (size_t)64 * 1024;
    own.ss_sp = malloc(own.ss_size);
    CHECK(own.ss_sp != NULL && sigaltstack(&own, NULL) == 0);
    enter_one_that_looks();
    CHECK(sigemptyset(&some) == 0 && sigaddset(&some, SIGNAL) == 0 && sigaddset(&some, SIGTERM) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &some, NULL) == 0);
    enter_one_that_looks();
    CHECK(done == 0);
    /* One that was sent while it was blocked is still there. */
    CHECK(pthread_kill(pthread_self(), SIGTERM) == 0);
    enter_one_that_looks();
    CHECK(sigpending(&some) == 0 && sigismember(&some, SIGTERM) == 1);
}

static volatile int stop;

static void *enter_until_stopped(void *unused)
{
    while (!stop)
        enter_one();
    return unused;
}

static void *enter_many(void *unused)
{
    int i;

    for (i = 0; i < CONTEXTS; i++)
        enter_one();
    return unused;
}

static void first_entries_in_many_threads(void)
{
    pthread_t threads[THREADS];
    int i;

    for (i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, enter_many, NULL) == 0);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/*
 * qemu-user (10.0) writes handler and flags of a signal one after the other, while another thread that takes the signal reads
 * them: a handler without SA_SIGINFO is then called as one that has it, or the other way round, or the address SIG_IGN is
 * called. Where a first entry changes nothing of the kind, there is nothing to see.
 */
static int signals_are_emulated(void)
{
    const char *emulated = getenv("KAPOK_EMULATED");

    return !KAPOK_HAVE_MAKECONTEXT && emulated != NULL && strcmp(emulated, "1") == 0;
}

/* With another thread at it, this one takes signals, and each is counted. */
static void signals_of_other_threads_arrive(void)
{
    struct sigaction action;
    pthread_t other;
    int i;

    if (signals_are_emulated())
        test_skipped("the emulator does not change what a signal does at once: another thread may see a part of it");
    memset(&action, 0, sizeof action);
    action.sa_handler = count;
    CHECK(sigaction(SIGNAL, &action, NULL) == 0);
    CHECK(pthread_create(&other, NULL, enter_until_stopped, NULL) == 0);
    for (i = 0; i < SIGNALS; i++) {
        CHECK(raise(SIGNAL) == 0);
        CHECK(done == i + 1);
    }
    stop = 1;
    CHECK(pthread_join(other, NULL) == 0);
    action.sa_handler = SIG_IGN;
    CHECK(sigaction(SIGNAL, &action, NULL) == 0);
    stop = 0;
    CHECK(pthread_create(&other, NULL, enter_until_stopped, NULL) == 0);
    for (i = 0; i < SIGNALS; i++)
        CHECK(raise(SIGNAL) == 0);
    stop = 1;
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(done == SIGNALS);
}

/* A fork in the middle of another thread's boot leaves the child with one that works. */
static void first_entries_in_forked_children(void)
{
    pthread_t other;
    int i, status;

    CHECK(pthread_create(&other, NULL, enter_until_stopped, NULL) == 0);
    for (i = 0; i < CHILDREN; i++) {
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            enter_one();
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    stop = 1;
    CHECK(pthread_join(other, NULL) == 0);
}

static void enter_in_handler(int number)
{
    (void)number;
    enter_one();
    done++;
}

/* A handler may enter contexts, even one that has interrupted a first entry. */
static void first_entry_in_a_handler(void)
{
    struct sigaction action;
    int i;

    memset(&action, 0, sizeof action);
    action.sa_handler = enter_in_handler;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (i = 0; i < CONTEXTS; i++) {
        CHECK(raise(SIGUSR1) == 0);
        enter_one();
    }
    CHECK(done == CONTEXTS);
}

const struct test_case boot_cases[] = {
    PASSES(first_entry_leaves_the_signals_alone),
    PASSES(first_entries_in_many_threads),
    PASSES(signals_of_other_threads_arrive),
    PASSES(first_entries_in_forked_children),
    PASSES(first_entry_in_a_handler),
    END_OF_CASES,
};
