/* load.c - closed-loop load for an echo server, and the server's CPU time.
 *
 *     for each connection:  send a message -> receive its echo -> compare -> send the next
 *
 * A connection never has more than one message on its way, so the server is
 * never asked for more than it can do.  The CPU clock of the server process is
 * read here, at the very moments between which echoes are counted: the server
 * needs no second thread or timer for that.
 *
 * Every message is another slice of one block of noise, so a late or
 * doubled echo does not pass for the right one.
 *
 * usage: load PORT PID CONNECTIONS SIZE WARM SECONDS OPERATIONS [udp]
 *   PORT on 127.0.0.1, PID of the server, SIZE of a message in bytes; WARM
 *   and SECONDS of load before and while counting; OPERATIONS, if not 0, is how
 *   many to count, however long they take.  Prints "OPERATIONS CPU WALL", times in ns.
 *   With "udp" a connection is a connected UDP socket and a message a datagram;
 *   one that gets lost ends the load, as silence does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLICES = 4096, STALL_MS = 10000, EVENTS = 256 };

typedef struct {
    int fd;
    const char *message; /* borrowed from `noise` */
    size_t sent, received;
    int waits_to_send; /* EPOLLOUT is watched */
} connection;

static char *noise; /* size + SLICES bytes */
static char *inbox; /* size bytes */
static size_t size;
static int epoll_fd;
static uint64_t echoes;
static int is_udp;

static void
die(const char *what)
{
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
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
    ssize_t n = send(c->fd, c->message + c->sent, size - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && errno != EAGAIN) {
        die("send");
    }
    c->sent += n > 0 ? (size_t)n : 0;

    int must_wait = c->sent < size;
    if (must_wait != c->waits_to_send) {
        c->waits_to_send = must_wait;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | (must_wait ? EPOLLOUT : 0));
    }
}

static void
send_next(connection *c)
{
    c->message = noise + random() % SLICES;
    c->sent = c->received = 0;
    send_more(c);
}

static void
receive(connection *c)
{
    ssize_t n = recv(c->fd, inbox, size - c->received, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        errno = n < 0 ? errno : 0;
        die("the server closed a connection");
    }
    if (c->received + (size_t)n > c->sent || memcmp(inbox, c->message + c->received, (size_t)n) != 0) {
        errno = 0;
        die("the server did not echo what it was sent");
    }
    c->received += (size_t)n;
    if (c->received == size) {
        echoes++;
        send_next(c);
    }
}

/* Until `wall` ns have passed or, if `count` is not 0, that many echoes came back. */
static void
load_for(int64_t wall, uint64_t count)
{
    struct epoll_event events[EVENTS];
    int64_t end = now(CLOCK_MONOTONIC) + wall;

    echoes = 0;
    while (count ? echoes < count : now(CLOCK_MONOTONIC) < end) {
        int ready = epoll_wait(epoll_fd, events, EVENTS, STALL_MS);
        if (ready < 0) {
            die("epoll_wait");
        }
        if (ready == 0) {
            errno = 0;
            die("the server has been silent for 10 s");
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
open_connection(connection *c, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0
        || (!is_udp && setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)) {
        die("cannot connect");
    }
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

int
main(int argc, char **argv)
{
    clockid_t server_cpu;

    is_udp = argc == 9 && strcmp(argv[8], "udp") == 0;
    if (argc != 8 && !is_udp) {
        fprintf(stderr, "usage: load PORT PID CONNECTIONS SIZE WARM SECONDS OPERATIONS [udp]\n");
        return 2;
    }
    int count = atoi(argv[3]);
    size = strtoul(argv[4], NULL, 10);
    noise = malloc(size + SLICES);
    inbox = malloc(size);
    connection *connections = calloc((size_t)count, sizeof *connections);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (noise == NULL || inbox == NULL || connections == NULL || epoll_fd < 0) {
        die("cannot start");
    }
    if ((errno = clock_getcpuclockid(atoi(argv[2]), &server_cpu)) != 0) {
        die("no CPU clock for the server's process");
    }
    for (size_t i = 0; i < size + SLICES; i++) {
        noise[i] = (char)random();
    }
    for (int i = 0; i < count; i++) {
        open_connection(&connections[i], atoi(argv[1]));
    }
    for (int i = 0; i < count; i++) {
        send_next(&connections[i]);
    }

    load_for((int64_t)(atof(argv[5]) * 1e9), 0);
    int64_t cpu = now(server_cpu), wall = now(CLOCK_MONOTONIC);
    load_for((int64_t)(atof(argv[6]) * 1e9), strtoull(argv[7], NULL, 10));
    cpu = now(server_cpu) - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    printf("%llu %lld %lld\n", (unsigned long long)echoes, (long long)cpu, (long long)wall);
    return 0;
}
