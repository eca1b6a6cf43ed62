/*
 * Echo or plaintext HTTP on io_uring, as one would write it by hand, without liburing: raw_uring echo|http [OPTION...]
 *
 *   recv=multishot|single|poll-first   a receive that stays armed and takes buffers from a ring of them, or one receive
 *                                      for each piece, tried at once or after waiting for data
 *   overlap                            single receives: queue the next one together with the answer
 *   send=ring|skip|plain               sends through the ring; the same, silent if all goes well; or send(2)
 *   direct                             registered descriptors
 *   ring-fd=0|1                        the ring's own descriptor registered
 *   mode=defer|coop|none               when completions are worked on
 *   buffers=N                          in the ring of buffers
 *
 * The defaults are what measured best. Each turn is one io_uring_enter, which hands over all that was queued and waits.
 */
#define _GNU_SOURCE
#include "raw.h"

#include <linux/io_uring.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef IORING_SETUP_NO_SQARRAY /* Linux 6.6 */
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

#define SUBMISSIONS 4096
#define COMPLETIONS 16384
#define BUFFER_GROUP 0
#define NO_BUFFER UINT16_MAX
#define DIRECT_FILES 16384

static enum { RECV_MULTISHOT, RECV_SINGLE, RECV_POLL_FIRST } receiving = RECV_MULTISHOT;
static enum { SEND_RING, SEND_SKIP, SEND_PLAIN } sending = SEND_RING;
static bool overlap, direct, ring_fd = true;
static unsigned mode = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
static unsigned buffer_count = 1024; /* a power of two */

/* Which of a connection's operations an entry is: in the low bits of its user_data, beside the address. */
enum { OF_RECV, OF_SEND, OF_ACCEPT, OF_NOBODY, OF_MASK = 3 };

struct connection {
    int fd;
    bool receive_armed, send_in_flight, silent, is_over, has_shut;
    unsigned silent_turn, silent_index;
    struct connection *next_hungry;
    /* A ring of buffers: those with input that could not be used yet, first to last, and the one that is being sent. */
    uint16_t first_held, last_held, lent;
    struct bytes in, out;
    char room[2][BUFFER];
};

/* The ring. */
static int ring, enter_fd;
static unsigned enter_flags;
static unsigned *sq_head, *sq_tail, sq_mask, sq_local_tail, sq_submitted;
static unsigned *cq_head, *cq_tail, cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;

/* The ring of buffers. */
static struct io_uring_buf_ring *buffers;
static char *buffer_memory;
static unsigned buffer_stride;
static uint16_t buffers_tail;
static unsigned *held_length;
static uint16_t *held_next;
/* Those that the kernel has, or will have with the next turn. */
static unsigned buffers_there;
/* Connections whose receive ended because there was no buffer. */
static struct connection *hungry;

/* Connections whose silent sends are queued, and those of the last turn. */
struct silent {
    struct connection **list;
    unsigned count, size;
};
static struct silent queued_silently, submitted_silently;
static unsigned turn;
/* A connection has input that waits for its silent send, of which the next completion may say nothing. */
static bool must_not_wait;

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

static struct io_uring_sqe *next_entry(struct connection *c, unsigned kind, unsigned char opcode)
{
    struct io_uring_sqe *sqe;

    while (sq_local_tail - __atomic_load_n(sq_head, __ATOMIC_ACQUIRE) > sq_mask)
        enter(0);
    sqe = &sqes[sq_local_tail++ & sq_mask];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = opcode;
    sqe->user_data = (uintptr_t)c | kind;
    if (c != NULL && kind != OF_NOBODY) {
        sqe->fd = c->fd;
        sqe->flags = direct ? IOSQE_FIXED_FILE : 0;
    }
    return sqe;
}

static void queue_accept(int listener)
{
    struct io_uring_sqe *sqe = next_entry(NULL, OF_ACCEPT, IORING_OP_ACCEPT);

    sqe->fd = listener;
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    if (direct)
        sqe->file_index = IORING_FILE_INDEX_ALLOC;
    else
        sqe->accept_flags = SOCK_CLOEXEC;
}

static void queue_receive(struct connection *c)
{
    struct io_uring_sqe *sqe = next_entry(c, OF_RECV, IORING_OP_RECV);

    if (receiving == RECV_MULTISHOT) {
        sqe->ioprio = IORING_RECV_MULTISHOT;
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUFFER_GROUP;
    } else {
        sqe->ioprio = receiving == RECV_POLL_FIRST ? IORING_RECVSEND_POLL_FIRST : 0;
        compact(&c->in);
        sqe->addr = (uintptr_t)(c->in.data + c->in.end);
        sqe->len = PIECE;
    }
    c->receive_armed = true;
}

static void remember_silent(struct connection *c)
{
    struct silent *s = &queued_silently;

    if (s->count == s->size) {
        s->size = s->size * 2 + 64;
        s->list = realloc(s->list, s->size * sizeof(struct connection *));
        if (s->list == NULL)
            die("realloc");
    }
    c->silent = true;
    c->silent_turn = turn;
    c->silent_index = s->count;
    s->list[s->count++] = c;
    if (c->first_held != NO_BUFFER || c->in.start != c->in.end)
        must_not_wait = true;
}

/* Sends c->out by way of the ring. */
static void queue_send(struct connection *c, bool may_be_silent)
{
    struct io_uring_sqe *sqe = next_entry(c, OF_SEND, IORING_OP_SEND);

    sqe->addr = (uintptr_t)(c->out.data + c->out.start);
    sqe->len = c->out.end - c->out.start;
    sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
    c->send_in_flight = true;
    if (sending == SEND_SKIP && may_be_silent) {
        /* It never waits, so it is over when enter returns: all of it if it said nothing. */
        sqe->msg_flags |= MSG_DONTWAIT;
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        remember_silent(c);
    }
}

/* Begins to send c->out; true if it is sent already. */
static bool begin_send(struct connection *c)
{
    if (sending == SEND_PLAIN) {
        ssize_t n = send(c->fd, c->out.data + c->out.start, c->out.end - c->out.start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            c->out.start += (unsigned)n;
        if (c->out.start == c->out.end)
            return true;
    }
    queue_send(c, true);
    return false;
}

static char *buffer(uint16_t id)
{
    return buffer_memory + (size_t)id * buffer_stride;
}

/* Gives a buffer back. The kernel sees it when the tail is published, at the end of the turn. */
static void give_back(uint16_t id)
{
    struct io_uring_buf *slot = &buffers->bufs[buffers_tail++ & (buffer_count - 1)];

    slot->addr = (uintptr_t)buffer(id);
    slot->len = PIECE;
    slot->bid = id;
    buffers_there++;
}

static void hold(struct connection *c, uint16_t id, unsigned length)
{
    held_length[id] = length;
    held_next[id] = NO_BUFFER;
    if (c->first_held == NO_BUFFER)
        c->first_held = id;
    else
        held_next[c->last_held] = id;
    c->last_held = id;
}

static uint16_t take_held(struct connection *c)
{
    uint16_t id = c->first_held;

    c->first_held = held_next[id];
    return id;
}

static void end_output(struct connection *c)
{
    c->out.start = c->out.end = 0;
    if (c->lent != NO_BUFFER) {
        give_back(c->lent);
        c->lent = NO_BUFFER;
        c->out.data = c->room[1];
    }
}

/* Answers what lies in c->in; false if the peer makes no sense. */
static bool answer_input(struct connection *c)
{
    int used = answer(c->in.data + c->in.start, c->in.end - c->in.start, &c->out);

    if (used < 0)
        return false;
    c->in.start += (unsigned)used;
    /* A receive that is under way goes to where the end was. */
    if (c->in.start == c->in.end && (!c->receive_armed || receiving == RECV_MULTISHOT))
        c->in.start = c->in.end = 0;
    return true;
}

/* From the buffers that are held to what is to be sent. */
static bool process_held(struct connection *c)
{
    while (c->first_held != NO_BUFFER) {
        uint16_t id;
        unsigned length;
        int used = 0;

        if (!is_http) {
            c->lent = take_held(c);
            c->out = (struct bytes){0, held_length[c->lent], buffer(c->lent)};
            return true;
        }
        if (c->in.end - c->in.start > LONGEST_HEAD)
            return true; /* there is no room for answers: later */
        id = take_held(c);
        length = held_length[id];
        if (c->in.end == 0) {
            used = answer(buffer(id), length, &c->out);
            if (used < 0)
                return false;
        }
        if ((unsigned)used < length) {
            compact(&c->in);
            memcpy(c->in.data + c->in.end, buffer(id) + used, length - (unsigned)used);
            c->in.end += length - (unsigned)used;
            if (!answer_input(c))
                return false;
        }
        give_back(id);
    }
    return true;
}

static bool process(struct connection *c)
{
    if (is_http && c->in.start != c->in.end && !answer_input(c))
        return false;
    if (receiving == RECV_MULTISHOT)
        return process_held(c);
    if (!is_http && c->in.start != c->in.end)
        swap(&c->in, &c->out);
    return true;
}

static void finish(struct connection *c)
{
    struct io_uring_sqe *sqe;

    if (c->receive_armed && !c->has_shut) {
        c->has_shut = true;
        sqe = next_entry(c, OF_NOBODY, IORING_OP_SHUTDOWN);
        sqe->fd = c->fd;
        sqe->flags = direct ? IOSQE_FIXED_FILE : 0;
        sqe->len = SHUT_RDWR;
    }
    if (c->receive_armed || c->send_in_flight)
        return;
    end_output(c);
    while (c->first_held != NO_BUFFER)
        give_back(take_held(c));
    sqe = next_entry(c, OF_NOBODY, IORING_OP_CLOSE);
    if (direct)
        sqe->file_index = (unsigned)c->fd + 1;
    else
        sqe->fd = c->fd;
    free(c);
}

/* Does what can be done. The connection may be gone after it. */
static void advance(struct connection *c)
{
    while (!c->send_in_flight && !c->has_shut) {
        if (!process(c)) {
            c->is_over = true;
            break;
        }
        if (c->out.end == 0)
            break;
        if (begin_send(c))
            end_output(c);
    }
    if (c->is_over && (!c->send_in_flight || c->receive_armed)) {
        finish(c);
        return;
    }
    if (c->receive_armed || c->is_over)
        return;
    /* What was received beside an answer that is under way stays where it is, and echo needs the whole place. */
    if (receiving == RECV_MULTISHOT || !c->send_in_flight ||
        (overlap && c->in.end - c->in.start <= (is_http ? LONGEST_HEAD : 0)))
        queue_receive(c);
}

static void accepted(int listener, const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0) {
        struct connection *c = malloc(sizeof *c);
        if (c == NULL)
            die("malloc");
        memset(c, 0, offsetof(struct connection, room));
        c->fd = cqe->res;
        c->first_held = c->lent = NO_BUFFER;
        c->in.data = c->room[0];
        c->out.data = c->room[1];
        queue_receive(c);
    } else if (cqe->res != -ECONNABORTED && cqe->res != -EINTR && cqe->res != -EAGAIN) {
        errno = -cqe->res;
        die("accept");
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        queue_accept(listener);
}

static void received(struct connection *c, const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_MORE))
        c->receive_armed = false;
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        buffers_there--;
        if (cqe->res > 0)
            hold(c, id, (unsigned)cqe->res);
        else
            give_back(id);
    } else if (cqe->res > 0) {
        c->in.end += (unsigned)cqe->res;
    }
    if (cqe->res == -ENOBUFS) {
        c->receive_armed = true; /* by feed_hungry */
        c->next_hungry = hungry;
        hungry = c;
    } else if (cqe->res <= 0 && cqe->res != -EINTR && cqe->res != -EAGAIN) {
        c->is_over = true;
    }
    if (c->silent && c->silent_turn == turn)
        must_not_wait = true;
    advance(c);
}

/* Receives that found no buffer begin anew when there are some again. */
static void feed_hungry(void)
{
    struct connection *c = hungry, *next;

    hungry = NULL;
    for (; c != NULL; c = next) {
        next = c->next_hungry;
        if (buffers_there == 0 && !c->is_over) {
            c->next_hungry = hungry;
            hungry = c;
        } else {
            c->receive_armed = false;
            advance(c);
        }
    }
}

static void sent(struct connection *c, int result)
{
    if (c->silent)
        submitted_silently.list[c->silent_index] = NULL;
    c->send_in_flight = c->silent = false;
    if (result < 0 && result != -EAGAIN && result != -EINTR) {
        c->is_over = true;
        c->out.start = c->out.end;
    } else if (result > 0) {
        c->out.start += (unsigned)result;
    }
    if (c->out.start != c->out.end)
        queue_send(c, false);
    else
        end_output(c);
    advance(c);
}

static void reap(int listener)
{
    unsigned head = *cq_head;
    const unsigned tail = __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE);

    for (; head != tail; head++) {
        const struct io_uring_cqe *cqe = &cqes[head & cq_mask];
        struct connection *c = (struct connection *)(uintptr_t)(cqe->user_data & ~(__u64)OF_MASK);
        switch (cqe->user_data & OF_MASK) {
        case OF_RECV:
            received(c, cqe);
            break;
        case OF_SEND:
            sent(c, cqe->res);
            break;
        case OF_ACCEPT:
            accepted(listener, cqe);
            break;
        default: /* shutdown and close have nothing to say */
            break;
        }
    }
    __atomic_store_n(cq_head, head, __ATOMIC_RELEASE);
}

/* What was submitted by the last enter and said nothing was sent. */
static void reap_silence(void)
{
    for (unsigned i = 0; i < submitted_silently.count; i++) {
        struct connection *c = submitted_silently.list[i];
        if (c != NULL)
            sent(c, (int)(c->out.end - c->out.start));
    }
    submitted_silently.count = 0;
}

static void *map(size_t length, off_t offset)
{
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);

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

    for (unsigned i = 0; i < 4; i++) {
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

static void open_buffers(void)
{
    struct io_uring_buf_reg reg = {.ring_entries = buffer_count, .bgid = BUFFER_GROUP};

    /* Not a multiple of a page, for the beginnings of all buffers would share a few sets of the cache. */
    buffer_stride = PIECE + 64;
    buffers = mmap(NULL, buffer_count * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    buffer_memory = mmap(NULL, (size_t)buffer_count * buffer_stride, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    held_length = calloc(buffer_count, sizeof *held_length);
    held_next = calloc(buffer_count, sizeof *held_next);
    if (buffers == MAP_FAILED || buffer_memory == MAP_FAILED || held_length == NULL || held_next == NULL)
        die("mmap");
    reg.ring_addr = (uintptr_t)buffers;
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_PBUF_RING, &reg, 1) < 0) {
        receiving = RECV_POLL_FIRST; /* before Linux 5.19 */
        return;
    }
    for (unsigned i = 0; i < buffer_count; i++)
        give_back((uint16_t)i);
}

static bool parse(const char *option)
{
    unsigned n;

    if (strcmp(option, "recv=multishot") == 0)
        receiving = RECV_MULTISHOT;
    else if (strcmp(option, "recv=single") == 0)
        receiving = RECV_SINGLE;
    else if (strcmp(option, "recv=poll-first") == 0)
        receiving = RECV_POLL_FIRST;
    else if (strcmp(option, "overlap") == 0)
        overlap = true;
    else if (strcmp(option, "send=ring") == 0)
        sending = SEND_RING;
    else if (strcmp(option, "send=skip") == 0)
        sending = SEND_SKIP;
    else if (strcmp(option, "send=plain") == 0)
        sending = SEND_PLAIN;
    else if (strcmp(option, "direct") == 0)
        direct = true;
    else if (strcmp(option, "ring-fd=0") == 0 || strcmp(option, "ring-fd=1") == 0)
        ring_fd = option[8] == '1';
    else if (strcmp(option, "mode=defer") == 0)
        mode = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    else if (strcmp(option, "mode=coop") == 0)
        mode = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;
    else if (strcmp(option, "mode=none") == 0)
        mode = 0;
    else if (sscanf(option, "buffers=%u", &n) == 1 && n >= 2 && n <= 32768 && (n & (n - 1)) == 0)
        buffer_count = n;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    int listener;

    is_http = argc > 1 && strcmp(argv[1], "http") == 0;
    for (int i = 2; i < argc; i++) {
        if (!parse(argv[i]))
            return fprintf(stderr, "raw_uring: what is \"%s\"?\n", argv[i]), 2;
    }
    if (sending == SEND_SKIP && receiving != RECV_MULTISHOT)
        overlap = true; /* else there may be nothing to wait for */
    if (sending == SEND_PLAIN && direct)
        return fprintf(stderr, "raw_uring: send(2) needs a descriptor\n"), 2;
    open_ring();
    if (receiving == RECV_MULTISHOT)
        open_buffers();
    listener = listen_and_tell(0);
    queue_accept(listener);
    for (;;) {
        struct silent s = submitted_silently;
        if (receiving == RECV_MULTISHOT) {
            feed_hungry();
            __atomic_store_n(&buffers->tail, buffers_tail, __ATOMIC_RELEASE);
        }
        submitted_silently = queued_silently;
        queued_silently = s;
        enter(must_not_wait ? 0 : 1);
        must_not_wait = false;
        turn++;
        set_date("uring");
        reap(listener);
        reap_silence();
    }
}
