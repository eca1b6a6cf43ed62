/*
 * A machine with larger pages than this one, for a program that LD_PRELOADs it: LARGER_PAGES=65536. Addresses that the system
 * gives are multiples of that, and so have to be those that it is given; what is done is done to whole pages.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The C library's own. */
static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        abort();
    return found;
}

/* Declares `real`, the C library's own function of that name. */
#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (real == NULL)                                                                                                  \
    *(void **)&real = next(name)

static long real_sysconf(int name)
{
    REAL(long, "sysconf", int);
    return real(name);
}

static void *real_mmap(void *address, size_t bytes, int prot, int flags, int fd, off64_t offset)
{
    REAL(void *, "mmap64", void *, size_t, int, int, int, off64_t);
    return real(address, bytes, prot, flags, fd, offset);
}

static int real_munmap(void *address, size_t bytes)
{
    REAL(int, "munmap", void *, size_t);
    return real(address, bytes);
}

static size_t page(void)
{
    static size_t bytes;

    if (bytes == 0) {
        const char *text = getenv("LARGER_PAGES");

        bytes = text != NULL ? strtoul(text, NULL, 10) : 0;
        if (bytes == 0)
            bytes = (size_t)real_sysconf(_SC_PAGESIZE);
    }
    return bytes;
}

static size_t up(size_t bytes)
{
    return (bytes + page() - 1) & ~(page() - 1);
}

static int odd(const void *address)
{
    return ((uintptr_t)address & (page() - 1)) != 0;
}

static int invalid(void)
{
    errno = EINVAL;
    return -1;
}

long sysconf(int name)
{
    return name == _SC_PAGESIZE ? (long)page() : real_sysconf(name);
}

int getpagesize(void)
{
    return (int)page();
}

static void *map(void *address, size_t bytes, int prot, int flags, int fd, off64_t offset)
{
    /* Of a file only as much as there is. */
    size_t wanted = (flags & MAP_ANONYMOUS) != 0 ? up(bytes) : bytes, room;
    unsigned char *start, *aligned;

    if (bytes == 0 || wanted < bytes || odd((void *)(uintptr_t)offset)) {
        (void)invalid();
        return MAP_FAILED;
    }
    if ((flags & MAP_FIXED) != 0) {
        if (odd(address)) {
            (void)invalid();
            return MAP_FAILED;
        }
        return real_mmap(address, wanted, prot, flags, fd, offset);
    }
    room = up(bytes) + page();
    start = real_mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return MAP_FAILED;
    aligned = (unsigned char *)up((uintptr_t)start);
    if (aligned > start)
        (void)real_munmap(start, (size_t)(aligned - start));
    (void)real_munmap(aligned + wanted, (size_t)(start + room - (aligned + wanted)));
    return real_mmap(aligned, wanted, prot, flags | MAP_FIXED, fd, offset);
}

void *mmap(void *address, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    return map(address, bytes, prot, flags, fd, offset);
}

void *mmap64(void *address, size_t bytes, int prot, int flags, int fd, off64_t offset)
{
    return map(address, bytes, prot, flags, fd, offset);
}

int munmap(void *address, size_t bytes)
{
    return odd(address) ? invalid() : real_munmap(address, up(bytes));
}

int mprotect(void *address, size_t bytes, int prot)
{
    REAL(int, "mprotect", void *, size_t, int);
    return odd(address) ? invalid() : real(address, up(bytes), prot);
}

int madvise(void *address, size_t bytes, int advice)
{
    REAL(int, "madvise", void *, size_t, int);
    return odd(address) ? invalid() : real(address, up(bytes), advice);
}

int mincore(void *address, size_t bytes, unsigned char *pages)
{
    size_t parts_of_a_page = page() / (size_t)real_sysconf(_SC_PAGESIZE), i, j;
    unsigned char parts[4096];

    REAL(int, "mincore", void *, size_t, unsigned char *);
    if (odd(address) || parts_of_a_page > sizeof parts)
        return invalid();
    for (i = 0; i < up(bytes) / page(); i++) {
        if (real((unsigned char *)address + i * page(), page(), parts) != 0)
            return -1;
        pages[i] = 0;
        for (j = 0; j < parts_of_a_page; j++)
            pages[i] |= parts[j] & 1;
    }
    return 0;
}
