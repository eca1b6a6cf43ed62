/*
 * NAME
 *     test_fctx - tests of the C shim by itself, for every engine of the build
 *
 * SYNOPSIS
 *     cc csrc/ *.c csrc/test/ *.c -o test_fctx     (without the blanks; nothing else is needed, but perhaps -pthread)
 *     ./test_fctx                  every test on every engine, each in a process of its own
 *     ./test_fctx ENGINE           every test on one engine
 *     ./test_fctx ENGINE TEST      one test on one engine, in this process: for a debugger
 *
 * OUTPUT
 *     TAP: "ok" or "not ok" for each test, "# SKIP" where this system has not what it needs, what machine this is, a
 *     line for each engine that tells what it was seen to do, and the totals. All of it is what a report of an unknown
 *     machine should have.
 *
 * EXIT STATUS
 *     0 when no test failed, 1 when one did, 2 for wrong arguments.
 */
#include "test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../engines.h"
#include "probe.h"

/* By far more than any test needs, valgrind included: only a hang gets there. */
#define DEADLINE_SECONDS 120u

#define EXIT_SKIPPED 77

const struct kapok_engine *engine;

static const struct test_case *const groups[] = {switch_cases,   ontop_cases, stack_cases, state_cases,
                                                 register_cases, boot_cases,  death_cases, walk_cases};

enum { GROUP_COUNT = sizeof groups / sizeof groups[0] };

static struct {
    int run, passed, failed, skipped;
} total;

void test_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s: not so: %s\n", file, line, engine->name, what);
    (void)fflush(NULL);
    _exit(EXIT_FAILURE);
}

void test_skipped(const char *why)
{
    fprintf(stderr, "%s\n", why);
    (void)fflush(NULL);
    _exit(EXIT_SKIPPED);
}

void use_the_engine_of_boosts_names(void)
{
#ifdef KAPOK_BOOST_NAMES
    static const struct kapok_engine *const engines[] = {
        &kapok_engine_setjmp_fenv,
#if KAPOK_HAVE_MAKECONTEXT
        &kapok_engine_ucontext_fenv,
#endif
#if KAPOK_HAVE_ASM
        &kapok_engine_asm_fenv,
#endif
    };
    size_t i = 0;

    while (strcmp(engines[i]->name, engine->name) != 0)
        CHECK(++i < sizeof engines / sizeof engines[0]);
    engine = engines[i];
#else
    test_skipped("this build is without Boost's names");
#endif
}

/* What the child wrote to standard error: as comments of the test's result. */
static void print_as_comment(const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        printf("# %.*s\n", (int)n, text);
        text += n;
        text += *text == '\n';
    }
}

static void read_all(FILE *file, char *text, size_t size)
{
    size_t n;

    rewind(file);
    n = fread(text, 1, size - 1, file);
    text[n] = '\0';
}

static void give_up(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

/* Runs the function in a child process; its wait status, and what it wrote to standard error. */
static int run_in_child(void (*run)(void), char *text, size_t size)
{
    FILE *errors = tmpfile();
    int status;
    pid_t child;

    if (errors == NULL)
        give_up("tmpfile");
    (void)fflush(NULL);
    child = fork();
    if (child < 0)
        give_up("fork");
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)alarm(DEADLINE_SECONDS);
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)dup2(fileno(errors), STDERR_FILENO);
        run();
        (void)fflush(NULL);
        _exit(EXIT_SUCCESS);
    }
    if (waitpid(child, &status, 0) != child)
        give_up("waitpid");
    read_all(errors, text, size);
    (void)fclose(errors);
    return status;
}

static int died_with(int status, const char *text, const char *sentence)
{
    char line[512];

    (void)snprintf(line, sizeof line, "kapok: %s\n", sentence);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(text, line) != NULL;
}

static void run_case(const struct test_case *test)
{
    static char text[4096];
    int status = run_in_child(test->run, text, sizeof text);
    int exited_with = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

    total.run++;
    if (exited_with == EXIT_SKIPPED) {
        total.skipped++;
        text[strcspn(text, "\n")] = '\0';
        printf("ok %d - %s: %s # SKIP %s\n", total.run, engine->name, test->name, text);
        return;
    }
    if (test->dies_with == NULL ? exited_with == EXIT_SUCCESS : died_with(status, text, test->dies_with)) {
        total.passed++;
        printf("ok %d - %s: %s\n", total.run, engine->name, test->name);
        return;
    }
    total.failed++;
    printf("not ok %d - %s: %s\n", total.run, engine->name, test->name);
    if (WIFSIGNALED(status))
        printf("# ended by signal %d%s\n", WTERMSIG(status), WTERMSIG(status) == SIGALRM ? ", its deadline" : "");
    if (test->dies_with != NULL)
        printf("# should have aborted with: kapok: %s\n", test->dies_with);
    print_as_comment(text);
}

static const struct test_case *find_case(const char *name)
{
    int group;
    const struct test_case *test;

    for (group = 0; group < GROUP_COUNT; group++)
        for (test = groups[group]; test->name != NULL; test++)
            if (strcmp(test->name, name) == 0)
                return test;
    return NULL;
}

static int count_cases(void)
{
    int group, n = 0;
    const struct test_case *test;

    for (group = 0; group < GROUP_COUNT; group++)
        for (test = groups[group]; test->name != NULL; test++)
            n++;
    return n;
}

static void run_engine(const struct kapok_engine *this_engine)
{
    int group;
    const struct test_case *test;

    engine = this_engine;
    for (group = 0; group < GROUP_COUNT; group++)
        for (test = groups[group]; test->name != NULL; test++)
            run_case(test);
}

static void describe_engine(const struct kapok_engine *this_engine)
{
    static char text[4096];

    engine = this_engine;
    if (run_in_child(probe_engine, text, sizeof text) != 0) {
        printf("# %s: could not be described\n", engine->name);
        print_as_comment(text);
    }
}

int main(int argc, char **argv)
{
    const struct kapok_engine *only = argc > 1 ? kapok_engine_find(argv[1]) : NULL;
    const struct test_case *test = argc > 2 ? find_case(argv[2]) : NULL;
    size_t i;

    if (argc > 3 || (argc > 1 && only == NULL) || (argc > 2 && test == NULL)) {
        fprintf(stderr, "usage: %s [ENGINE [TEST]]\n", argv[0]);
        return 2;
    }
    if (test != NULL) {
        engine = only;
        test->run();
        return EXIT_SUCCESS;
    }
    printf("1..%d\n", (only != NULL ? 1 : (int)kapok_engine_count) * count_cases());
    for (i = 0; i < kapok_engine_count; i++)
        if (only == NULL || only == kapok_engines[i])
            run_engine(kapok_engines[i]);
    probe_system();
    for (i = 0; i < kapok_engine_count; i++)
        if (only == NULL || only == kapok_engines[i])
            describe_engine(kapok_engines[i]);
    printf("%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped);
    return total.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
