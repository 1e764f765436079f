/* beside.c - how long a small echo takes while the server has other things to do.
 *
 *     one thread, which never sleeps:
 *         each connection:  pause -> send a message -> its echo is there? -> note how long it took
 *         once a round:     one piece of the other load, if there is any
 *
 * A connection has one message on its way at most, and pauses for 0 to 2 ms
 * between two.  The kernel notes when an echo has come: a round of a flood takes
 * longer than the server does, and the faster the server takes the datagrams,
 * the longer.  So a time is that from the message's send() to the arrival of the
 * echo, whenever this program looks for it.  Nothing here waits in the kernel,
 * and the other load comes from the same thread, so that the two do not compete
 * for a core.  Messages that are on their way at the end are waited for: the
 * slowest ones count.
 *
 * usage: beside PORT PID CONNECTIONS WARM SECONDS LOAD LOAD_PORT
 *   PORT is the echo's on 127.0.0.1, PID the server's; WARM and SECONDS as for
 *   load.c; LOAD_PORT is where the other load goes.
 *   LOAD none
 *   LOAD udp: datagrams of 64 bytes, 16 at a time, as fast as they can be sent.
 *   LOAD bulk: one connection, 64 KiB at a time, as fast as it takes them.
 *   LOAD connect: connections that send a message, wait for its echo and close,
 *     64 at a time; their number is printed to stderr.
 * Prints what load.c prints: "ECHOES CPU WALL P50 P99 P99.9".
 */
#define _GNU_SOURCE
#include "latency.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, CHUNK = 64 * 1024, GUESTS = 64, BATCH = 16, MOST = 256 };

#define SECOND INT64_C(1000000000)
#define PAUSE (2 * SECOND / 1000) /* at most */
#define STALL (20 * SECOND)

typedef struct {
    int fd; /* -1: none */
    char message[SIZE];
    size_t received;
    int64_t started; /* when the message was sent; 0: pauses */
    int64_t sent;    /* the same on the kernel's clock for arrivals */
    int64_t arrived; /* on that clock: the last part of the echo; 0: unknown */
    int64_t next;    /* when to send the next one */
} connection;

static connection probes[MOST], guests[GUESTS];
static uint64_t visits;
static int counted; /* messages sent that count */

static void
die(const char *what)
{
    fprintf(stderr, "beside: %s%s%s\n", what, errno ? ": " : "",
            errno ? strerror(errno) : "");
    exit(1);
}

static int64_t
now(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t) < 0) {
        die("cannot read the server's CPU clock");
    }
    return t.tv_sec * SECOND + t.tv_nsec;
}

static int
open_socket(int type, int port, int is_blocking)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;

    int fd = socket(AF_INET, type | (is_blocking ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0) {
        die("socket");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 &&
        errno != EINPROGRESS)
    {
        die("connect");
    }
    if (type == SOCK_STREAM) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return fd;
}

/* Have the kernel note when what this socket receives has come. */
static void
note_arrivals(int fd)
{
    int one = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) < 0) {
        die("SO_TIMESTAMPNS");
    }
}

/* When the received bytes have come; 0 if the kernel has not noted it. */
static int64_t
arrival(struct msghdr *received)
{
    struct cmsghdr *item = CMSG_FIRSTHDR(received);
    struct timespec t;

    for (; item != NULL; item = CMSG_NXTHDR(received, item)) {
        if (item->cmsg_level == SOL_SOCKET &&
            item->cmsg_type == SO_TIMESTAMPNS)
        {
            memcpy(&t, CMSG_DATA(item), sizeof t);
            return t.tv_sec * SECOND + t.tv_nsec;
        }
    }
    return 0;
}

/* 1: sent; 0: not connected yet. */
static int
send_message(connection *c)
{
    for (size_t i = 0; i < SIZE; i++) {
        c->message[i] = (char)random();
    }
    c->received = 0;
    c->sent = now(CLOCK_REALTIME);
    ssize_t n = send(c->fd, c->message, SIZE, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
        return 0;
    }
    if (n != SIZE) {
        die("send");
    }
    return 1;
}

/* 1: the echo is complete; 0: not yet. */
static int
receive_echo(connection *c)
{
    char buffer[SIZE];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec place = {buffer, SIZE - c->received};
    struct msghdr message = {.msg_iov = &place,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};

    ssize_t n = recvmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        errno = n == 0 ? 0 : errno;
        die("the server closed a connection");
    }
    if (memcmp(buffer, c->message + c->received, (size_t)n) != 0) {
        errno = 0;
        die("the server did not echo what it was sent");
    }
    c->received += (size_t)n;
    c->arrived = arrival(&message);
    return c->received == SIZE;
}

/* How long the echo took that was found at `at`. If the kernel has not noted
 * when it came, or its clock was set meanwhile: until we have found it. */
static uint64_t
taken(const connection *c, int64_t at)
{
    int64_t noted = c->arrived - c->sent, most = at - c->started;

    return (uint64_t)(c->arrived != 0 && noted >= 0 && noted <= most ? noted
                                                                     : most);
}

/* How many messages are on their way. What was sent before `begin` does not
 * count. */
static int
probe_all(int count, int may_send, int64_t begin)
{
    int waiting = 0;

    for (connection *c = probes; c < probes + count; c++) {
        int64_t at = now(CLOCK_MONOTONIC);
        if (c->started == 0) {
            if (!may_send || at < c->next) {
                continue;
            }
            c->started = at;
            counted += at >= begin;
            if (!send_message(c)) {
                die("send");
            }
        }
        else if (receive_echo(c)) {
            at = now(CLOCK_MONOTONIC);
            if (c->started >= begin) {
                latency_add(taken(c, at));
            }
            c->started = 0;
            c->next = at + random() % PAUSE;
            continue;
        }
        else if (at - c->started > STALL) {
            errno = 0;
            die("no echo for too long");
        }
        waiting++;
    }
    return waiting;
}

/* --- the other load ------------------------------------------------------- */

/* Have the kernel cut what is sent into datagrams: they come faster than any
 * loop takes them. */
static void
prepare_flood(int fd)
{
    int size = SIZE;

    if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof size) < 0) {
        die("UDP_SEGMENT"); /* Linux 4.18 */
    }
}

static void
flood(int fd)
{
    static const char datagrams[BATCH * SIZE];

    if (send(fd, datagrams, sizeof datagrams, MSG_DONTWAIT) < 0 &&
        errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED)
    {
        die("send of datagrams");
    }
}

static void
pour(int fd)
{
    static const char chunk[CHUNK];

    if (send(fd, chunk, CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
        errno != EAGAIN)
    {
        die("send of bulk");
    }
}

/* A step of the next one of the guests. They reset their connections, as there
 * are not enough ports to leave in TIME_WAIT. */
static void
visit(int port)
{
    static const struct linger reset = {1, 0};
    static int turn;
    connection *c = &guests[turn++ % GUESTS];

    if (c->fd < 0) {
        c->fd = open_socket(SOCK_STREAM, port, 0);
        c->started = 0;
    }
    else if (c->started == 0) {
        c->started = send_message(c);
    }
    else if (receive_echo(c)) {
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(c->fd);
        c->fd = -1;
        visits++;
    }
}

int
main(int argc, char **argv)
{
    if (argc != 8) {
        errno = 0;
        die("usage: beside PORT PID CONNECTIONS WARM SECONDS LOAD LOAD_PORT");
    }
    int port = atoi(argv[1]), count = atoi(argv[3]), load_port = atoi(argv[7]);
    clockid_t cpu_clock = (~(clockid_t)atoi(argv[2]) << 3) | 2;
    char kind = *argv[6];
    int fd = kind == 'u'   ? open_socket(SOCK_DGRAM, load_port, 0)
             : kind == 'b' ? open_socket(SOCK_STREAM, load_port, 1)
                           : -1;
    if (kind == 'u') {
        prepare_flood(fd);
    }
    count = count < MOST ? count : MOST;
    for (int i = 0; i < count; i++) {
        probes[i].fd = open_socket(SOCK_STREAM, port, 1);
        note_arrivals(probes[i].fd);
    }
    for (int i = 0; i < GUESTS; i++) {
        guests[i].fd = -1;
    }

    int64_t start = now(CLOCK_MONOTONIC), cpu = 0;
    int64_t begin = start + (int64_t)(atof(argv[4]) * 1e9);
    int64_t end = begin + (int64_t)(atof(argv[5]) * 1e9);
    int is_warm = 1;
    for (;;) {
        int64_t at = now(CLOCK_MONOTONIC);
        if (is_warm && at >= begin) {
            is_warm = 0;
            visits = 0;
            begin = at;
            cpu = now(cpu_clock);
        }
        /* However short the time is, each connection has had one message. */
        int is_over = at >= end && counted >= count;
        if (probe_all(count, !is_over, begin) == 0 && is_over) {
            break;
        }
        switch (kind) {
        case 'u':
            flood(fd);
            break;
        case 'b':
            pour(fd);
            break;
        case 'c':
            visit(load_port);
            break;
        }
    }
    printf("%llu %lld %lld %llu %llu %llu\n",
           (unsigned long long)latency_total,
           (long long)(now(cpu_clock) - cpu),
           (long long)(now(CLOCK_MONOTONIC) - begin),
           (unsigned long long)latency_percentile(0.5),
           (unsigned long long)latency_percentile(0.99),
           (unsigned long long)latency_percentile(0.999));
    if (kind == 'c') {
        fprintf(stderr, "%llu\n", (unsigned long long)visits);
    }
    return 0;
}
