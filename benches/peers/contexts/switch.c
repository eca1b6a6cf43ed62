/*
 * Bare contexts through the C interface, Kapok's engines beside Boost.Context's assembly: switch SUBJECT WORK COUNT prints
 * nanoseconds of processor time for one switch. SUBJECT is boost or an engine's name; asm_fenv is asm with the floating-point
 * control words of each context kept, which is what Boost's does.
 *
 * All are called by pointers, and have the same stacks: staggered, as stack tops at the same place of a page would compete for
 * the same few sets of the cache.
 */
#include "kapok_fctx.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define STACK 16384

kapok_fcontext_t make_fcontext(void *sp, size_t size, kapok_entry_fn fn);
kapok_transfer_t jump_fcontext(kapok_fcontext_t to, void *data);

extern const struct kapok_engine kapok_engine_asm_fenv;

static kapok_make_fn make;
static kapok_jump_fn jump;

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static _Noreturn void stop(const char *why)
{
    fprintf(stderr, "switch: %s\n", why);
    exit(2);
}

static char *stacks;

static kapok_fcontext_t make_number(size_t index, kapok_entry_fn entry)
{
    size_t below_end = index % 16 * 64;
    kapok_fcontext_t made = make(stacks + (index + 1) * STACK - below_end, STACK - below_end, entry);

    if (made == NULL)
        stop("a stack is too small");
    return made;
}

static void jump_back(kapok_transfer_t transfer)
{
    for (;;)
        transfer = jump(transfer.fctx, transfer.data);
}

static double ping_pong(long n)
{
    kapok_transfer_t transfer = jump(make_number(0, jump_back), NULL);
    double begin = now();

    for (long i = 0; i < n / 2; i++)
        transfer = jump(transfer.fctx, NULL);
    return (now() - begin) / (double)n;
}

/* Contexts that go from one directly to the next, which is taken from a table, as from a run queue. The last one is main's. */
static struct {
    kapok_fcontext_t *suspended;
    size_t contexts, current;
    long steps;
    uint32_t random; /* 0: in a ring */
} walk;

static inline size_t next(void)
{
    size_t next;

    if (walk.steps == 0)
        return walk.contexts;
    walk.steps--;
    if (walk.random == 0)
        return walk.current + 1 < walk.contexts ? walk.current + 1 : 0;
    walk.random ^= walk.random << 13;
    walk.random ^= walk.random >> 17;
    walk.random ^= walk.random << 5;
    next = walk.random % walk.contexts;
    if (next != walk.current)
        return next;
    return next + 1 < walk.contexts ? next + 1 : 0;
}

static inline void step(void)
{
    size_t to = next(), me = walk.current;
    kapok_transfer_t transfer;

    walk.current = to;
    transfer = jump(walk.suspended[to], (void *)(uintptr_t)me);
    walk.suspended[(uintptr_t)transfer.data] = transfer.fctx;
}

static void walk_on(kapok_transfer_t transfer)
{
    walk.suspended[(uintptr_t)transfer.data] = transfer.fctx;
    for (;;)
        step();
}

static double walked(size_t contexts, uint32_t random, long n)
{
    double begin;

    walk.suspended = calloc(contexts + 1, sizeof *walk.suspended);
    if (walk.suspended == NULL)
        stop("no memory");
    for (size_t i = 0; i < contexts; i++)
        walk.suspended[i] = make_number(i, walk_on);
    walk.contexts = walk.current = contexts;
    /* All begin before the time is taken: main is followed by the first of the ring. */
    walk.steps = (long)contexts;
    step();
    walk.steps = n / 10;
    walk.random = random;
    step();
    walk.steps = n;
    begin = now();
    step();
    return (now() - begin) / (double)(n + 1);
}

int main(int argc, char **argv)
{
    const char *subject, *work;
    size_t contexts = 1;
    double figure;
    long n;

    if (argc != 4)
        stop("give SUBJECT WORK COUNT");
    subject = argv[1];
    work = argv[2];
    n = atol(argv[3]);
    if (strcmp(subject, "boost") == 0) {
        make = make_fcontext;
        jump = jump_fcontext;
    } else {
        const struct kapok_engine *engine = kapok_engine_find(subject);
        if (strcmp(subject, "asm_fenv") == 0)
            engine = &kapok_engine_asm_fenv;
        if (engine == NULL)
            stop("there is no such engine");
        make = engine->make;
        jump = engine->jump;
    }
    if (strcmp(work, "c-ring-1000") == 0)
        contexts = 1000;
    else if (strcmp(work, "c-walk-100000") == 0)
        contexts = 100000;
    else if (strcmp(work, "c-switch") != 0)
        stop("there is no such work");
    stacks = mmap(NULL, contexts * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED)
        stop("no memory for stacks");
    if (contexts == 1) {
        ping_pong(n / 10 + 2);
        figure = ping_pong(n);
    } else {
        figure = walked(contexts, contexts == 1000 ? 0 : 0x9e3779b9u, n);
    }
    printf("%f\n", figure);
    return 0;
}
