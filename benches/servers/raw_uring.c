/*
 * Echo or plaintext HTTP on io_uring, as one would write it by hand, without liburing: raw_uring echo|http [OPTION...]
 *
 *   recv=multishot      a receive that stays armed, and takes buffers from a ring of them
 *   recv=select         a receive for each piece, which takes its buffer from the ring of them
 *   recv=single         a receive for each piece, into memory of the connection's own
 *   poll-first          receives wait for data before the first attempt
 *   overlap             the next receive is queued together with the answer
 *   send=ring|skip|plain    sends through the ring; the same, silent if all goes well; or send(2)
 *   direct              registered descriptors
 *   ring-fd=0|1         whether the ring's own descriptor is registered
 *   mode=defer|coop|none    when completions are worked on
 *   buffers=N           in the ring of buffers
 *
 * The defaults are what measured best. Each turn is one io_uring_enter, which hands over all that was queued and waits.
 */
#define _GNU_SOURCE
#include "raw_ring.h"

#define NO_BUFFER UINT16_MAX

static enum { RECV_MULTISHOT, RECV_SELECT, RECV_SINGLE } receiving = RECV_MULTISHOT;
static enum { SEND_RING, SEND_SKIP, SEND_PLAIN } sending = SEND_RING;
static bool poll_first, overlap;

/* Whose completion it is: the low bits of user_data, beside the address of the connection. */
enum { OF_RECV, OF_SEND, OF_ACCEPT, OF_NOBODY, OF_MASK = 3 };

struct connection {
    int fd;
    bool receive_armed, send_in_flight, silent, is_over, has_shut;
    /* Of the ring of buffers: those with input that could not be used yet, first to last, and the one being sent. */
    uint16_t first_held, last_held, lent;
    unsigned silent_turn, silent_index;
    struct bytes in, out;
    /* For input, two for `overlap`; for the answers to several requests at once. */
    char *in_room[2], *out_room;
    struct connection *next_hungry;
};

/* Of the buffers that are held: how much is in them, and which is next. */
static unsigned *held_length;
static uint16_t *held_next;
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

static bool has_input(const struct connection *c)
{
    return c->first_held != NO_BUFFER || c->in.start != c->in.end;
}

static void queue_accept(int listener)
{
    struct io_uring_sqe *sqe = next_entry(IORING_OP_ACCEPT, listener, OF_ACCEPT);

    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    if (direct)
        sqe->file_index = IORING_FILE_INDEX_ALLOC;
    else
        sqe->accept_flags = SOCK_CLOEXEC;
}

static struct io_uring_sqe *entry_of(struct connection *c, unsigned kind, unsigned char opcode)
{
    struct io_uring_sqe *sqe = next_entry(opcode, c->fd, (uintptr_t)c | kind);

    sqe->flags = direct ? IOSQE_FIXED_FILE : 0;
    return sqe;
}

static void queue_receive(struct connection *c)
{
    struct io_uring_sqe *sqe = entry_of(c, OF_RECV, IORING_OP_RECV);

    sqe->ioprio =
        (receiving == RECV_MULTISHOT ? IORING_RECV_MULTISHOT : 0) | (poll_first ? IORING_RECVSEND_POLL_FIRST : 0);
    if (receiving == RECV_SINGLE) {
        compact(&c->in);
        sqe->addr = (uintptr_t)(c->in.data + c->in.end);
        sqe->len = PIECE;
    } else {
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUFFER_GROUP;
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
    if (has_input(c))
        must_not_wait = true;
}

/* Sends c->out by way of the ring. */
static void queue_send(struct connection *c, bool may_be_silent)
{
    struct io_uring_sqe *sqe = entry_of(c, OF_SEND, IORING_OP_SEND);

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

static void end_output(struct connection *c)
{
    c->out.start = c->out.end = 0;
    if (c->lent != NO_BUFFER) {
        give_back(c->lent);
        c->lent = NO_BUFFER;
    }
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

static int answer_into_room(struct connection *c, const char *data, unsigned length)
{
    if (c->out_room == NULL)
        c->out_room = new_room();
    c->out.data = c->out_room;
    return answer(data, length, &c->out);
}

/* Answers a single request where it lies; false if it is not one, or not the usual one. */
static bool answer_in_place(struct connection *c, char *data, unsigned length)
{
    if (c->out.end != 0 || end_of_head(data, data + length) != data + length)
        return false;
    c->out = (struct bytes){0, respond(data, length, data), data};
    return true;
}

/* Answers what lies in c->in; false if the peer makes no sense. */
static bool answer_input(struct connection *c)
{
    char *data = c->in.data + c->in.start;
    unsigned length = c->in.end - c->in.start;
    int used;

    if (receiving == RECV_SINGLE && !overlap && c->in.start == 0 && answer_in_place(c, data, length)) {
        used = (int)length;
    } else {
        used = answer_into_room(c, data, length);
        if (used < 0)
            return false;
    }
    c->in.start += (unsigned)used;
    /* A receive that is under way goes to where the end was. */
    if (c->in.start == c->in.end && (!c->receive_armed || receiving != RECV_SINGLE))
        c->in.start = c->in.end = 0;
    return true;
}

/* Answers what lies in the buffers that are held; false if the peer makes no sense. */
static bool answer_held(struct connection *c)
{
    while (c->first_held != NO_BUFFER && c->in.end - c->in.start <= LONGEST_HEAD) {
        uint16_t id = take_held(c);
        unsigned length = held_length[id];
        int used = 0;

        if (c->in.end == 0 && answer_in_place(c, buffer(id), length)) {
            c->lent = id;
            return true;
        }
        if (c->in.end == 0)
            used = answer_into_room(c, buffer(id), length);
        if (used >= 0 && (unsigned)used < length) {
            if (c->in.data == NULL)
                c->in.data = c->in_room[0] = new_room();
            compact(&c->in);
            memcpy(c->in.data + c->in.end, buffer(id) + used, length - (unsigned)used);
            c->in.end += length - (unsigned)used;
            if (!answer_input(c))
                used = -1;
        }
        give_back(id);
        if (used < 0)
            return false;
    }
    return true;
}

/* From input to output, of which there is none now; false if the peer makes no sense. */
static bool process(struct connection *c)
{
    if (is_http) {
        if (c->in.start != c->in.end && !answer_input(c))
            return false;
        return receiving == RECV_SINGLE || answer_held(c);
    }
    if (receiving != RECV_SINGLE) {
        if (c->first_held != NO_BUFFER) {
            c->lent = take_held(c);
            c->out = (struct bytes){0, held_length[c->lent], buffer(c->lent)};
        }
    } else if (c->in.start != c->in.end) {
        c->out = c->in;
        c->in = (struct bytes){0, 0, c->in_room[overlap && c->out.data == c->in_room[0]]};
    }
    return true;
}

/* Closes the connection as soon as the kernel works on nothing of it. */
static void finish(struct connection *c)
{
    struct io_uring_sqe *sqe;

    if (c->receive_armed && !c->has_shut) {
        c->has_shut = true;
        sqe = entry_of(c, OF_NOBODY, IORING_OP_SHUTDOWN);
        sqe->len = SHUT_RDWR;
    }
    if (c->receive_armed || c->send_in_flight)
        return;
    end_output(c);
    while (c->first_held != NO_BUFFER)
        give_back(take_held(c));
    sqe = next_entry(IORING_OP_CLOSE, direct ? 0 : c->fd, OF_NOBODY);
    if (direct)
        sqe->file_index = (unsigned)c->fd + 1;
    free(c->in_room[0]);
    free(c->in_room[1]);
    free(c->out_room);
    free(c);
}

static bool wants_to_receive(const struct connection *c)
{
    if (receiving == RECV_MULTISHOT || !c->send_in_flight)
        return true;
    /* What was received beside an answer that is under way stays where it is, and echo needs the whole room. */
    if (receiving == RECV_SINGLE)
        return overlap && c->in.end - c->in.start <= (is_http ? LONGEST_HEAD : 0);
    return overlap;
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
    if (c->is_over) {
        if (!c->send_in_flight || c->receive_armed)
            finish(c);
        return;
    }
    if (!c->receive_armed && wants_to_receive(c))
        queue_receive(c);
}

static void accepted(int listener, const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        if (c == NULL)
            die("calloc");
        c->fd = cqe->res;
        c->first_held = c->lent = NO_BUFFER;
        if (receiving == RECV_SINGLE) {
            c->in.data = c->in_room[0] = new_room();
            if (overlap)
                c->in_room[1] = new_room();
        }
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

static bool parse(const char *option)
{
    unsigned n;

    if (strcmp(option, "recv=multishot") == 0)
        receiving = RECV_MULTISHOT;
    else if (strcmp(option, "recv=select") == 0)
        receiving = RECV_SELECT;
    else if (strcmp(option, "recv=single") == 0)
        receiving = RECV_SINGLE;
    else if (strcmp(option, "poll-first") == 0)
        poll_first = true;
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
    if (sending == SEND_PLAIN && direct)
        return fprintf(stderr, "raw_uring: send(2) needs a descriptor\n"), 2;
    open_ring();
    if (receiving != RECV_SINGLE && !open_buffers())
        receiving = RECV_SINGLE;
    if (sending == SEND_SKIP && receiving != RECV_MULTISHOT)
        overlap = true; /* else there may be nothing to wait for */
    if (receiving != RECV_SINGLE) {
        held_length = calloc(buffer_count, sizeof *held_length);
        held_next = calloc(buffer_count, sizeof *held_next);
        if (held_length == NULL || held_next == NULL)
            die("calloc");
    }
    listener = listen_and_tell(0);
    queue_accept(listener);
    for (;;) {
        struct silent s = submitted_silently;
        if (receiving != RECV_SINGLE) {
            feed_hungry();
            publish_buffers();
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
