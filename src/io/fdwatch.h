/* fdwatch.h - who waits for which file descriptor. */
#ifndef AL_IO_FDWATCH_H
#define AL_IO_FDWATCH_H

#include "base/list.h"
#include "sched/loop_head.h"

/* What a loop knows of one descriptor. Its user (a transport, a listener)
 * embeds it, or the table makes it for add_reader() and the sock_* methods. */
typedef struct al_fdwatch {
    al_loop_head *loop; /* borrowed; NULL <=> not in the loop's table */
    al_entry reader;    /* queued when readable; object NULL <=> none */
    al_entry writer;    /* queued when writable; object NULL <=> none */
    PyObject *owner;    /* borrowed: the transport that embeds it, else NULL */
    int fd;
    uint8_t events; /* what is watched: EV_READ | EV_WRITE, 0: nothing */
    bool must_tell; /* tell the kernel at the next change, even if `events`
                          * stays the same: the number may name a new file */
    bool is_lent;   /* add_writer() and its like may use it, though a
                          * transport owns it (net/sock_sendfile.c) */
    uint8_t polled; /* watch_libev.c: the events of the last poll */
    bool is_parked; /* watch_epoll.c: registered without events */
    uint32_t generation; /* watch_epoll.c: the number of its registration */
    ev_io io;            /* watch_libev.c: active <=> events != 0 */
    al_list changed;     /* watch_libev.c: linked <=> changed since the last
                          * poll */
    uint64_t number;     /* al_ready_number() of the last entry that it queued
                          * in a turn that polls within */
} al_fdwatch;

/* Whether add_reader() and its like may use `fd`: 0, or -1 with RuntimeError
 * "File descriptor N is used by transport T" set. `fileobj` is what the user
 * passed and the message shows. */
AL_NODISCARD int
al_fdwatch_check_free(al_loop_head *loop, int fd, PyObject *fileobj);

/* Enter the embedded watch of a transport into the loop's table. If a closing
 * transport has the place, its watch is closed and its writer queued once
 * more.
 * 0, or -1 with an exception set (RuntimeError: an open transport has the
 * fd). */
AL_NODISCARD int
al_fdwatch_open(al_fdwatch *watch, al_loop_head *loop, int fd,
                PyObject *owner);

/* Drop both entries, stop watching, leave the table. Call it before the
 * descriptor is closed. It does nothing if the watch is not in a table. */
void
al_fdwatch_close(al_fdwatch *watch);

/* The watch of `fd` for add_reader() and its like, made if there is none yet.
 * Set an entry right after it: that tells the kernel, even of a descriptor
 * that was closed and opened anew. `fileobj` is what the user passed for `fd`.
 * -> borrowed, valid until other code runs, or NULL with an exception set:
 * OSError if no descriptor has the number, RuntimeError if the loop is
 * closed. */
AL_NODISCARD al_fdwatch *
al_fdwatch_get(al_loop_head *loop, int fd, PyObject *fileobj);

/* The same for a socket.socket that is open. If it is the last socket that had
 * this `fd`, the kernel already knows it and is not told again. */
AL_NODISCARD al_fdwatch *
al_fdwatch_get_socket(al_loop_head *loop, int fd, PyObject *socket);

/* The watch of `fd`, or NULL (no exception) if there is none. */
al_fdwatch *
al_fdwatch_find(al_loop_head *loop, int fd);

/* The watch that al_fdwatch_get() made for `fileobj`, or NULL (no exception).
 * This finds the watch of a file object that was closed and so does not know
 * its descriptor any more. */
al_fdwatch *
al_fdwatch_find_object(al_loop_head *loop, PyObject *fileobj);

/* Queue {run, object} whenever the descriptor is readable (writable), until
 * the entry is replaced or cleared. Takes a reference to `object`. When the
 * descriptor of a transport turns out to be closed, its entries are queued
 * once.
 * 0, or -1 with OSError set and all entries as before: the descriptor cannot
 * be polled (EPERM for regular files), it is not open (EBADF), or the kernel
 * has no room (ENOSPC, ENOMEM) or finds a circle of epoll sets (ELOOP). */
AL_NODISCARD int
al_fdwatch_set_reader(al_fdwatch *watch, al_run_fn run, PyObject *object);
AL_NODISCARD int
al_fdwatch_set_writer(al_fdwatch *watch, al_run_fn run, PyObject *object);

/* Clear the entry and tell the kernel. May run any code. */
void
al_fdwatch_clear_reader(al_fdwatch *watch);
void
al_fdwatch_clear_writer(al_fdwatch *watch);

/* Drop both entries of an embedded watch, whose owner will not watch the
 * descriptor again but closes it soon: end the registration. May run any code.
 * It does nothing if the watch is not in a table. */
void
al_fdwatch_end(al_fdwatch *watch);

/* Clear the entry of a watch of the table, and let the next poll tell the
 * kernel. That saves two system calls if the same task waits for the
 * descriptor again before that poll. */
void
al_fdwatch_clear_reader_lazily(al_fdwatch *watch);
void
al_fdwatch_clear_writer_lazily(al_fdwatch *watch);

/* Tell the kernel of all entries that were cleared lazily. Call it before each
 * poll. */
void
al_fdwatch_flush(al_loop_head *loop);

/* Clear the entries of `object` on all descriptors: the program has cancelled
 * the handle that _add_reader() returned, instead of calling
 * remove_reader(). */
void
al_fdwatch_clear_object(al_loop_head *loop, PyObject *object);

/* Called by the two kinds of watch_set.h: the descriptor is ready (EV_READ |
 * EV_WRITE); or the program has closed it, so it is not watched any more. They
 * run no user code. */
void
al_fdwatch_ready(al_fdwatch *watch, int events);
void
al_fdwatch_note_closed(al_fdwatch *watch);

/* The watch with the lowest descriptor >= `fd`, or NULL: to walk over all. */
al_fdwatch *
al_fdwatch_next(al_loop_head *loop, int fd);

/* loop.close(): close every watch. */
void
al_fdwatch_close_all(al_loop_head *loop);

/* tp_traverse: visit the entries of all watches in the table. */
int
al_fdwatch_traverse_all(al_loop_head *loop, visitproc visit, void *arg);

#endif
