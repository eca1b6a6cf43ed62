/* What a report from a machine that nobody else has needs to say of it. */
#include "probe.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../platform.h"
#include "registers.h"

#if KAPOK_HAVE_MAKECONTEXT
#include <ucontext.h>
#endif

static const char *c_library(void)
{
    static char text[64];

#if defined(__GLIBC__)
    (void)snprintf(text, sizeof text, "glibc %d.%d", __GLIBC__, __GLIBC_MINOR__);
#elif defined(__UCLIBC__)
    (void)snprintf(text, sizeof text, "uClibc");
#elif defined(__ANDROID__)
    (void)snprintf(text, sizeof text, "bionic");
#elif defined(__linux__)
    (void)snprintf(text, sizeof text, "not glibc: musl?");
#else
    (void)snprintf(text, sizeof text, "the system's");
#endif
    return text;
}

static const char *compiler(void)
{
#if defined(__VERSION__)
    return __VERSION__;
#else
    return "unknown";
#endif
}

void probe_system(void)
{
    const unsigned int one = 1;
    struct utsname name;

    if (uname(&name) < 0)
        printf("# system: uname failed\n");
    else
        printf("# system: %s %s, %s; C library: %s; compiler: %s\n", name.sysname, name.release, name.machine,
               c_library(), compiler());
    printf("# pointers of %d bits, %s endian, pages of %ld bytes; a jmp_buf has %zu bytes", (int)sizeof(void *) * 8,
           *(const unsigned char *)&one == 1 ? "little" : "big", sysconf(_SC_PAGESIZE), sizeof(jmp_buf));
#if KAPOK_HAVE_MAKECONTEXT
    printf(", a ucontext_t %zu\n# stacks are entered first by makecontext\n", sizeof(ucontext_t));
#else
    printf("\n# stacks are entered first by sigaltstack\n");
#endif
    printf("# registers that a call keeps: %s\n", KAPOK_TEST_REGISTERS);
}
