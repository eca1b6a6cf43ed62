/*
 * Echo or plaintext HTTP on epoll, as one would write it by hand: raw_epoll echo|http [level] [events=N]
 *
 * One edge-triggered registration in the life of a connection, for both directions. A read that does not fill its room
 * has emptied the socket, so nothing is read until the next edge: a request costs one recv and one send.
 */
#define _GNU_SOURCE
#include "raw.h"

#include <sys/epoll.h>

#define MOST_EVENTS 1024

struct connection {
    int fd;
    bool at_end; /* the peer has nothing more to say, or went away */
    bool more;   /* the last read filled its room */
    struct bytes in, out;
    char room[2][BUFFER];
};

static void drop(struct connection *c)
{
    close(c->fd);
    free(c);
}

/* Writes what there is; false if the connection is broken. */
static bool flush(struct connection *c)
{
    while (c->out.start < c->out.end) {
        ssize_t n = send(c->fd, c->out.data + c->out.start, c->out.end - c->out.start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        c->out.start += (unsigned)n;
    }
    c->out.start = c->out.end = 0;
    return true;
}

/* From what was received to what is to be sent: how many bytes were used, or -1 if the peer makes no sense. */
static int process(struct connection *c)
{
    int used;

    if (!is_http) {
        swap(&c->in, &c->out);
        return (int)c->out.end;
    }
    used = answer(c->in.data + c->in.start, c->in.end - c->in.start, &c->out);
    if (used > 0)
        c->in.start += (unsigned)used;
    if (c->in.start == c->in.end)
        c->in.start = c->in.end = 0;
    return used;
}

/* Does what can be done; false if the connection is over. */
static bool serve(struct connection *c)
{
    for (;;) {
        ssize_t n;
        int used;

        do {
            if (!flush(c))
                return false;
            if (c->out.end != 0)
                return true; /* the other direction's edge goes on from here */
            used = c->in.end != 0 ? process(c) : 0;
            if (used < 0)
                return false;
        } while (used > 0);
        if (!c->more)
            return true;
        compact(&c->in);
        do
            n = recv(c->fd, c->in.data + c->in.end, PIECE, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n <= 0) {
            c->more = false;
            return n < 0 && errno == EAGAIN && !c->at_end;
        }
        /* An end that was reported together with the last bytes has no edge of its own. */
        c->more = n == PIECE || c->at_end;
        c->in.end += (unsigned)n;
    }
}

static void accept_all(int listener, int epoll, unsigned trigger)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct connection *c;
        struct epoll_event event;

        if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
            die("accept4");
        if (fd < 0)
            return;
        c = malloc(sizeof *c);
        if (c == NULL)
            die("malloc");
        c->fd = fd;
        c->at_end = c->more = false;
        c->in = (struct bytes){0, 0, c->room[0]};
        c->out = (struct bytes){0, 0, c->room[1]};
        event.events = EPOLLIN | EPOLLRDHUP | trigger;
        event.data.ptr = c;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event events[MOST_EVENTS];
    unsigned trigger = EPOLLET | EPOLLOUT;
    int most = 256, listener, epoll;
    struct epoll_event event;

    is_http = argc > 1 && strcmp(argv[1], "http") == 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "level") == 0)
            trigger = 0;
        else if (strncmp(argv[i], "events=", 7) == 0 && atoi(argv[i] + 7) > 0 && atoi(argv[i] + 7) <= MOST_EVENTS)
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
                accept_all(listener, epoll, trigger);
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
