/* sock.c - sys/sock.c on sockets of this process: what is sent arrives, no
 * call waits, and addresses have the size that the kernel gives them. */
#include "checked.h"

#include "sys/sock.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 60
#define STEPS 300
#define LONGEST 70000

static al_refusals refused;

static void
make_pair(int type, int fds[2])
{
    /* Blocking: a call that waited would wait for ever, as nobody else
     * reads. */
    CHECK(socketpair(AF_UNIX, type, 0, fds) == 0);
}

static void
close_pair(const int fds[2])
{
    al_sock_close(fds[0]);
    al_sock_close(fds[1]);
}

/* The byte at each place of a stream. */
static char
byte_at(size_t place)
{
    return (char)(place * 7 + place / 251);
}

/* --- streams ------------------------------------------------------------- */

static size_t stream_sent;
static size_t stream_received;

/* Send the next bytes of the stream in `count` pieces, each in a block of its
 * own. */
static ssize_t
stream_send(int fd, int count)
{
    struct iovec iov[8];
    size_t place = stream_sent;

    for (int i = 0; i < count; i++) {
        size_t size = 1 + random_below(i == 0 ? LONGEST : 100);
        char *data = malloc(size);
        CHECK(data != NULL);
        for (size_t j = 0; j < size; j++) {
            data[j] = byte_at(place++);
        }
        iov[i] = (struct iovec){data, size};
    }
    ssize_t n = random_below(2) == 0
                    ? al_sock_sendv(fd, iov, count)
                    : al_sock_send(fd, iov[0].iov_base, iov[0].iov_len);
    for (int i = 0; i < count; i++) {
        free(iov[i].iov_base);
    }
    return n;
}

static ssize_t
stream_receive(int fd)
{
    size_t size = 1 + random_below(LONGEST);
    char *data = malloc(size);

    CHECK(data != NULL);
    ssize_t n = al_sock_recv(fd, data, size);
    for (ssize_t i = 0; i < n; i++) {
        CHECK(data[i] == byte_at(stream_received++));
    }
    free(data);
    return n;
}

static void
run_stream(void)
{
    int fds[2];

    make_pair(SOCK_STREAM, fds);
    stream_sent = stream_received = 0;
    for (int step = 0; step < STEPS; step++) {
        if (random_below(2) == 0) {
            ssize_t n = stream_send(fds[0], 1 + (int)random_below(8));
            CHECK(n > 0 || al_sock_is_again(n));
            stream_sent += n > 0 ? (size_t)n : 0;
        }
        else {
            ssize_t n = stream_receive(fds[1]);
            CHECK(n > 0 ||
                  (al_sock_is_again(n) && stream_received == stream_sent));
        }
    }
    CHECK(al_sock_shutdown_write(fds[0]) == 0);
    while (stream_receive(fds[1]) > 0) {
    }
    CHECK(stream_received == stream_sent);
    CHECK(stream_receive(fds[1]) == 0);

    /* The peer is gone: an error, and no SIGPIPE. */
    CHECK(al_sock_send(fds[0], "x", 1) == -EPIPE);
    struct iovec two[] = {{(void *)"x", 1}, {(void *)"y", 1}};
    CHECK(al_sock_sendv(fds[0], two, 2) == -EPIPE);
    close_pair(fds);
    CHECK(al_sock_send(-1, "x", 1) == -EBADF);
    CHECK(al_sock_shutdown_write(-1) == -EBADF);
}

/* --- datagrams ----------------------------------------------------------- */

/* Datagrams that were sent and not received, by size and first byte. */
#define IN_FLIGHT 4096
static struct {
    size_t size;
    char first;
} flight[IN_FLIGHT];
static size_t flight_first, flight_count;

static void
flight_push(size_t size, char first)
{
    CHECK(flight_count < IN_FLIGHT);
    size_t place = (flight_first + flight_count++) % IN_FLIGHT;
    flight[place].size = size;
    flight[place].first = first;
}

static void
datagrams_send(int fd)
{
    al_datagram batch[AL_SOCK_BATCH];
    int count = 1 + (int)random_below(AL_SOCK_BATCH);

    for (int i = 0; i < count; i++) {
        size_t size = 1 + random_below(300);
        batch[i] = (al_datagram){malloc(size), size, NULL};
        CHECK(batch[i].data != NULL);
        memset(batch[i].data, (int)random_below(256), size);
    }
    int n = random_below(4) == 0
                ? (al_sock_sendto(fd, batch) >= 0 ? 1 : -EAGAIN)
                : al_sock_send_batch(&refused, fd, batch, count);
    CHECK(n > 0 || al_sock_is_again(n));
    CHECK(n <= count);
    for (int i = 0; i < count; i++) {
        if (i < n) {
            flight_push(batch[i].size, *(char *)batch[i].data);
        }
        free(batch[i].data);
    }
}

static void
datagrams_receive(int fd)
{
    al_datagram batch[AL_SOCK_BATCH];
    al_sockaddr from[AL_SOCK_BATCH];
    size_t room[AL_SOCK_BATCH];
    int count = 1 + (int)random_below(AL_SOCK_BATCH);
    int n;

    memset(from, 0x55, sizeof(from));
    for (int i = 0; i < count; i++) {
        room[i] = 1 + random_below(400);
        batch[i] = (al_datagram){malloc(room[i]), room[i], &from[i]};
        CHECK(batch[i].data != NULL);
    }
    if (random_below(4) == 0) {
        ssize_t size = al_sock_recvfrom(fd, batch);
        batch[0].size = size < 0 ? 0 : (size_t)size;
        n = size < 0 ? (int)size : 1;
    }
    else {
        n = al_sock_recv_batch(&refused, fd, batch, count);
    }
    CHECK(n > 0 || (al_sock_is_again(n) && flight_count == 0));
    CHECK(n <= count);
    for (int i = 0; i < n; i++) {
        CHECK(flight_count > 0);
        size_t size = flight[flight_first].size;
        CHECK(batch[i].size == (size < room[i] ? size : room[i]));
        CHECK(*(char *)batch[i].data == flight[flight_first].first);
        CHECK(from[i].size <= sizeof(from[i].any));
        flight_first = (flight_first + 1) % IN_FLIGHT;
        flight_count--;
    }
    for (int i = 0; i < count; i++) {
        free(batch[i].data);
    }
}

static void
run_datagrams(void)
{
    int fds[2];

    make_pair(SOCK_DGRAM, fds);
    flight_count = 0;
    /* The calls that every kernel has give the same. */
    refused = (al_refusals){.recvmmsg = random_below(3) == 0,
                            .sendmmsg = random_below(3) == 0};
    const al_refusals before = refused;
    for (int step = 0; step < STEPS; step++) {
        if (random_below(2) == 0) {
            datagrams_send(fds[0]);
        }
        else {
            datagrams_receive(fds[1]);
        }
    }
    while (flight_count > 0) {
        datagrams_receive(fds[1]);
    }
    close_pair(fds);
    CHECK(before.recvmmsg == refused.recvmmsg);
    CHECK(before.sendmmsg == refused.sendmmsg);
}

/* --- addresses ----------------------------------------------------------- */

/* Bind to an abstract name of `length` bytes, if the system has such names. */
static int
bind_abstract(int fd, size_t length, al_sockaddr *name)
{
    const size_t start = offsetof(struct sockaddr_un, sun_path);

    memset(name, 0, sizeof(*name));
    name->any.un.sun_family = AF_UNIX;
    for (size_t i = 1; i < length; i++) {
        name->any.un.sun_path[i] = (char)random_below(256);
    }
    name->size = (socklen_t)(start + length);
    return bind(fd, &name->any.sa, name->size);
}

static void
check_name(int fd, const al_sockaddr *expected)
{
    al_sockaddr name;

    memset(&name, 0x55, sizeof(name));
    CHECK(al_sock_name(fd, &name) == 0);
    CHECK(name.size == expected->size);
    CHECK(memcmp(&name.any, &expected->any, name.size) == 0);
}

/* A datagram comes from the name that its sender has, of any length. */
static void
run_abstract(void)
{
    const size_t longest = sizeof(((struct sockaddr_un *)0)->sun_path);
    int receiver = socket(AF_UNIX, SOCK_DGRAM, 0);
    int sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    al_sockaddr to, mine, from;
    char byte = 'x';

    CHECK(receiver >= 0 && sender >= 0);
    /* Long enough for no other program to have it. */
    if (bind_abstract(receiver, 30 + random_below(longest - 29), &to) == 0 &&
        bind_abstract(sender, 30 + random_below(longest - 29), &mine) == 0)
    {
        check_name(receiver, &to);
        CHECK(al_sock_sendto(sender, &(al_datagram){&byte, 1, &to}) == 1);
        memset(&from, 0x55, sizeof(from));
        CHECK(al_sock_recvfrom(receiver, &(al_datagram){&byte, 1, &from}) ==
              1);
        CHECK(from.size == mine.size);
        CHECK(memcmp(&from.any, &mine.any, from.size) == 0);
    }
    al_sock_close(receiver);
    al_sock_close(sender);
}

/* A path may fill sun_path, and the kernel counts a zero behind it: the
 * address is longer than the struct, and has room in al_sockaddr. */
static void
run_longest_path(const char *folder)
{
    const size_t start = offsetof(struct sockaddr_un, sun_path);
    al_sockaddr address, name;
    struct sockaddr_un *un = &address.any.un;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    memset(&address, 0, sizeof(address));
    un->sun_family = AF_UNIX;
    memset(un->sun_path, 'p', sizeof(un->sun_path));
    CHECK(chdir(folder) == 0);
    CHECK(bind(fd, &address.any.sa, sizeof(*un)) == 0);
    memset(&name, 0x55, sizeof(name));
    CHECK(al_sock_name(fd, &name) == 0);
    CHECK(name.size <= sizeof(name.any));
    CHECK(strnlen(name.any.un.sun_path, name.size - start) ==
          sizeof(un->sun_path));
    CHECK(al_sock_peer(fd, &name) == -ENOTCONN);
    al_sock_close(fd);
}

/* --- accept -------------------------------------------------------------- */

static void
run_accept(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    al_sockaddr name, peer, client_name;

    CHECK(bind(listener, (struct sockaddr *)&any, sizeof(any)) == 0);
    CHECK(listen(listener, 10) == 0);
    CHECK(al_sock_name(listener, &name) == 0);
    refused = (al_refusals){.accept4 = random_below(2) == 0};
    const al_refusals before = refused;
    CHECK(al_sock_is_again(al_sock_accept(&refused, listener, &peer)));

    int client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(client, &name.any.sa, name.size) == 0);
    memset(&peer, 0x55, sizeof(peer));
    int conn = al_sock_accept(&refused, listener, &peer);
    CHECK(conn >= 0);
    CHECK((fcntl(conn, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((fcntl(conn, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(al_sock_name(client, &client_name) == 0);
    CHECK(peer.size == client_name.size && peer.size == sizeof(any));
    CHECK(memcmp(&peer.any, &client_name.any, peer.size) == 0);
    CHECK(before.accept4 == refused.accept4);

    /* On a socket that is not TCP it does nothing. */
    al_sock_set_nodelay(conn);
    int pair[2];
    make_pair(SOCK_STREAM, pair);
    al_sock_set_nodelay(pair[0]);
    close_pair(pair);

    al_sock_close(conn);
    al_sock_close(client);
    al_sock_close(listener);
    CHECK(al_sock_accept(&refused, -1, &peer) == -EBADF);
}

int
main(int argc, char **argv)
{
    CHECK(argc == 2); /* a new, empty folder */
    for (uint64_t round = 0; round < ROUNDS; round++) {
        check_begin(round);
        run_stream();
        run_datagrams();
        run_abstract();
        run_accept();
    }
    run_longest_path(argv[1]);
    return 0;
}
