/* kapok_boot by makecontext(3): two system calls, both for the signal mask, once in the life of a stack. */
#define _XOPEN_SOURCE 700 /* macOS: without it <ucontext.h> declares another, smaller ucontext_t */
#define _DARWIN_C_SOURCE

#include "platform.h"

#if KAPOK_HAVE_MAKECONTEXT
#include <ucontext.h>

#include "boot.h"

struct call {
    void (*entry)(void *);
    void *arg;
};

static void run(unsigned int high, unsigned int low)
{
    /* It lies on the stack that was left, which stays suspended for as long as the entry has not been called. */
    struct call call = *(struct call *)kapok_join_halves(high, low);

    call.entry(call.arg);
    kapok_die("the first frame of a context returned");
}

void kapok_boot(void *low, size_t size, void (*entry)(void *), void *arg)
{
    struct call call = {entry, arg};
    ucontext_t uc;

    if (getcontext(&uc) != 0)
        kapok_die("getcontext failed");
    uc.uc_stack.ss_sp = low;
    uc.uc_stack.ss_size = size;
    uc.uc_stack.ss_flags = 0;
    uc.uc_link = NULL;
    kapok_end_the_frames(low, size);
    makecontext(&uc, (void (*)(void))run, 2, kapok_high_half(&call), kapok_low_half(&call));
    (void)setcontext(&uc);
    kapok_die("setcontext failed");
}

size_t kapok_boot_bytes(void)
{
    return 0;
}
#else
typedef int kapok_boots_otherwise; /* ISO C wants a declaration in every file */
#endif
