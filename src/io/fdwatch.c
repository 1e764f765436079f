/* fdwatch.c - libev's view of one file descriptor.
 *
 *     add_reader(fd) ---> al_fdwatch ---> ev_io ---> ready queue
 *     a transport    --->
 *
 * A libev callback only pushes to the ready queue.  So no exception has to
 * cross libev, and no user code can free a watcher libev still looks at.
 *
 * Programs close descriptors while they are watched.  The kernel forgets them
 * then, but libev aborts the process when it has to tell the kernel about one
 * (an assertion in its epoll, poll and other backends).  So before a poll the
 * watches that changed are looked at: what is closed is not watched any more.
 *
 * Invariants
 *   (1) table->watches[fd] is the one watch of fd, and watch->loop == loop.
 *   (2) ev_is_active(&io) => exactly the events of the entries set are
 *       watched. It is inactive with an entry set only after the descriptor
 *       turned out to be closed.
 *   (3) owner == NULL <=> the table made the watch (an OwnWatch).
 *   (4) A watch of the table without entries is not active; it stays in the
 *       table, to be used again, until the loop is closed or a transport
 *       takes the descriptor over.
 */
#include "io/fdwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#if defined(__linux__)
#    include <sys/epoll.h>
#    include <unistd.h>
#endif

#include "base/errors.h"
#include "io/wakeup.h"
#include "sched/ready.h"

typedef struct al_fdtable {
    al_fdwatch **watches; /* by descriptor; owned table. A watch is owned by
                           * the table or embedded in its user, by (3) */
    int size;
    al_list changed;    /* heads the watches' `changed` */
    ev_prepare prepare; /* active while there are changed watches */
    ev_fork fork;       /* called when the kernel's state is made anew */
} al_fdtable;

/* What the table makes itself. */
typedef struct {
    al_fdwatch base;
    PyObject *fileobj; /* owned: the first while an entry is set, or NULL */
    PyObject *socket;  /* owned weak reference to the last one, or NULL */
} OwnWatch;

#define OwnWatch_CAST(watch) ((OwnWatch *)(watch))

static inline al_fdwatch *
fdwatch_from_changed(al_list *node)
{
    return (al_fdwatch *)((char *)node - offsetof(al_fdwatch, changed));
}

/* --- libev -------------------------------------------------------------- */

static bool
fdwatch_is_open(al_fdwatch *watch)
{
    return fcntl(watch->io.fd, F_GETFD) >= 0;
}

static void
fdwatch_push(al_loop_head *loop, al_entry *entry)
{
    if (entry->object != NULL &&
        al_ready_push(loop, entry->run, entry->object) < 0)
    {
        PyErr_Clear(); /* no memory: it is still ready at the next poll */
    }
}

static void
fdwatch_on_ready(struct ev_loop *Py_UNUSED(ev), ev_io *io, int revents)
{
    al_fdwatch *watch = (al_fdwatch *)io;
    al_loop_head *loop = watch->loop;

    if (AL_UNLIKELY(revents & EV_ERROR) && watch->owner == NULL &&
        !fdwatch_is_open(watch))
    {
        return; /* libev has stopped it; silent from now on, as in asyncio */
    }
    al_loop_note_event(loop);
    if (revents & EV_WRITE) { /* will be the second */
        fdwatch_push(loop, &watch->writer);
    }
    if (revents & EV_READ) {
        fdwatch_push(loop, &watch->reader);
    }
}

static inline al_entry *
fdwatch_entry(al_ready *ready, size_t i)
{
    return &ready->ring[(ready->head + i) & (ready->capacity - 1)];
}

/* libev calls back for what the kernel found in reverse order: queue it in
 * the kernel's, as asyncio does. */
static void
fdwatch_on_pending(struct ev_loop *ev)
{
    al_ready *ready = &al_loop_head_CAST(ev_userdata(ev))->ready;
    size_t first = ready->count;

    ev_invoke_pending(ev);
    for (size_t last = ready->count; first + 1 < last; first++) {
        al_entry *a = fdwatch_entry(ready, first);
        al_entry *b = fdwatch_entry(ready, --last);
        al_entry entry = *a;

        *a = *b;
        *b = entry;
    }
}

/* The descriptor was closed by somebody. */
static void
fdwatch_lose(al_fdwatch *watch)
{
    al_loop_head *loop = watch->loop;

    ev_io_stop(loop->ev, &watch->io);
    if (watch->owner == NULL) {
        return; /* silent from now on, as in asyncio */
    }
    /* A transport learns by the error of its next system call. */
    fdwatch_push(loop, &watch->reader);
    fdwatch_push(loop, &watch->writer);
    ev_async_send(loop->ev, &loop->wakeup); /* this poll must not block */
}

/* Lose whatever is closed. */
static void
fdtable_check(al_fdtable *table)
{
    for (int fd = 0; fd < table->size; fd++) {
        al_fdwatch *watch = table->watches[fd];
        if (watch != NULL && ev_is_active(&watch->io) &&
            !fdwatch_is_open(watch))
        {
            fdwatch_lose(watch);
        }
    }
}

/* Before libev tells the kernel what has changed. */
static void
fdwatch_on_prepare(struct ev_loop *ev, ev_prepare *prepare,
                   int Py_UNUSED(revents))
{
    al_fdtable *table = (al_fdtable *)prepare->data;
    al_list *node;

    while ((node = table->changed.next) != &table->changed) {
        al_fdwatch *watch = fdwatch_from_changed(node);
        uint8_t events = watch->io.events & (EV_READ | EV_WRITE);

        al_list_remove(node);
        if ((watch->is_fresh || events != watch->polled) &&
            ev_is_active(&watch->io) && !fdwatch_is_open(watch))
        {
            fdwatch_lose(watch);
        }
        watch->polled = ev_is_active(&watch->io) ? events : 0;
        watch->is_fresh = false;
    }
    if (ev_backend(ev) == EVBACKEND_POLL) {
        fdtable_check(table); /* poll() is told of all, each time */
    }
    else {
        ev_prepare_stop(ev, prepare);
    }
}

/* In a child process, or when libev lost track: all is told anew. */
static void
fdwatch_on_fork(struct ev_loop *Py_UNUSED(ev), ev_fork *watcher,
                int Py_UNUSED(revents))
{
    fdtable_check((al_fdtable *)watcher->data);
}

static void
fdwatch_note_change(al_fdwatch *watch)
{
    al_fdtable *table = watch->loop->fdtable;

    if (al_list_is_linked(&watch->changed)) {
        return;
    }
    al_list_append(&table->changed, &watch->changed);
    ev_prepare_start(watch->loop->ev, &table->prepare);
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
    al_loop_note_event(loop);
    fdwatch_note_change(watch);
    al_wakeup_if_blocked(loop); /* called by another thread: it polls anew */
}

/* --- the table ---------------------------------------------------------- */

/* Make room for `fd`: 0, or -1 with MemoryError set. */
static int
fdtable_reserve(al_fdtable *table, int fd)
{
    if (fd < table->size) {
        return 0;
    }
    /* A descriptor is the lowest free number: doubling suits it. */
    int size = table->size > 0 ? table->size : 16;
    while (size <= fd) {
        size *= 2;
    }
    al_fdwatch **watches = table->watches;
    PyMem_Resize(watches, al_fdwatch *, size);
    if (watches == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = table->size; i < size; i++) {
        watches[i] = NULL;
    }
    table->watches = watches;
    table->size = size;
    return 0;
}

/* The loop's table, made at the first use, with room for `fd`.
 * -> borrowed, or NULL with an exception set: RuntimeError, MemoryError. */
static al_fdtable *
fdtable_get(al_loop_head *loop, int fd)
{
    al_fdtable *table = loop->fdtable;

    /* Whatever the callers asked before: since then code may have run (that of
     * fileno(), of what was collected) and have closed the loop. */
    if (al_loop_check_closed(loop) < 0 || al_loop_check_init(loop) < 0) {
        return NULL;
    }
    if (table == NULL) {
        table = PyMem_New(al_fdtable, 1);
        if (table == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        table->watches = NULL;
        table->size = 0;
        al_list_init(&table->changed);
        ev_prepare_init(&table->prepare, fdwatch_on_prepare);
        ev_fork_init(&table->fork, fdwatch_on_fork);
        table->prepare.data = table->fork.data = table;
        ev_fork_start(loop->ev, &table->fork);
        ev_set_invoke_pending_cb(loop->ev, fdwatch_on_pending);
        loop->fdtable = table;
    }
    return fdtable_reserve(table, fd) < 0 ? NULL : table;
}

static void
fdtable_enter(al_fdtable *table, al_fdwatch *watch, al_loop_head *loop, int fd,
              PyObject *owner)
{
    *watch = (al_fdwatch){.loop = loop, .owner = owner, .is_fresh = true};
    ev_io_init(&watch->io, fdwatch_on_ready, fd, EV_NONE);
    table->watches[fd] = watch;
}

al_fdwatch *
al_fdwatch_find(al_loop_head *loop, int fd)
{
    al_fdtable *table = loop->fdtable;

    return table != NULL && fd >= 0 && fd < table->size ? table->watches[fd]
                                                        : NULL;
}

al_fdwatch *
al_fdwatch_find_object(al_loop_head *loop, PyObject *fileobj)
{
    al_fdtable *table = loop->fdtable;

    for (int fd = 0; table != NULL && fd < table->size; fd++) {
        al_fdwatch *watch = table->watches[fd];
        if (watch != NULL && watch->owner == NULL &&
            OwnWatch_CAST(watch)->fileobj == fileobj)
        {
            return watch;
        }
    }
    return NULL;
}

/* Whether `fd` is free of transports: 0, or -1 with an exception set. */
static int
fdwatch_check_unowned(al_loop_head *loop, int fd, PyObject *fileobj)
{
    al_fdwatch *watch = al_fdwatch_find(loop, fd);

    if (AL_LIKELY(watch == NULL || watch->owner == NULL)) {
        return 0;
    }
    /* As in asyncio a transport on its way out has no claim any more. */
    PyObject *owner = Py_NewRef(watch->owner);
    PyObject *result =
        PyObject_CallMethodNoArgs(owner, loop->state->names.is_closing);
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

int
al_fdwatch_check_free(al_loop_head *loop, int fd, PyObject *fileobj)
{
    al_fdwatch *watch = al_fdwatch_find(loop, fd);

    return watch != NULL && watch->is_lent
               ? 0
               : fdwatch_check_unowned(loop, fd, fileobj);
}

/* Whether a descriptor that is neither a socket nor a pipe can be polled: 0,
 * or the errno. libev takes what epoll refuses for always ready and would
 * spin: ask the kernel before libev does. */
#if defined(__linux__)

static int
fdwatch_probe(int fd)
{
    struct epoll_event event = {0};
    int result = 0;

    int probe = epoll_create1(EPOLL_CLOEXEC);
    if (probe < 0) {
        return errno;
    }
    if (epoll_ctl(probe, EPOLL_CTL_ADD, fd, &event) < 0) {
        result = errno;
    }
    close(probe);
    return result;
}

#else

static int
fdwatch_probe(int Py_UNUSED(fd))
{
    return 0;
}

#endif

/* 0, or -1 with OSError set. */
static int
fdwatch_check_pollable(int fd)
{
    struct stat status;
    int errnum = 0;

    if (fstat(fd, &status) < 0) {
        errnum = errno;
    }
    else if (!S_ISSOCK(status.st_mode) && !S_ISFIFO(status.st_mode)) {
        errnum = fdwatch_probe(fd);
    }
    if (errnum != 0) {
        al_error_set_errno(errnum);
        return -1;
    }
    return 0;
}

/* The watch of `fd`, made if there is none. -> borrowed, or NULL with an
 * exception set, that of fdtable_get(). */
static al_fdwatch *
fdtable_get_watch(al_loop_head *loop, int fd)
{
    al_fdtable *table = fdtable_get(loop, fd);
    if (table == NULL) {
        return NULL;
    }
    if (table->watches[fd] != NULL) {
        return table->watches[fd];
    }
    OwnWatch *made = PyMem_New(OwnWatch, 1);
    if (made == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    made->fileobj = made->socket = NULL;
    fdtable_enter(table, &made->base, loop, fd, NULL);
    return &made->base;
}

/* Have libev tell the kernel about the descriptor again, which has forgotten
 * it if it was closed meanwhile. Setting an entry starts it again. */
static void
fdwatch_refresh(al_fdwatch *watch)
{
    ev_io_stop(watch->loop->ev, &watch->io);
    ev_io_set(&watch->io, watch->io.fd, EV_NONE);
    watch->is_fresh = true;
}

al_fdwatch *
al_fdwatch_get(al_loop_head *loop, int fd, PyObject *fileobj)
{
    /* First of all: no table is made for descriptor 2,000,000,000. */
    if (fdwatch_check_pollable(fd) < 0) {
        return NULL;
    }
    al_fdwatch *watch = fdtable_get_watch(loop, fd);
    if (watch == NULL) {
        return NULL;
    }
    if (watch->owner == NULL && OwnWatch_CAST(watch)->fileobj == NULL) {
        /* As a selector does, keep the first, and with it what it closes. */
        OwnWatch_CAST(watch)->fileobj = Py_NewRef(fileobj);
    }
    fdwatch_refresh(watch);
    return watch;
}

al_fdwatch *
al_fdwatch_get_socket(al_loop_head *loop, int fd, PyObject *socket)
{
    PyObject *reference = PyWeakref_NewRef(socket, NULL);
    if (reference == NULL) {
        return NULL;
    }
    al_fdwatch *watch = fdtable_get_watch(loop, fd);
    if (watch == NULL) {
        Py_DECREF(reference);
        return NULL;
    }
    /* An object has one weak reference without a callback, which we keep: so
     * this compares the sockets, also with one that is gone. A socket that is
     * the same has the same descriptor: it cannot be opened twice. */
    if (watch->owner == NULL && OwnWatch_CAST(watch)->socket == reference) {
        Py_DECREF(reference);
        return watch;
    }
    if (watch->owner == NULL) {
        /* Nothing hears of the end of a reference without a callback. */
        Py_XSETREF(OwnWatch_CAST(watch)->socket, reference);
    }
    else {
        Py_DECREF(reference);
    }
    fdwatch_refresh(watch);
    return watch;
}

/* Close a watch whose descriptor is somebody else's from now on. A transport
 * that was closed and has something left to send sees it in its writer's next
 * run. 0, or -1 with MemoryError set. */
static int
fdwatch_take_over(al_fdwatch *watch)
{
    al_entry writer = watch->writer;

    if (watch->owner != NULL && writer.object != NULL &&
        al_ready_push(watch->loop, writer.run, writer.object) < 0)
    {
        return -1;
    }
    al_fdwatch_close(watch);
    return 0;
}

int
al_fdwatch_open(al_fdwatch *watch, al_loop_head *loop, int fd, PyObject *owner)
{
    al_fdwatch *old;

    if (fdwatch_check_unowned(loop, fd, owner) < 0) {
        return -1;
    }
    while ((old = al_fdwatch_find(loop, fd)) != NULL) {
        if (fdwatch_take_over(old) < 0) { /* may run anything */
            return -1;
        }
    }
    al_fdtable *table = fdtable_get(loop, fd);
    if (table == NULL) {
        return -1;
    }
    fdtable_enter(table, watch, loop, fd, owner);
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
    PyObject *socket = NULL;

    al_loop_note_event(loop);
    ev_io_stop(loop->ev, &watch->io);
    al_list_remove(&watch->changed);
    loop->fdtable->watches[watch->io.fd] = NULL;
    watch->loop = NULL;
    watch->reader.object = watch->writer.object = NULL;
    if (watch->owner == NULL) {
        fileobj = OwnWatch_CAST(watch)->fileobj;
        socket = OwnWatch_CAST(watch)->socket;
        PyMem_Free(watch);
    }
    Py_XDECREF(reader); /* last: may run anything */
    Py_XDECREF(writer);
    Py_XDECREF(fileobj);
    Py_XDECREF(socket);
}

void
al_fdwatch_close_all(al_loop_head *loop)
{
    al_fdtable *table = loop->fdtable;

    if (table == NULL) {
        return;
    }
    for (int fd = 0; fd < table->size; fd++) {
        if (table->watches[fd] != NULL) {
            al_fdwatch_close(table->watches[fd]);
        }
    }
    ev_prepare_stop(loop->ev, &table->prepare);
    ev_fork_stop(loop->ev, &table->fork);
    loop->fdtable = NULL;
    PyMem_Free(table->watches);
    PyMem_Free(table);
}

int
al_fdwatch_traverse_all(al_loop_head *loop, visitproc visit, void *arg)
{
    al_fdtable *table = loop->fdtable;

    for (int fd = 0; table != NULL && fd < table->size; fd++) {
        al_fdwatch *watch = table->watches[fd];
        if (watch != NULL) {
            Py_VISIT(watch->reader.object);
            Py_VISIT(watch->writer.object);
            if (watch->owner == NULL) {
                Py_VISIT(OwnWatch_CAST(watch)->fileobj);
                Py_VISIT(OwnWatch_CAST(watch)->socket);
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
    Py_XDECREF(old); /* last: may run anything, and free the watch */
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
    if (watch->owner == NULL && watch->reader.object == NULL &&
        watch->writer.object == NULL)
    {
        fileobj = OwnWatch_CAST(watch)->fileobj;
        OwnWatch_CAST(watch)->fileobj = NULL;
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
    al_fdtable *table = loop->fdtable;

    /* Clearing may run anything: look everything up again each time. */
    for (int fd = 0; table != NULL && fd < table->size; fd++) {
        al_fdwatch *watch = table->watches[fd];
        if (watch != NULL && watch->reader.object == object) {
            al_fdwatch_clear_reader(watch);
        }
        watch = al_fdwatch_find(loop, fd);
        if (watch != NULL && watch->writer.object == object) {
            al_fdwatch_clear_writer(watch);
        }
        table = loop->fdtable;
    }
}
