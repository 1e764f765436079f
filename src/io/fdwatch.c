/* fdwatch.c - libev's view of one file descriptor.
 *
 *     add_reader(fd) ---> al_fdwatch ---> ev_io ---> ready queue
 *     a transport    --->
 *
 * A libev callback only pushes to the ready queue.  So no exception has to
 * cross libev, and no user code can free a watcher libev still looks at.
 *
 * Invariants
 *   (1) loop->fdwatches[fd] is the one watch of fd, and watch->loop == loop.
 *   (2) ev_is_active(&io) => exactly the events of the entries set are
 *       watched. It is inactive with an entry set only after the descriptor
 *       turned out to be closed.
 *   (3) owner == NULL <=> the table made the watch (a TableWatch).
 *   (4) A watch of the table without entries is not active; it stays in the
 *       table, to be used again, until the loop is closed or a transport
 *       takes the descriptor over.
 */
#include "io/fdwatch.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/errors.h"
#include "io/wakeup.h"
#include "sched/ready.h"

/* What the table makes itself. */
typedef struct {
    al_fdwatch base;
    PyObject *fileobj; /* owned while an entry is set, else NULL */
} TableWatch;

#define TableWatch_CAST(watch) ((TableWatch *)(watch))

/* --- libev -------------------------------------------------------------- */

static void
fdwatch_push(al_loop_head *loop, al_entry *entry)
{
    if (entry->object != NULL &&
        al_ready_push(loop, entry->run, entry->object) < 0)
    {
        PyErr_Clear(); /* no memory: still ready at the next poll, or lost */
    }
}

static void
fdwatch_on_ready(struct ev_loop *Py_UNUSED(ev), ev_io *io, int revents)
{
    al_fdwatch *watch = (al_fdwatch *)io;
    al_loop_head *loop = watch->loop;

    if (AL_UNLIKELY(revents & EV_ERROR) && watch->owner == NULL) {
        /* libev has stopped the watcher, because the descriptor is closed:
         * for asyncio it is silent from then on. A transport goes on below
         * and learns by the error of its next system call. */
        return;
    }
    loop->events++;
    if (revents & EV_READ) {
        fdwatch_push(loop, &watch->reader);
    }
    if (revents & EV_WRITE) {
        fdwatch_push(loop, &watch->writer);
    }
}

/* Make libev watch what (2) says. */
static void
fdwatch_sync(al_fdwatch *watch)
{
    al_loop_head *loop = watch->loop;
    int wanted = (watch->reader.object != NULL ? EV_READ : 0) |
                 (watch->writer.object != NULL ? EV_WRITE : 0);

    if (ev_is_active(&watch->io)) {
        if ((watch->io.events & (EV_READ | EV_WRITE)) == wanted) {
            return;
        }
        ev_io_stop(loop->ev, &watch->io);
    }
    ev_io_modify(&watch->io, wanted);
    if (wanted) {
        ev_io_start(loop->ev, &watch->io);
    }
    al_wakeup_if_blocked(loop); /* called by another thread: it polls anew */
}

static void
fdwatch_init(al_fdwatch *watch, al_loop_head *loop, int fd, PyObject *owner)
{
    ev_io_init(&watch->io, fdwatch_on_ready, fd, EV_NONE);
    watch->loop = loop;
    watch->reader.object = watch->writer.object = NULL;
    watch->owner = owner;
    loop->fdwatches[fd] = watch;
}

/* --- the table ---------------------------------------------------------- */

/* Make room for `fd`: 0, or -1 with MemoryError set. */
static int
fdwatch_reserve(al_loop_head *loop, int fd)
{
    if (fd < loop->fdwatches_size) {
        return 0;
    }
    /* A descriptor is the lowest free number: doubling suits it. */
    int size = loop->fdwatches_size > 0 ? loop->fdwatches_size : 16;
    while (size <= fd) {
        size *= 2;
    }
    al_fdwatch **table = loop->fdwatches;
    PyMem_Resize(table, al_fdwatch *, size);
    if (table == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = loop->fdwatches_size; i < size; i++) {
        table[i] = NULL;
    }
    loop->fdwatches = table;
    loop->fdwatches_size = size;
    return 0;
}

al_fdwatch *
al_fdwatch_find(al_loop_head *loop, int fd)
{
    return fd >= 0 && fd < loop->fdwatches_size ? loop->fdwatches[fd] : NULL;
}

al_fdwatch *
al_fdwatch_find_object(al_loop_head *loop, PyObject *fileobj)
{
    for (int fd = 0; fd < loop->fdwatches_size; fd++) {
        al_fdwatch *watch = loop->fdwatches[fd];
        if (watch != NULL && watch->owner == NULL &&
            TableWatch_CAST(watch)->fileobj == fileobj)
        {
            return watch;
        }
    }
    return NULL;
}

int
al_fdwatch_check_free(al_loop_head *loop, int fd, PyObject *fileobj)
{
    al_fdwatch *watch = al_fdwatch_find(loop, fd);

    if (AL_LIKELY(watch == NULL || watch->owner == NULL)) {
        return 0;
    }
    /* As in asyncio a transport on its way out has no claim any more. */
    PyObject *owner = Py_NewRef(watch->owner);
    PyObject *result = PyObject_CallMethod(owner, "is_closing", NULL);
    int is_closing = result == NULL ? -1 : PyObject_IsTrue(result);
    Py_XDECREF(result);
    if (is_closing == 0) {
        PyErr_Format(PyExc_RuntimeError,
                     "File descriptor %R is used by transport %R", fileobj,
                     owner);
    }
    Py_DECREF(owner);
    return is_closing > 0 ? 0 : -1;
}

/* Whether a descriptor can be polled: 0, or -1 with OSError set. libev takes
 * files without a poll function for always ready and would spin. */
static int
fdwatch_check_pollable(int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0) {
        al_error_set_errno(errno);
        return -1;
    }
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
        al_error_set_errno(EPERM);
        return -1;
    }
    return 0;
}

al_fdwatch *
al_fdwatch_get(al_loop_head *loop, int fd, PyObject *fileobj)
{
    /* First of all: no table is made for descriptor 2,000,000,000. */
    if (fdwatch_check_pollable(fd) < 0 || fdwatch_reserve(loop, fd) < 0) {
        return NULL;
    }
    al_fdwatch *watch = loop->fdwatches[fd];
    if (watch == NULL) {
        TableWatch *made = PyMem_New(TableWatch, 1);
        if (made == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        made->fileobj = NULL;
        watch = &made->base;
        fdwatch_init(watch, loop, fd, NULL);
    }
    else {
        /* Setting the descriptor anew has libev tell the kernel again, which
         * has forgotten it if it was closed meanwhile. */
        ev_io_stop(loop->ev, &watch->io);
        ev_io_set(&watch->io, fd, EV_NONE);
    }
    if (watch->owner == NULL) {
        Py_XSETREF(TableWatch_CAST(watch)->fileobj, Py_NewRef(fileobj));
    }
    return watch;
}

int
al_fdwatch_open(al_fdwatch *watch, al_loop_head *loop, int fd, PyObject *owner)
{
    if (al_fdwatch_check_free(loop, fd, owner) < 0 ||
        fdwatch_reserve(loop, fd) < 0)
    {
        return -1;
    }
    al_fdwatch *previous = loop->fdwatches[fd];
    if (previous != NULL) {
        al_fdwatch_close(previous);
    }
    fdwatch_init(watch, loop, fd, owner);
    return 0;
}

void
al_fdwatch_close(al_fdwatch *watch)
{
    al_loop_head *loop = watch->loop;

    if (loop == NULL) {
        return;
    }
    PyObject *reader = watch->reader.object;
    PyObject *writer = watch->writer.object;
    PyObject *fileobj = NULL;

    ev_io_stop(loop->ev, &watch->io);
    loop->fdwatches[watch->io.fd] = NULL;
    watch->loop = NULL;
    watch->reader.object = watch->writer.object = NULL;
    if (watch->owner == NULL) {
        fileobj = TableWatch_CAST(watch)->fileobj;
        PyMem_Free(watch);
    }
    Py_XDECREF(reader); /* last: may run anything */
    Py_XDECREF(writer);
    Py_XDECREF(fileobj);
}

void
al_fdwatch_close_all(al_loop_head *loop)
{
    for (int fd = 0; fd < loop->fdwatches_size; fd++) {
        if (loop->fdwatches[fd] != NULL) {
            al_fdwatch_close(loop->fdwatches[fd]);
        }
    }
    PyMem_Free(loop->fdwatches);
    loop->fdwatches = NULL;
    loop->fdwatches_size = 0;
}

int
al_fdwatch_traverse_all(al_loop_head *loop, visitproc visit, void *arg)
{
    for (int fd = 0; fd < loop->fdwatches_size; fd++) {
        al_fdwatch *watch = loop->fdwatches[fd];
        if (watch != NULL) {
            Py_VISIT(watch->reader.object);
            Py_VISIT(watch->writer.object);
            if (watch->owner == NULL) {
                Py_VISIT(TableWatch_CAST(watch)->fileobj);
            }
        }
    }
    return 0;
}

/* --- entries ------------------------------------------------------------ */

static void
fdwatch_set(al_fdwatch *watch, al_entry *entry, al_run_fn run,
            PyObject *object)
{
    PyObject *old = entry->object;

    entry->run = run;
    entry->object = Py_NewRef(object);
    fdwatch_sync(watch);
    Py_XDECREF(old);
}

static void
fdwatch_clear(al_fdwatch *watch, al_entry *entry)
{
    PyObject *old = entry->object;
    PyObject *fileobj = NULL;

    if (old == NULL) {
        return;
    }
    entry->object = NULL;
    fdwatch_sync(watch);
    if (watch->owner == NULL && !ev_is_active(&watch->io)) {
        fileobj = TableWatch_CAST(watch)->fileobj;
        TableWatch_CAST(watch)->fileobj = NULL;
    }
    Py_DECREF(old); /* last: may run anything, and free the watch */
    Py_XDECREF(fileobj);
}

int
al_fdwatch_set_reader(al_fdwatch *watch, al_run_fn run, PyObject *object)
{
    fdwatch_set(watch, &watch->reader, run, object);
    return 0;
}

int
al_fdwatch_set_writer(al_fdwatch *watch, al_run_fn run, PyObject *object)
{
    fdwatch_set(watch, &watch->writer, run, object);
    return 0;
}

void
al_fdwatch_clear_reader(al_fdwatch *watch)
{
    fdwatch_clear(watch, &watch->reader);
}

void
al_fdwatch_clear_writer(al_fdwatch *watch)
{
    fdwatch_clear(watch, &watch->writer);
}

void
al_fdwatch_clear_object(al_loop_head *loop, PyObject *object)
{
    /* Clearing may run anything: look the watch up again each time. */
    for (int fd = 0; fd < loop->fdwatches_size; fd++) {
        al_fdwatch *watch = loop->fdwatches[fd];
        if (watch != NULL && watch->reader.object == object) {
            al_fdwatch_clear_reader(watch);
        }
        watch = al_fdwatch_find(loop, fd);
        if (watch != NULL && watch->writer.object == object) {
            al_fdwatch_clear_writer(watch);
        }
    }
}
