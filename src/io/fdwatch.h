/* fdwatch.h - who waits for which file descriptor. */
#ifndef AL_IO_FDWATCH_H
#define AL_IO_FDWATCH_H

#include "base/list.h"
#include "sched/loop_head.h"

/* One descriptor of one loop. Either embedded in its user (a transport, a
 * listener), or made by the table for add_reader() and the sock_* methods. */
typedef struct al_fdwatch {
    al_loop_head *loop; /* borrowed; NULL <=> not in the loop's table */
    al_entry reader;    /* queued when readable; object NULL <=> none */
    al_entry writer;    /* queued when writable; object NULL <=> none */
    PyObject *owner;    /* borrowed transport it is embedded in, else NULL */
    int fd;
    uint8_t events;      /* what is watched: EV_READ | EV_WRITE, 0: nothing */
    bool is_fresh;       /* the kernel is to be told, whatever it knows */
    bool is_lent;        /* its owner lets add_writer() and its like use it */
    uint8_t polled;      /* watch_libev.c: the events of the last poll */
    bool is_parked;      /* watch_epoll.c: registered, for nothing */
    uint32_t generation; /* watch_epoll.c: which registration this is */
    ev_io io;            /* watch_libev.c: active <=> events != 0 */
    al_list changed;     /* linked <=> changed since the last poll */
    uint64_t number;     /* of its last entry in the ready queue that was noted
                          * in a long turn (al_ready_number()) */
} al_fdwatch;

/* Whether add_reader() and its like may use `fd`: 0, or -1 with RuntimeError
 * "File descriptor N is used by transport T" set. `fileobj` is what the user
 * passed and the message shows. */
AL_NODISCARD int
al_fdwatch_check_free(al_loop_head *loop, int fd, PyObject *fileobj);

/* Enter an embedded watch of a transport into the loop's table, in place of one
 * that is closing: that is out of it then, and its writer is queued once more.
 * 0, or -1 with an exception set (RuntimeError: the fd is a transport's). */
AL_NODISCARD int
al_fdwatch_open(al_fdwatch *watch, al_loop_head *loop, int fd,
                PyObject *owner);

/* Drop both entries, stop watching, leave the table. To be called before the
 * descriptor is closed; does nothing on a watch that is not in a table. */
void
al_fdwatch_close(al_fdwatch *watch);

/* The watch of `fd` for add_reader() and its like, made if there is none yet,
 * for setting an entry at once: that is how the kernel learns of a descriptor
 * closed and opened anew since. `fileobj` is what the user passed for `fd`.
 * -> borrowed, valid until other code runs, or NULL with an exception set:
 * OSError for a number that cannot be a descriptor's, RuntimeError if the loop
 * is closed. */
AL_NODISCARD al_fdwatch *
al_fdwatch_get(al_loop_head *loop, int fd, PyObject *fileobj);

/* The same for a socket.socket that is open: while it is the same as the last
 * one with this `fd` the kernel knows it. */
AL_NODISCARD al_fdwatch *
al_fdwatch_get_socket(al_loop_head *loop, int fd, PyObject *socket);

/* The watch of `fd`, or NULL (no exception) if there is none. */
al_fdwatch *
al_fdwatch_find(al_loop_head *loop, int fd);

/* The watch that al_fdwatch_get() first gave for `fileobj`, or NULL (no
 * exception): for a file object closed since, which no longer knows its
 * descriptor. */
al_fdwatch *
al_fdwatch_find_object(al_loop_head *loop, PyObject *fileobj);

/* Queue {run, object} whenever the descriptor is readable (writable), until
 * replaced or cleared; takes a reference to `object`. A transport's entries
 * are queued once more when its descriptor turns out to be closed.
 * 0, or -1 with OSError set, and all entries are as before: the descriptor cannot
 * be polled (EPERM for regular files), is not open (EBADF), or the kernel has
 * other reasons (ENOSPC, ENOMEM, ELOOP). */
AL_NODISCARD int
al_fdwatch_set_reader(al_fdwatch *watch, al_run_fn run, PyObject *object);
AL_NODISCARD int
al_fdwatch_set_writer(al_fdwatch *watch, al_run_fn run, PyObject *object);

/* Stop that again. May run any code. */
void
al_fdwatch_clear_reader(al_fdwatch *watch);
void
al_fdwatch_clear_writer(al_fdwatch *watch);

/* The same, on a watch of the table, for those who may be back before the next
 * poll: the kernel is told then. */
void
al_fdwatch_leave_reader(al_fdwatch *watch);
void
al_fdwatch_leave_writer(al_fdwatch *watch);

/* To be called before a poll: tell the kernel who has left. */
void
al_fdwatch_settle(al_loop_head *loop);

/* Clear the entries of `object`, whichever descriptors they are of: for a
 * handle that was cancelled behind our back. */
void
al_fdwatch_clear_object(al_loop_head *loop, PyObject *object);

/* For watch_set.h's two: the descriptor is ready (EV_READ | EV_WRITE); it was
 * closed by somebody, and is not watched any more. No user code runs in them. */
void
al_fdwatch_ready(al_fdwatch *watch, int events);
void
al_fdwatch_lost(al_fdwatch *watch);

/* The first watch of a descriptor from `fd` on, or NULL: to walk over all. */
al_fdwatch *
al_fdwatch_next(al_loop_head *loop, int fd);

/* loop.close(): close every watch. */
void
al_fdwatch_close_all(al_loop_head *loop);

/* Visit the entries of the table's own watches and of all embedded ones. */
int
al_fdwatch_traverse_all(al_loop_head *loop, visitproc visit, void *arg);

#endif
