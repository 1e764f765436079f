/* load.c - closed-loop load for a server, and the server's CPU time.
 *
 *     for each connection:  send a message -> receive its answer -> compare -> send the next
 *
 * A connection never has more than one message on its way, so the server is
 * never asked for more than it can do.  The CPU clock of the server process is
 * read here, at the very moments between which answers are counted: the server
 * needs no second thread or timer for that.
 *
 * usage: load ADDRESS PID CONNECTIONS SIZE WARM SECONDS OPERATIONS KIND
 *   ADDRESS is a port on 127.0.0.1 or the path of a Unix socket, PID the
 *   server's; WARM and SECONDS of load before and while counting; OPERATIONS,
 *   if not 0, is how many to count, however long they take.
 *   KIND echo: every message of SIZE bytes is another slice of one block of
 *     noise, so a late or doubled echo does not pass for the right one.
 *   KIND udp: the same with connected UDP sockets and datagrams; one that
 *     gets lost ends the load, as silence does.
 *   KIND http: GET requests, to be answered by 200 and a body of SIZE bytes.
 * Prints "OPERATIONS CPU WALL P50 P99 P99.9": times in ns, the last three of the
 * latency from before a message is sent until its answer is complete.
 */
#define _GNU_SOURCE
#include "latency.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SLICES = 4096, STALL_MS = 10000, EVENTS = 256, HEAD = 4096 };

typedef struct {
    int fd;
    const char *message; /* borrowed from `noise` or `request` */
    size_t sent, received;
    int waits_to_send; /* EPOLLOUT is watched */
    int64_t started;   /* when the message was sent */
    char
        *response; /* http: what has come of it, HEAD + size bytes and a NUL */
    size_t
        whole; /* http: bytes of the response, 0 while its head is incomplete */
} connection;

static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
static char *noise; /* size + SLICES bytes */
static char *inbox; /* size bytes */
static size_t
    size; /* of what is to come back: an echo, or the body of a response */
static size_t message_size;
static int epoll_fd;
static uint64_t answers;
static int is_udp, is_http;

static void
die(const char *what)
{
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "",
            errno ? strerror(errno) : "");
    exit(1);
}

static void
die_of(const char *what) /* of something that is no failed system call */
{
    errno = 0;
    die(what);
}

static int64_t
now(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t) < 0) {
        die("cannot read the server's CPU clock");
    }
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void
watch(connection *c, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (epoll_ctl(epoll_fd, op, c->fd, &event) < 0) {
        die("epoll_ctl");
    }
}

static void
send_more(connection *c)
{
    ssize_t n = send(c->fd, c->message + c->sent, message_size - c->sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && errno != EAGAIN) {
        die("send");
    }
    c->sent += n > 0 ? (size_t)n : 0;

    int must_wait = c->sent < message_size;
    if (must_wait != c->waits_to_send) {
        c->waits_to_send = must_wait;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | (must_wait ? EPOLLOUT : 0));
    }
}

static void
send_next(connection *c, int64_t at)
{
    c->message = is_http ? request : noise + random() % SLICES;
    c->sent = c->received = c->whole = 0;
    c->started = at;
    send_more(c);
}

/* Take n bytes that came into the inbox; return whether the echo is complete. */
static int
take_echo(connection *c, size_t n)
{
    if (c->received + n > c->sent ||
        memcmp(inbox, c->message + c->received, n) != 0)
    {
        die_of("the server did not echo what it was sent");
    }
    c->received += n;
    return c->received == size;
}

/* Take n bytes that came behind the others of the response; return whether it is complete. */
static int
take_response(connection *c, size_t n)
{
    static const char ok[] = "HTTP/1.1 200 ", length[] = "\r\nContent-Length:";

    c->received += n;
    c->response[c->received] = 0;
    if (c->whole == 0) {
        char *end = strstr(c->response, "\r\n\r\n");
        if (end == NULL) {
            return 0;
        }
        char *field = strcasestr(c->response, length);
        if (strncmp(c->response, ok, sizeof ok - 1) != 0 || field == NULL ||
            field > end ||
            strtoul(field + sizeof length - 1, NULL, 10) != size)
        {
            die_of("the server did not answer 200 with the length that was "
                   "expected");
        }
        c->whole = (size_t)(end - c->response) + 4 + size;
    }
    if (c->received > c->whole) {
        die_of("the server answered more than it was asked");
    }
    return c->received == c->whole;
}

static void
receive(connection *c)
{
    char *at = is_http ? c->response + c->received : inbox;
    size_t room = (is_http ? HEAD : 0) + size - c->received;
    ssize_t n = recv(c->fd, at, room, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        errno = n < 0 ? errno : 0;
        die("the server closed a connection");
    }
    if (is_http ? take_response(c, (size_t)n) : take_echo(c, (size_t)n)) {
        int64_t answered = now(CLOCK_MONOTONIC);
        latency_add((uint64_t)(answered - c->started));
        answers++;
        send_next(c, answered);
    }
}

/* Until `wall` ns have passed or, if `count` is not 0, that many answers came back. */
static void
load_for(int64_t wall, uint64_t count)
{
    struct epoll_event events[EVENTS];
    int64_t end = now(CLOCK_MONOTONIC) + wall;

    answers = 0;
    latency_reset();
    while (count ? answers < count : now(CLOCK_MONOTONIC) < end) {
        int ready = epoll_wait(epoll_fd, events, EVENTS, STALL_MS);
        if (ready < 0) {
            die("epoll_wait");
        }
        if (ready == 0) {
            die_of("the server has been silent for 10 s");
        }
        for (int i = 0; i < ready; i++) {
            connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                send_more(c);
            }
            if (events[i].events & ~(uint32_t)EPOLLOUT) {
                receive(c);
            }
        }
    }
}

static void
open_connection(connection *c, const char *address)
{
    struct sockaddr_in at_port = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(address))};
    struct sockaddr_un at_path = {.sun_family = AF_UNIX};
    int is_unix = address[0] == '/', on = 1, rc;

    at_port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(at_path.sun_path, sizeof at_path.sun_path, "%s", address);
    c->fd = socket(is_unix ? AF_UNIX : AF_INET,
                   (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        die("socket");
    }
    rc = is_unix ? connect(c->fd, (struct sockaddr *)&at_path, sizeof at_path)
                 : connect(c->fd, (struct sockaddr *)&at_port, sizeof at_port);
    if (rc < 0 ||
        (!is_unix && !is_udp &&
         setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0))
    {
        die("cannot connect");
    }
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void *
allocate(size_t bytes)
{
    void *block = calloc(1, bytes);

    if (block == NULL) {
        die("out of memory");
    }
    return block;
}

int
main(int argc, char **argv)
{
    clockid_t server_cpu;

    if (argc != 9) {
        fprintf(stderr, "usage: load ADDRESS PID CONNECTIONS SIZE WARM "
                        "SECONDS OPERATIONS echo|udp|http\n");
        return 2;
    }
    is_udp = strcmp(argv[8], "udp") == 0;
    is_http = strcmp(argv[8], "http") == 0;
    size_t count = strtoul(argv[3], NULL, 10);
    size = strtoul(argv[4], NULL, 10);
    message_size = is_http ? sizeof request - 1 : size;
    noise = allocate(size + SLICES);
    inbox = allocate(size);
    connection *connections = allocate(count * sizeof *connections);
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        die("epoll_create1");
    }
    if ((errno = clock_getcpuclockid(atoi(argv[2]), &server_cpu)) != 0) {
        die("no CPU clock for the server's process");
    }
    for (size_t i = 0; i < size + SLICES; i++) {
        noise[i] = (char)random();
    }
    for (size_t i = 0; i < count; i++) {
        connections[i].response = is_http ? allocate(HEAD + size + 1) : NULL;
        open_connection(&connections[i], argv[1]);
    }
    for (size_t i = 0; i < count; i++) {
        send_next(&connections[i], now(CLOCK_MONOTONIC));
    }

    load_for((int64_t)(atof(argv[5]) * 1e9), 0);
    int64_t cpu = now(server_cpu), wall = now(CLOCK_MONOTONIC);
    load_for((int64_t)(atof(argv[6]) * 1e9), strtoull(argv[7], NULL, 10));
    cpu = now(server_cpu) - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    printf("%llu %lld %lld %llu %llu %llu\n", (unsigned long long)answers,
           (long long)cpu, (long long)wall,
           (unsigned long long)latency_percentile(0.5),
           (unsigned long long)latency_percentile(0.99),
           (unsigned long long)latency_percentile(0.999));
    return 0;
}
