/*
 * Echo or plaintext HTTP on libuv: serve echo|http. Requests are found and answered as by the raw servers.
 *
 * As those do, it reads into room that all connections share, tries to write at once, and keeps what the peer does not take.
 * While something is kept it does not read.
 */
#include "../../servers/raw.h"

#include <uv.h>

struct connection {
    uv_tcp_t stream;
    uv_write_t write;
    struct bytes in, out; /* what is kept: the beginning of a request, an answer */
};

static char shared_in[BUFFER], shared_out[BUFFER];

static void go_on(struct connection *c, struct bytes in);

static void check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "serve: %s: %s\n", what, uv_strerror(result));
        exit(1);
    }
}

static void freed(uv_handle_t *handle)
{
    struct connection *c = (struct connection *)handle;

    free(c->in.data);
    free(c->out.data);
    free(c);
}

static void drop(struct connection *c)
{
    if (!uv_is_closing((uv_handle_t *)c))
        uv_close((uv_handle_t *)c, freed);
}

static void room_for(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *c = (struct connection *)handle;

    (void)suggested;
    if (c->in.end != 0)
        memcpy(shared_in, c->in.data, c->in.end);
    *buf = uv_buf_init(shared_in + c->in.end, PIECE);
}

static void received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = (struct connection *)stream;
    struct bytes in = {0, c->in.end + (unsigned)n, shared_in};

    (void)buf;
    if (n < 0) {
        drop(c);
    } else if (n > 0) {
        c->in.end = 0;
        go_on(c, in);
    }
}

static void keep(struct bytes *kept, const char *data, unsigned length)
{
    if (kept->data == NULL)
        kept->data = new_room();
    memmove(kept->data, data, length);
    kept->start = 0;
    kept->end = length;
}

static void written(uv_write_t *write, int status)
{
    struct connection *c = write->data;
    struct bytes in = c->in;

    if (status < 0) {
        drop(c);
        return;
    }
    c->in.end = 0;
    check(uv_read_start((uv_stream_t *)c, room_for, received), "uv_read_start");
    go_on(c, in);
}

/* Answers all that is in `in`. */
static void go_on(struct connection *c, struct bytes in)
{
    while (in.start < in.end) {
        struct bytes out = {0, 0, shared_out};
        int used, sent;
        uv_buf_t buf;

        if (is_http) {
            used = answer(in.data + in.start, in.end - in.start, &out);
        } else {
            out = in;
            used = (int)(in.end - in.start);
        }
        if (used < 0) {
            drop(c);
            return;
        }
        if (used == 0)
            break;
        in.start += (unsigned)used;
        buf = uv_buf_init(out.data + out.start, out.end - out.start);
        sent = uv_try_write((uv_stream_t *)c, &buf, 1);
        if (sent < 0 && sent != UV_EAGAIN) {
            drop(c);
            return;
        }
        if (sent < (int)buf.len) {
            unsigned done = sent < 0 ? 0 : (unsigned)sent;
            keep(&c->out, buf.base + done, (unsigned)buf.len - done);
            uv_read_stop((uv_stream_t *)c);
            c->write.data = c;
            buf = uv_buf_init(c->out.data, c->out.end);
            check(uv_write(&c->write, (uv_stream_t *)c, &buf, 1, written), "uv_write");
            break;
        }
    }
    if (in.start < in.end)
        keep(&c->in, in.data + in.start, in.end - in.start);
}

static void accepted(uv_stream_t *listener, int status)
{
    struct connection *c = calloc(1, sizeof *c);

    if (c == NULL)
        die("calloc");
    check(status, "listen");
    check(uv_tcp_init(listener->loop, &c->stream), "uv_tcp_init");
    check(uv_accept(listener, (uv_stream_t *)c), "uv_accept");
    check(uv_read_start((uv_stream_t *)c, room_for, received), "uv_read_start");
}

static void once_a_turn(uv_check_t *handle)
{
    (void)handle;
    set_date("libuv");
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_check_t turn;

    is_http = argc > 1 && strcmp(argv[1], "http") == 0;
    check(uv_tcp_init(loop, &listener), "uv_tcp_init");
    check(uv_tcp_open(&listener, listen_and_tell(SOCK_NONBLOCK)), "uv_tcp_open");
    check(uv_listen((uv_stream_t *)&listener, 4096, accepted), "uv_listen");
    /* Runs after the callbacks of sockets: a date may be that of the turn before, of which there are many in a second. */
    set_date("libuv");
    check(uv_check_init(loop, &turn), "uv_check_init");
    check(uv_check_start(&turn, once_a_turn), "uv_check_start");
    return uv_run(loop, UV_RUN_DEFAULT);
}
