/*
 * What the raw servers have in common, and benches/peers' in C and C++ with them: a listening socket, connections, and what is
 * answered to a request.
 *
 * They are what the runtime is measured against, so each does as little as an honest server can: requests are found
 * also when they come in pieces or several at once, short writes are finished, and a peer that goes away costs nobody
 * else anything. Methods other than GET, bodies and time limits are left out.
 */
#ifndef RAW_H
#define RAW_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE 4096 /* most that is received at once */
#define LONGEST_HEAD PIECE
#define BUFFER (LONGEST_HEAD + PIECE)

static bool is_http;
/* The answer, and that for other paths. The lines have the lengths of those that examples/httpd sends. */
static char found[192], missing[192];
static unsigned found_length, missing_length;
static time_t dated;

__attribute__((noreturn)) static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Puts the second into the answers. Called once a turn: the clock is read without a system call. */
static void set_date(const char *name)
{
    struct timespec now;
    char date[32];

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == dated)
        return;
    dated = now.tv_sec;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&dated));
    found_length = (unsigned)snprintf(found, sizeof found,
                                      "HTTP/1.1 200 OK\r\nServer: %.5s\r\nDate: %s\r\n"
                                      "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!",
                                      name, date);
    missing_length = (unsigned)snprintf(missing, sizeof missing,
                                        "HTTP/1.1 404 Not Found\r\nServer: %.5s\r\nDate: %s\r\n"
                                        "Content-Type: text/plain\r\nContent-Length: 10\r\n\r\nNot found\n",
                                        name, date);
}

/* Bytes that lie at data[start..end]; there is room for BUFFER of them. */
struct bytes {
    unsigned start, end;
    char *data;
};

static inline char *new_room(void)
{
    char *room = (char *)malloc(BUFFER);

    if (room == NULL)
        die("malloc");
    return room;
}

/* The end of the request head at `head`, or NULL if not all of it is there. */
static inline const char *end_of_head(const char *head, const char *limit)
{
    const char *line = head;

    while (line < limit) {
        const char *newline = (const char *)memchr(line, '\n', (size_t)(limit - line));
        if (newline == NULL)
            return NULL;
        if (newline - line <= 1 && (newline == line || *line == '\r'))
            return newline + 1;
        line = newline + 1;
    }
    return NULL;
}

/* Puts the answer to the request whose head is head[0..length] to `out`, which may be `head`; its length. */
static inline unsigned respond(const char *head, size_t length, char *out)
{
    static const char wanted[] = "GET /plaintext ";
    bool right = length > sizeof wanted && memcmp(head, wanted, sizeof wanted - 1) == 0;
    unsigned size = right ? found_length : missing_length;

    memcpy(out, right ? found : missing, size);
    return size;
}

/*
 * Answers the requests at data[0..length] for as long as `out` has room, and tells how many bytes they were; -1 if the
 * peer does not speak HTTP. What is left over is the beginning of a request, or does not fit yet.
 */
static inline int answer(const char *data, unsigned length, struct bytes *out)
{
    const char *at = data, *limit = data + length, *end;

    while (out->end + sizeof found <= BUFFER && (end = end_of_head(at, limit)) != NULL) {
        out->end += respond(at, (size_t)(end - at), out->data + out->end);
        at = end;
    }
    if (limit - at > LONGEST_HEAD && out->end + sizeof found <= BUFFER)
        return -1;
    return (int)(at - data);
}

/* Moves what is left to the front. */
static inline void compact(struct bytes *in)
{
    if (in->start != 0) {
        memmove(in->data, in->data + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
}

/* Listens on a free port of the loopback address and says which: the line that the benchmark waits for. */
static int listen_and_tell(int flags)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        die("socket");
    /* Accepted sockets inherit it. examples/httpd sets it, examples/echo does not. */
    if (is_http)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 4096) < 0)
        die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

#endif
