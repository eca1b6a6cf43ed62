/*
 * kapok_boot by sigaltstack(2), where there is no makecontext(3): Engelschall's trick ("Portable Multithreading", 2000).
 *
 *     the stack that is left                        the new stack, for a moment the thread's signal stack
 *     ----------------------                        -----------------------------------------------------
 *     all signals blocked, one boot at a time
 *     sigaltstack, sigaction, pthread_kill(self)
 *     sigsuspend  --------------------------------> the kernel's signal frame
 *                                                   on_signal: _setjmp, and return
 *     <--------------------------------------------
 *     everything put back as it was
 *     _longjmp  ----------------------------------> on_signal, a second time: nothing but a frame on a stack now
 *                                                   entry(arg)
 *
 * What is put back is what the kernel keeps for the thread and the process: the signal mask, the thread's own signal
 * stack, the disposition of the signal. The disposition belongs to all threads, hence the lock; and another thread may
 * take such a signal meanwhile, hence `pass_on`.
 *
 * The kernel's frame stays at the high end of the new stack, some hundred bytes to some kilobytes, as much as the
 * processor has registers (kapok_boot_bytes). It costs about ten system calls, once in the life of a stack.
 */
#undef _FORTIFY_SOURCE    /* its checked longjmp takes another stack for a corrupt one */
#define _XOPEN_SOURCE 700 /* declares sigaltstack */
#define _DEFAULT_SOURCE   /* musl: MINSIGSTKSZ */
#define _DARWIN_C_SOURCE

#include "platform.h"

#if !KAPOK_HAVE_MAKECONTEXT
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif

#include "boot.h"

/* One that programs seldom use, and that no system sends by itself. */
#define SIGNAL SIGUSR2

struct boot {
    jmp_buf on_new_stack;
    volatile sig_atomic_t entered;
    unsigned char *high; /* the end of the new stack */
    void (*entry)(void *);
    void *arg;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
/* What SIGNAL did before, and does after; for threads that take one in the middle. Written under the lock. */
static struct sigaction before;
/* The boot that this thread is in the middle of. */
static _Thread_local struct boot *volatile booting;

static void take_lock(void)
{
    (void)pthread_mutex_lock(&lock);
}

static void release_lock(void)
{
    (void)pthread_mutex_unlock(&lock);
}

/* A child that is forked in the middle of another thread's boot must not find the lock taken for ever. */
static void set_up(void)
{
    (void)pthread_atfork(take_lock, release_lock, release_lock);
}

/* A signal that was not sent for a boot does what it would have done. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    if ((before.sa_flags & SA_SIGINFO) != 0) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler == SIG_DFL) {
        struct sigaction by_default;

        /* It ends the process, when this handler has returned and the signal is let through again. */
        by_default.sa_handler = SIG_DFL;
        by_default.sa_flags = 0;
        (void)sigemptyset(&by_default.sa_mask);
        (void)sigaction(number, &by_default, NULL);
        (void)raise(number);
    } else if (before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    }
}

/* The bottom frame of the new stack. `boot` lies on the stack that was left, which stays until the entry is called. */
static KAPOK_COLD _Noreturn void begin(const struct boot *boot)
{
    boot->entry(boot->arg);
    kapok_die("the first frame of a context returned");
}

/*
 * Nobody returns through the kernel's frame any more, but whoever walks the stack, for a backtrace, would: to where the
 * signal came, on a stack that has gone on since. It is made to lead nowhere, which ends the walk. What the C library
 * calls a ucontext_t may be more than the kernel has put there.
 */
static void end_walks(void *kernel_frame, const unsigned char *high)
{
    size_t room = (size_t)(high - (unsigned char *)kernel_frame);

    (void)memset(kernel_frame, 0, room < sizeof(ucontext_t) ? room : sizeof(ucontext_t));
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    struct boot *volatile boot = booting;
    void *volatile kernel_frame = context;

    if (boot == NULL || boot->entered) {
        pass_on(number, info, context);
        return;
    }
    boot->entered = 1;
    if (_setjmp(boot->on_new_stack) == 0)
        return;
    end_walks(kernel_frame, boot->high);
    begin(boot);
}

void kapok_boot(void *low, size_t size, void (*entry)(void *), void *arg)
{
    struct boot boot;
    struct sigaction catch;
    sigset_t all, mask, wait_mask;
    stack_t new_stack, own_stack;
    int own_errno = errno;

    boot.entered = 0;
    boot.high = (unsigned char *)low + size;
    boot.entry = entry;
    boot.arg = arg;
    (void)pthread_once(&once, set_up);
    /* Before the lock is taken: a handler that boots a context of its own would wait for it for ever. */
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &mask) != 0)
        kapok_die("pthread_sigmask failed");
    take_lock();

    new_stack.ss_sp = low;
    new_stack.ss_size = size;
    new_stack.ss_flags = 0;
    if (sigaltstack(&new_stack, &own_stack) != 0)
        kapok_die("sigaltstack failed: a context cannot be entered for the first time by a handler that runs on a "
                  "signal stack, nor on a stack smaller than the system's MINSIGSTKSZ");
    catch.sa_sigaction = on_signal;
    (void)sigfillset(&catch.sa_mask);
    if (sigaction(SIGNAL, NULL, &before) != 0)
        kapok_die("sigaction failed");
    /* Calls of other threads that are interrupted go on as they would. */
    catch.sa_flags = SA_ONSTACK | SA_SIGINFO | (before.sa_flags & SA_RESTART);
    if (sigaction(SIGNAL, &catch, NULL) != 0)
        kapok_die("sigaction failed");
    booting = &boot;
    if (pthread_kill(pthread_self(), SIGNAL) != 0)
        kapok_die("pthread_kill failed");
    wait_mask = all;
    (void)sigdelset(&wait_mask, SIGNAL);
    while (!boot.entered)
        (void)sigsuspend(&wait_mask);
    booting = NULL;

    if (sigaction(SIGNAL, &before, NULL) != 0)
        kapok_die("sigaction failed");
    if ((own_stack.ss_flags & SS_DISABLE) != 0) {
        /* Some systems look at the rest all the same. */
        own_stack.ss_flags = SS_DISABLE;
        own_stack.ss_sp = low;
        own_stack.ss_size = size;
    }
    if (sigaltstack(&own_stack, NULL) != 0)
        kapok_die("sigaltstack failed");
    release_lock();
    if (pthread_sigmask(SIG_SETMASK, &mask, NULL) != 0)
        kapok_die("pthread_sigmask failed");
    errno = own_errno;
    _longjmp(boot.on_new_stack, 1);
}

size_t kapok_boot_bytes(void)
{
    size_t bytes = MINSIGSTKSZ;

#if defined(__linux__) && defined(AT_MINSIGSTKSZ)
    /* What this processor's registers take; the constant dates from before AVX-512 and SVE. */
    if (getauxval(AT_MINSIGSTKSZ) > bytes)
        bytes = getauxval(AT_MINSIGSTKSZ);
#endif
    return bytes;
}
#else
typedef int kapok_boots_otherwise; /* ISO C wants a declaration in every file */
#endif
