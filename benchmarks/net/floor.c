/* floor.c - servers without Python: what libev and the kernel cost by themselves.
 *
 * usage: floor KIND FD SIZE
 *   serves on FD, which is bound, and listens unless it is of datagrams, until it is killed.
 *   KIND echo: what comes over a connection (TCP or Unix) goes back.
 *   KIND udp: every datagram goes back to its sender.
 *   KIND http: every request without a body is answered by 200 and a body of SIZE bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 256 * 1024, ACCEPTS = 128 };

typedef struct {
    ev_io io;
    char *
        rest; /* NULL, or what could not be sent yet: nothing is read meanwhile */
    size_t rest_size, rest_sent;
    size_t newlines; /* http: how far "\r\n\r\n" has come */
} connection;

static char inbox[BUFFER]; /* one for all: it stays in the cache */
static char *response;
static size_t response_size;

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static void
hang_up(struct ev_loop *loop, connection *c)
{
    ev_io_stop(loop, &c->io);
    close(c->io.fd);
    free(c->rest);
    free(c);
}

static void
watch(struct ev_loop *loop, connection *c, int events)
{
    ev_io_stop(loop, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    ev_io_start(loop, &c->io);
}

/* Send, or keep what does not fit; return 0 when the connection is gone. */
static int
answer(struct ev_loop *loop, connection *c, const char *data, size_t size)
{
    ssize_t n = send(c->io.fd, data, size, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
        hang_up(loop, c);
        return 0;
    }
    size_t sent = n > 0 ? (size_t)n : 0;
    if (sent < size) {
        if ((c->rest = malloc(size - sent)) == NULL) {
            die("malloc");
        }
        memcpy(c->rest, data + sent, size - sent);
        c->rest_size = size - sent;
        c->rest_sent = 0;
        watch(loop, c, EV_WRITE);
    }
    return 1;
}

static void
send_rest(struct ev_loop *loop, connection *c)
{
    ssize_t n = send(c->io.fd, c->rest + c->rest_sent,
                     c->rest_size - c->rest_sent, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
        hang_up(loop, c);
        return;
    }
    c->rest_sent += n > 0 ? (size_t)n : 0;
    if (c->rest_sent == c->rest_size) {
        free(c->rest);
        c->rest = NULL;
        watch(loop, c, EV_READ);
    }
}

/* How many requests end in these bytes, each by an empty line. */
static size_t
requests(connection *c, const char *data, size_t size)
{
    size_t ends = 0;

    for (size_t i = 0; i < size; i++) {
        if (data[i] == "\r\n\r\n"[c->newlines]) {
            if (++c->newlines == 4) {
                c->newlines = 0;
                ends++;
            }
        }
        else {
            c->newlines = data[i] == '\r';
        }
    }
    return ends;
}

static void
on_connection(struct ev_loop *loop, ev_io *io, int events)
{
    connection *c = (connection *)io;

    if (events & EV_WRITE) {
        send_rest(loop, c);
        return;
    }
    ssize_t n = recv(io->fd, inbox, sizeof inbox, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        hang_up(loop, c);
    }
    else if (response == NULL) {
        answer(loop, c, inbox, (size_t)n);
    }
    else {
        for (size_t count = requests(c, inbox, (size_t)n); count > 0; count--)
        {
            if (c->rest != NULL) {
                fprintf(stderr,
                        "floor: the client asks faster than it reads\n");
                exit(1);
            }
            if (!answer(loop, c, response, response_size)) {
                return;
            }
        }
    }
}

static void
on_listening(struct ev_loop *loop, ev_io *io, int events)
{
    int on = 1;

    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNABORTED) {
                die("accept4");
            }
            return;
        }
        setsockopt(
            fd, IPPROTO_TCP, TCP_NODELAY, &on,
            sizeof on); /* fails for Unix sockets, which have no such delay */
        connection *c = calloc(1, sizeof *c);
        if (c == NULL) {
            die("calloc");
        }
        ev_io_init(&c->io, on_connection, fd, EV_READ);
        ev_io_start(loop, &c->io);
    }
}

static void
on_datagrams(struct ev_loop *loop, ev_io *io, int events)
{
    struct sockaddr_storage from;

    (void)loop;
    (void)events;
    for (;;) {
        socklen_t from_size = sizeof from;
        ssize_t n = recvfrom(io->fd, inbox, sizeof inbox, 0,
                             (struct sockaddr *)&from, &from_size);
        if (n < 0) {
            if (errno != EAGAIN && errno != ECONNREFUSED) {
                die("recvfrom");
            }
            return;
        }
        if (sendto(io->fd, inbox, (size_t)n, 0, (struct sockaddr *)&from,
                   from_size) < 0 &&
            errno != ECONNREFUSED)
        {
            die("sendto");
        }
    }
}

static void
make_response(size_t body)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: "
                               "text/plain\r\nContent-Length: %zu\r\n\r\n";
    size_t room = sizeof head + 20;

    if ((response = malloc(room + body)) == NULL) {
        die("malloc");
    }
    size_t head_size = (size_t)snprintf(response, room, head, body);
    memset(response + head_size, 'x', body);
    response_size = head_size + body;
}

int
main(int argc, char **argv)
{
    struct ev_loop *loop = ev_default_loop(0);
    ev_io io;

    if (argc != 4 || loop == NULL) {
        fprintf(stderr, "usage: floor echo|udp|http FD SIZE\n");
        return 2;
    }
    int fd = atoi(argv[2]);
    if (strcmp(argv[1], "http") == 0) {
        make_response(strtoul(argv[3], NULL, 10));
    }
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        die("fcntl");
    }
    ev_io_init(&io, strcmp(argv[1], "udp") == 0 ? on_datagrams : on_listening,
               fd, EV_READ);
    ev_io_start(loop, &io);
    ev_run(loop, 0);
    return 1;
}
