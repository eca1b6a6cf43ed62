/*
 * Echo or plaintext HTTP on epoll, as one would write it by hand: raw_epoll echo|http [events=N]
 *
 * One edge-triggered registration in the life of a connection, for both directions. A read that does not fill its room
 * has emptied the socket, so nothing is read until the next edge: a request costs one recv and one send. Input and
 * output lie in two rooms that all connections share, which stay in the cache; a connection gets rooms of its own when
 * something has to be kept, because a request is incomplete or the peer does not read.
 */
#define _GNU_SOURCE
#include "raw.h"

#include <sys/epoll.h>

#define MOST_EVENTS 1024

struct connection {
    int fd;
    bool at_end; /* the peer has nothing more to say, or went away */
    bool more;   /* the last read filled its room */
    /* What is kept between turns. */
    struct bytes in, out;
};

static char shared_in[BUFFER], shared_out[BUFFER];

static void drop(struct connection *c)
{
    close(c->fd);
    free(c->in.data);
    free(c->out.data);
    free(c);
}

/* Writes what there is; false if the connection is broken. */
static bool flush(int fd, struct bytes *out)
{
    while (out->start < out->end) {
        ssize_t n = send(fd, out->data + out->start, out->end - out->start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        out->start += (unsigned)n;
    }
    out->start = out->end = 0;
    return true;
}

/* Keeps what is left of `rest` in `kept`. */
static void keep(struct bytes *kept, const struct bytes *rest)
{
    if (kept->data == NULL)
        kept->data = new_room();
    kept->start = 0;
    kept->end = rest->end - rest->start;
    memmove(kept->data, rest->data + rest->start, kept->end);
}

/* Answers all that is in `in`; false if the connection is broken. What the peer does not take is kept. */
static bool process(struct connection *c, struct bytes *in)
{
    while (in->start < in->end) {
        struct bytes out = {0, 0, shared_out};
        int used;

        if (is_http) {
            used = answer(in->data + in->start, in->end - in->start, &out);
        } else {
            out = *in;
            used = (int)(in->end - in->start);
        }
        if (used < 0)
            return false;
        if (used == 0)
            return true;
        in->start += (unsigned)used;
        if (!flush(c->fd, &out))
            return false;
        if (out.end != 0) {
            keep(&c->out, &out);
            return true;
        }
    }
    return true;
}

/* Does what can be done; false if the connection is over. */
static bool serve(struct connection *c)
{
    struct bytes in;
    ssize_t n;

    if (c->out.end != 0) {
        if (!flush(c->fd, &c->out))
            return false;
        if (c->out.end != 0)
            return true; /* the other direction's edge goes on from here */
        in = c->in;
        c->in.end = 0;
        if (!process(c, &in))
            return false;
        if (in.start != in.end)
            keep(&c->in, &in);
    }
    while (c->more && c->out.end == 0) {
        in = (struct bytes){0, c->in.end, shared_in};
        if (in.end != 0)
            memcpy(shared_in, c->in.data, in.end);
        do
            n = recv(c->fd, in.data + in.end, PIECE, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n <= 0) {
            c->more = false;
            return n < 0 && errno == EAGAIN && !c->at_end;
        }
        /* An end that was reported together with the last bytes has no edge of its own. */
        c->more = n == PIECE || c->at_end;
        in.end += (unsigned)n;
        c->in.end = 0;
        if (!process(c, &in))
            return false;
        if (in.start != in.end)
            keep(&c->in, &in);
    }
    return true;
}

static void accept_all(int listener, int epoll)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct connection *c;
        struct epoll_event event;

        if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
            die("accept4");
        if (fd < 0)
            return;
        c = calloc(1, sizeof *c);
        if (c == NULL)
            die("calloc");
        c->fd = fd;
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        event.data.ptr = c;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event events[MOST_EVENTS];
    int most = 256, listener, epoll;
    struct epoll_event event;

    is_http = argc > 1 && strcmp(argv[1], "http") == 0;
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "events=", 7) == 0 && atoi(argv[i] + 7) > 0 && atoi(argv[i] + 7) <= MOST_EVENTS)
            most = atoi(argv[i] + 7);
        else
            return fprintf(stderr, "raw_epoll: what is \"%s\"?\n", argv[i]), 2;
    }
    listener = listen_and_tell(SOCK_NONBLOCK);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    event.events = EPOLLIN;
    event.data.ptr = NULL;
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, most, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        set_date("epoll");
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == NULL) {
                accept_all(listener, epoll);
                continue;
            }
            if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                c->at_end = true;
            if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                c->more = true;
            if (!serve(c))
                drop(c);
        }
    }
}
