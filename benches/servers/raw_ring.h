/*
 * io_uring by plain system calls: a ring, and a ring of buffers that receives take theirs from.
 */
#ifndef RAW_RING_H
#define RAW_RING_H

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "raw.h"

#ifndef IORING_SETUP_NO_SQARRAY /* Linux 6.6 */
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

#define SUBMISSIONS 4096
#define COMPLETIONS 16384
#define DIRECT_FILES 16384
#define BUFFER_GROUP 0

static unsigned mode = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
static bool direct, ring_fd = true;

static int ring, enter_fd;
static unsigned enter_flags;
static unsigned *sq_head, *sq_tail, sq_mask, sq_local_tail, sq_submitted;
static unsigned *cq_head, *cq_tail, cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;

static unsigned buffer_count = 1024; /* a power of two */
static struct io_uring_buf_ring *buffers;
static char *buffer_memory;
static uint16_t buffers_tail;
/* How many the kernel has, or will have with the next turn. */
static unsigned buffers_there;

/* Not a multiple of a page, for the beginnings of all buffers would share a few sets of the cache. */
#define BUFFER_STRIDE (PIECE + 64)

/* Hands over all that is queued, and waits for that many completions. */
static void enter(unsigned wait_for)
{
    __atomic_store_n(sq_tail, sq_local_tail, __ATOMIC_RELEASE);
    for (;;) {
        long n = syscall(SYS_io_uring_enter, enter_fd, sq_local_tail - sq_submitted, wait_for,
                         enter_flags | IORING_ENTER_GETEVENTS, NULL, 0);
        if (n >= 0) {
            sq_submitted += (unsigned)n;
            return;
        }
        if (errno == EBUSY || errno == EAGAIN)
            return; /* it wants its completions to be taken first */
        if (errno != EINTR)
            die("io_uring_enter");
    }
}

static struct io_uring_sqe *next_entry(unsigned char opcode, int fd, __u64 user_data)
{
    struct io_uring_sqe *sqe;

    while (sq_local_tail - __atomic_load_n(sq_head, __ATOMIC_ACQUIRE) > sq_mask)
        enter(0);
    sqe = &sqes[sq_local_tail++ & sq_mask];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = opcode;
    sqe->fd = fd;
    sqe->user_data = user_data;
    return sqe;
}

static inline char *buffer(uint16_t id)
{
    return buffer_memory + (size_t)id * BUFFER_STRIDE;
}

/* Gives a buffer back. The kernel sees it when the buffers are published, at the end of the turn. */
static inline void give_back(uint16_t id)
{
    struct io_uring_buf *slot = &buffers->bufs[buffers_tail++ & (buffer_count - 1)];

    slot->addr = (uintptr_t)buffer(id);
    slot->len = PIECE;
    slot->bid = id;
    buffers_there++;
}

static void publish_buffers(void)
{
    __atomic_store_n(&buffers->tail, buffers_tail, __ATOMIC_RELEASE);
}

static void *map(size_t length, off_t offset)
{
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);

    if (at == MAP_FAILED)
        die("mmap");
    return at;
}

static void *map_memory(size_t length)
{
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (at == MAP_FAILED)
        die("mmap");
    return at;
}

static void open_ring(void)
{
    struct io_uring_params p;
    const unsigned always = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
    const unsigned tries[] = {mode | always | IORING_SETUP_NO_SQARRAY, mode | always,
                              IORING_SETUP_COOP_TASKRUN | always, always};
    char *rings;
    size_t sq_size, cq_size;

    for (unsigned i = 0; i < sizeof tries / sizeof *tries; i++) {
        memset(&p, 0, sizeof p);
        p.flags = tries[i];
        p.cq_entries = COMPLETIONS;
        ring = (int)syscall(SYS_io_uring_setup, SUBMISSIONS, &p);
        if (ring >= 0)
            break;
    }
    if (ring < 0)
        die("io_uring_setup");
    if (!(p.features & IORING_FEAT_SINGLE_MMAP) || !(p.features & IORING_FEAT_NODROP)) {
        errno = ENOSYS;
        die("io_uring of this kernel");
    }
    sq_size = p.sq_off.array + p.sq_entries * sizeof(unsigned);
    cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    rings = map(sq_size > cq_size ? sq_size : cq_size, IORING_OFF_SQ_RING);
    sqes = map(p.sq_entries * sizeof *sqes, IORING_OFF_SQES);
    sq_head = (unsigned *)(rings + p.sq_off.head);
    sq_tail = (unsigned *)(rings + p.sq_off.tail);
    sq_mask = p.sq_entries - 1;
    cq_head = (unsigned *)(rings + p.cq_off.head);
    cq_tail = (unsigned *)(rings + p.cq_off.tail);
    cq_mask = p.cq_entries - 1;
    cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
    if (!(p.flags & IORING_SETUP_NO_SQARRAY)) {
        unsigned *array = (unsigned *)(rings + p.sq_off.array);
        for (unsigned i = 0; i < p.sq_entries; i++)
            array[i] = i;
    }
    enter_fd = ring;
    if (ring_fd) {
        struct io_uring_rsrc_update update = {.offset = -1U, .data = (__u64)ring};
        if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
            enter_fd = (int)update.offset;
            enter_flags = IORING_ENTER_REGISTERED_RING;
        }
    }
    if (direct) {
        struct io_uring_rsrc_register files = {.nr = DIRECT_FILES, .flags = IORING_RSRC_REGISTER_SPARSE};
        if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES2, &files, sizeof files) < 0)
            die("IORING_REGISTER_FILES2");
    }
}

/* False if the kernel knows no such thing: before Linux 5.19. */
static bool open_buffers(void)
{
    struct io_uring_buf_reg reg = {.ring_entries = buffer_count, .bgid = BUFFER_GROUP};

    buffers = map_memory(buffer_count * sizeof(struct io_uring_buf));
    reg.ring_addr = (uintptr_t)buffers;
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_PBUF_RING, &reg, 1) < 0)
        return false;
    buffer_memory = map_memory((size_t)buffer_count * BUFFER_STRIDE);
    for (unsigned i = 0; i < buffer_count; i++)
        give_back((uint16_t)i);
    return true;
}

#endif
