// Echo or plaintext HTTP on Boost.Fiber, one fiber a connection: `serve echo|http`. Requests are found and answered as by the raw
// servers.
//
// Boost.Fiber has no input and output of its own. Here is what a program needs beside it: sockets that do not block, one
// edge-triggered registration with epoll for each, and a fiber that waits there when no other can run.
#include "../../servers/raw.h"

#include <boost/fiber/all.hpp>

#include <sys/epoll.h>

namespace fibers = boost::fibers;

namespace
{

// Its fiber waits for an edge, which may come before it does.
struct Socket {
    int fd;
    fibers::context *waiting = nullptr;
    bool edge = false;

    void wait()
    {
        if (!edge) {
            waiting = fibers::context::active();
            waiting->suspend();
        }
        edge = false;
    }

    void wake()
    {
        edge = true;
        if (waiting != nullptr) {
            fibers::context *fiber = waiting;
            waiting = nullptr;
            fibers::context::active()->schedule(fiber);
        }
    }
};

int epoll;
int not_begun; // fibers that were made and have not run
fibers::pooled_fixedsize_stack stacks(64 * 1024);

void watch(Socket *socket)
{
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = socket;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket->fd, &event) < 0)
        die("epoll_ctl");
}

// Bytes that came, at least one; 0 or less if the connection is over.
ssize_t receive(Socket &socket, char *to, size_t room)
{
    for (;;) {
        ssize_t count = recv(socket.fd, to, room, 0);
        if (count >= 0 || (errno != EAGAIN && errno != EINTR))
            return count;
        if (errno == EAGAIN)
            socket.wait();
    }
}

bool send_all(Socket &socket, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t count = send(socket.fd, data, length, MSG_NOSIGNAL);
        if (count >= 0) {
            data += count;
            length -= static_cast<size_t>(count);
        } else if (errno == EAGAIN) {
            socket.wait();
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

void echo(Socket &socket)
{
    char bytes[PIECE];
    ssize_t count;
    while ((count = receive(socket, bytes, sizeof bytes)) > 0 && send_all(socket, bytes, static_cast<size_t>(count))) {
    }
}

void http(Socket &socket)
{
    char input[LONGEST_HEAD + PIECE], output[BUFFER];
    bytes in = {0, 0, input};
    for (;;) {
        ssize_t count = receive(socket, in.data + in.end, PIECE);
        if (count <= 0)
            return;
        in.end += static_cast<unsigned>(count);
        for (;;) {
            bytes out = {0, 0, output};
            int used = answer(in.data + in.start, in.end - in.start, &out);
            if (used < 0)
                return;
            if (used == 0)
                break;
            in.start += static_cast<unsigned>(used);
            if (!send_all(socket, out.data, out.end))
                return;
        }
        compact(&in);
    }
}

void converse(int fd)
{
    Socket socket{fd};
    not_begun--;
    watch(&socket);
    if (is_http)
        http(socket);
    else
        echo(socket);
    close(fd);
}

void accept_all(int listener)
{
    Socket socket{listener};
    watch(&socket);
    for (;;) {
        int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            not_begun++;
            fibers::fiber(std::allocator_arg, stacks, converse, fd).detach();
        } else if (errno == EAGAIN) {
            socket.wait();
        } else if (errno != ECONNABORTED && errno != EINTR) {
            die("accept4");
        }
    }
}

} // namespace

int main(int argc, char **argv)
{
    is_http = argc > 1 && std::strcmp(argv[1], "http") == 0;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1");
    fibers::fiber(std::allocator_arg, stacks, accept_all, listen_and_tell(SOCK_NONBLOCK)).detach();
    // This fiber stands last in line after it has yielded: those that it woke have run when it comes back, but not those that
    // these have made.
    for (;;) {
        boost::this_fiber::yield();
        static epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, not_begun > 0 ? 0 : -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        set_date("boost");
        for (int i = 0; i < count; i++)
            static_cast<Socket *>(events[i].data.ptr)->wake();
    }
}
