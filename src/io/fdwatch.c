/* fdwatch.c - who waits for which file descriptor.
 *
 *     add_reader(fd) ---> al_fdwatch ---> watch_set.h ---> the kernel
 *     a transport    --->      |
 *                              `--- ready ---> ready queue
 *
 * A ready descriptor's entries are only pushed to the ready queue.  So user
 * code never runs inside a poll: no exception has to cross libev, and no
 * callback can free a watch that the poll still uses.
 *
 * A program may close a descriptor that is watched; the kernel then forgets
 * it.  We notice that at the next change of the watch.  Then the entries of a
 * transport are queued once more: its next system call fails, and the
 * transport ends with that error.  add_reader() callbacks hear nothing, as in
 * asyncio.
 *
 * Invariants
 *   (1) table->watches[fd] is the one watch of fd, and watch->loop == loop.
 *   (2) `events` is what the kernel was told to watch: the events of the
 *       entries that are set.  It is 0 once the descriptor is known to be
 *       closed.  It has more events while the watch is in the table's list
 *       `unflushed`, which the next poll empties, or if the kernel refused to
 *       watch less.
 *   (3) owner == NULL <=> the table made the watch (an OwnWatch).  Otherwise
 *       the watch is a part of its owner.
 *   (4) A watch of the table without entries watches nothing.  It stays in the
 *       table for the next user until the loop is closed, a transport takes
 *       over the descriptor, or the table is swept.
 */
#include "io/fdwatch.h"

#include <errno.h>
#include <fcntl.h>

#include "base/call.h"
#include "base/errors.h"
#include "base/grow.h"
#include "io/reactor.h"
#include "sched/ready.h"

typedef struct al_fdtable {
    al_fdwatch **watches; /* by descriptor; owned table. A watch is owned by
                           * the table or embedded in its user, by (3) */
    int size;
    int count; /* watches in the table */
    int idle;  /* those of them that the table made and that have no entries */
    int gone;  /* watches closed or become idle since the last sweep */
    al_list unflushed; /* heads the OwnWatches' `unflushed` */
} al_fdtable;

/* A watch that the table makes itself. */
typedef struct {
    al_fdwatch base;
    PyObject *fileobj; /* owned: the file object of the first entry, while an
                        * entry is set; else NULL */
    PyObject *socket;  /* owned weak reference to the last socket, or NULL */
    al_list unflushed; /* linked <=> the next poll tells the kernel that an
                        * entry was cleared */
} OwnWatch;

#define OwnWatch_CAST(watch) ((OwnWatch *)(watch))

/* --- the kernel --------------------------------------------------------- */

/* The events of the entries that are set. */
static inline int
fdwatch_wanted(const al_fdwatch *watch)
{
    return (watch->reader.object != NULL ? EV_READ : 0) |
           (watch->writer.object != NULL ? EV_WRITE : 0);
}

/* Tell the kernel to watch the events of the entries: 0, or an errno. */
static inline int
fdwatch_sync(al_fdwatch *watch)
{
    al_watch_set *set = watch->loop->reactor->set;
    int wanted = fdwatch_wanted(watch);

    return watch->events == wanted && !watch->must_tell
               ? 0
               : set->kind->change(set, watch, wanted);
}

static void
fdwatch_push(al_loop_head *loop, al_entry *entry)
{
    if (entry->object != NULL &&
        al_ready_push(loop, entry->run, entry->object) < 0)
    {
        PyErr_Clear(); /* no memory: the next poll finds it ready again */
    }
}

void
al_fdwatch_note_closed(al_fdwatch *watch)
{
    al_loop_head *loop = watch->loop;

    assert(watch->events == 0);
    if (watch->owner != NULL) {
        fdwatch_push(loop, &watch->reader);
        fdwatch_push(loop, &watch->writer);
    }
}

/* Watch less than before. An error of the kernel means that the program has
 * closed the descriptor, or the next event shows it again:
 * al_fdwatch_ready(). */
static void
fdwatch_relax(al_fdwatch *watch)
{
    if (fdwatch_sync(watch) != 0 && watch->events == 0) {
        al_fdwatch_note_closed(watch);
    }
}

void
al_fdwatch_ready(al_fdwatch *watch, int events)
{
    al_loop_head *loop = watch->loop;

    /* A poll within a turn finds descriptors again whose entries are still
     * queued. */
    if (AL_UNLIKELY(loop->looks_within) &&
        al_ready_is_waiting(loop, watch->number))
    {
        return;
    }
    al_loop_note_event(loop);
    if (events & EV_READ) {
        fdwatch_push(loop, &watch->reader);
    }
    if (events & EV_WRITE) {
        fdwatch_push(loop, &watch->writer);
    }
    if (AL_UNLIKELY(loop->looks_within)) {
        watch->number = al_ready_number(loop) - 1;
    }
    if (AL_UNLIKELY(watch->events & ~fdwatch_wanted(watch))) {
        /* The kernel watches more than the entries, by (2): tell it again, or
         * each poll would find the event. */
        fdwatch_relax(watch);
    }
}

/* --- the table ---------------------------------------------------------- */

/* Places of a new table; the fewest that a cut leaves. */
#define FDTABLE_FIRST 16
#define FDTABLE_LEAST 1024

/* A sweep comes after size / FDTABLE_PARTS watches are gone: so it looks at
 * this many places for each of them. */
#define FDTABLE_PARTS 64

/* 0, or -1 (no exception) with nothing changed. */
static int
fdtable_resize(al_fdtable *table, size_t size)
{
    al_fdwatch **watches = table->watches;

    if (size > INT_MAX) {
        return -1;
    }
    PyMem_Resize(watches, al_fdwatch *, size);
    if (watches == NULL) {
        return -1;
    }
    for (size_t i = (size_t)table->size; i < size; i++) {
        watches[i] = NULL;
    }
    table->watches = watches;
    table->size = (int)size;
    return 0;
}

/* Whether the table made the watch and it has no entries. */
static inline bool
fdwatch_is_idle(const al_fdwatch *watch)
{
    return watch->owner == NULL && fdwatch_wanted(watch) == 0;
}

#ifdef AL_DEBUG

/* Whether the watch is a part of its owner. */
static bool
fdwatch_is_embedded(const al_fdwatch *watch)
{
    const char *owner = (const char *)watch->owner;

    return (const char *)watch >= owner &&
           (const char *)(watch + 1) <=
               owner + Py_TYPE(watch->owner)->tp_basicsize;
}

static void
fdtable_check(const al_loop_head *loop)
{
    static size_t skipped;
    const al_fdtable *table = loop->fdtable;
    int count = 0, idle = 0;

    if (table == NULL || !al_check_is_time(&skipped, (size_t)table->size)) {
        return;
    }
    for (int fd = 0; fd < table->size; fd++) {
        const al_fdwatch *watch = table->watches[fd];
        if (watch == NULL) {
            continue;
        }
        int wanted = fdwatch_wanted(watch);
        AL_HOLDS(1, watch->loop == loop && watch->fd == fd);
        AL_HOLDS(3, watch->owner == NULL || fdwatch_is_embedded(watch));
        AL_HOLDS(2, watch->events == 0 || (watch->events & wanted) == wanted);
        AL_HOLDS(4, !fdwatch_is_idle(watch) || watch->events == 0 ||
                        al_list_is_linked(&OwnWatch_CAST(watch)->unflushed));
        count++;
        idle += fdwatch_is_idle(watch);
    }
    AL_HOLDS(1, table->count == count);
    AL_HOLDS(4, table->idle == idle);
}

#endif

/* Whether the watch may be freed: neither the kernel nor anybody else uses
 * it. */
static bool
fdwatch_is_unused(const al_fdwatch *watch)
{
    return fdwatch_is_idle(watch) && watch->events == 0 &&
           !al_list_is_linked(&OwnWatch_CAST(watch)->unflushed) &&
           OwnWatch_CAST(watch)->fileobj == NULL;
}

/* The table has one watch more (less), and an idle one more (less). The others
 * are what the loop watches. */
static inline void
fdtable_count(al_loop_head *loop, int watches, int idle)
{
    loop->fdtable->count += watches;
    loop->fdtable->idle += idle;
    AL_TALLY(loop->metrics.watched, (uint64_t)(int64_t)(watches - idle));
}

/* Free the idle watches, then the places behind the last watch. */
static void
fdtable_sweep(al_fdtable *table)
{
    size_t used = 0;

    for (int fd = 0; fd < table->size; fd++) {
        al_fdwatch *watch = table->watches[fd];
        if (watch == NULL) {
            continue;
        }
        if (fdwatch_is_unused(watch)) {
            table->watches[fd] = NULL;
            table->count--;
            table->idle--;
            Py_XDECREF(OwnWatch_CAST(watch)->socket); /* runs nothing */
            PyMem_Free(watch);
        }
        else {
            used = (size_t)fd + 1;
        }
    }
    table->gone = 0;
    if (al_grow_is_spare((size_t)table->size, used, FDTABLE_LEAST)) {
        /* If there is no memory for the shorter table, the long one stays. */
        (void)fdtable_resize(
            table, al_grow_cut((size_t)table->size, used, FDTABLE_LEAST));
    }
}

/* A watch was closed or became idle. Sweep after so many that each of them
 * pays for a look at a few places only. */
static inline void
fdtable_note_gone(al_fdtable *table)
{
    int some = table->size / FDTABLE_PARTS;

    if (AL_UNLIKELY(table->size > FDTABLE_LEAST) && ++table->gone > some &&
        (table->idle > some || table->count <= table->size / 4))
    {
        fdtable_sweep(table);
    }
}

/* Make room for `fd`: 0, or -1 with MemoryError set. */
static int
fdtable_reserve(al_fdtable *table, int fd)
{
    if (fd < table->size) {
        return 0;
    }
    /* A descriptor is the lowest free number: doubling suits it. */
    size_t size =
        al_grow_capacity((size_t)table->size, (size_t)fd + 1, FDTABLE_FIRST);
    if (fdtable_resize(table, size) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* The loop's table, made at the first use, with room for `fd`.
 * -> borrowed, or NULL with an exception set: RuntimeError, MemoryError. */
static al_fdtable *
fdtable_get(al_loop_head *loop, int fd)
{
    al_fdtable *table = loop->fdtable;

    /* The callers have checked this, too. But a fileno() method or a finaliser
     * may have run since then and have closed the loop. */
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
        table->size = table->count = table->idle = table->gone = 0;
        al_list_init(&table->unflushed);
        loop->fdtable = table;
    }
    return fdtable_reserve(table, fd) < 0 ? NULL : table;
}

static void
fdtable_enter(al_fdtable *table, al_fdwatch *watch, al_loop_head *loop, int fd,
              PyObject *owner)
{
    *watch = (al_fdwatch){
        .loop = loop, .owner = owner, .fd = fd, .must_tell = true};
    table->watches[fd] = watch;
    fdtable_count(loop, 1, owner == NULL);
}

al_fdwatch *
al_fdwatch_find(al_loop_head *loop, int fd)
{
    al_fdtable *table = loop->fdtable;

    return table != NULL && fd >= 0 && fd < table->size ? table->watches[fd]
                                                        : NULL;
}

al_fdwatch *
al_fdwatch_next(al_loop_head *loop, int fd)
{
    al_fdtable *table = loop->fdtable;

    for (; table != NULL && fd < table->size; fd++) {
        if (table->watches[fd] != NULL) {
            return table->watches[fd];
        }
    }
    return NULL;
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
    /* As in asyncio, a closing transport does not keep others away. */
    PyObject *owner = Py_NewRef(watch->owner);
    int is_closing = al_call_is_true(
        PyObject_CallMethodNoArgs(owner, loop->state->names.is_closing));
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
    made->unflushed = (al_list){NULL, NULL};
    fdtable_enter(table, &made->base, loop, fd, NULL);
    return &made->base;
}

al_fdwatch *
al_fdwatch_get(al_loop_head *loop, int fd, PyObject *fileobj)
{
    /* Check that fd is open: the table must not grow to 2,000,000,000 places
     * for a number that no descriptor has. */
    if (al_fdwatch_find(loop, fd) == NULL && fcntl(fd, F_GETFD) < 0) {
        al_error_set_errno(errno);
        return NULL;
    }
    al_fdwatch *watch = fdtable_get_watch(loop, fd);
    if (watch == NULL) {
        return NULL;
    }
    if (watch->owner == NULL && OwnWatch_CAST(watch)->fileobj == NULL) {
        /* As a selector does, keep the first file object alive: the descriptor
         * would be closed together with it. */
        OwnWatch_CAST(watch)->fileobj = Py_NewRef(fileobj);
    }
    watch->must_tell = true;
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
    /* All weak references to an object without a callback are one object, and
     * we keep it. So comparing the references compares the sockets, even after
     * the old socket was freed. The same socket object always has the same
     * descriptor: a socket cannot be opened twice. */
    if (watch->owner == NULL && OwnWatch_CAST(watch)->socket == reference) {
        Py_DECREF(reference);
        return watch;
    }
    if (watch->owner == NULL) {
        /* Freeing a weak reference without a callback runs no code. */
        Py_XSETREF(OwnWatch_CAST(watch)->socket, reference);
    }
    else {
        Py_DECREF(reference);
    }
    watch->must_tell = true;
    return watch;
}

/* Close a watch whose descriptor a new transport takes over. The old owner may
 * be a closing transport that still has bytes to send: queue its writer, which
 * finds the watch closed. 0, or -1 with MemoryError set. */
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
    AL_CHECK(fdtable_check, loop);
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

    fdtable_count(loop, -1, -fdwatch_is_idle(watch));
    watch->reader.object = watch->writer.object = NULL;
    al_loop_note_event(loop);
    loop->reactor->set->kind->forget(loop->reactor->set, watch);
    loop->fdtable->watches[watch->fd] = NULL;
    watch->loop = NULL;
    if (watch->owner == NULL) {
        fileobj = OwnWatch_CAST(watch)->fileobj;
        socket = OwnWatch_CAST(watch)->socket;
        al_list_remove(&OwnWatch_CAST(watch)->unflushed);
        PyMem_Free(watch);
    }
    fdtable_note_gone(loop->fdtable);
    AL_CHECK(fdtable_check, loop);
    Py_XDECREF(reader); /* last: may run anything */
    Py_XDECREF(writer);
    Py_XDECREF(fileobj);
    Py_XDECREF(socket);
}

void
al_fdwatch_close_all(al_loop_head *loop)
{
    al_fdtable *table;

    /* A finaliser may call this, too: read the table anew for each watch. */
    for (int fd = 0; (table = loop->fdtable) != NULL && fd < table->size; fd++)
    {
        if (table->watches[fd] != NULL) {
            al_fdwatch_close(table->watches[fd]);
        }
    }
    if (table == NULL) {
        return;
    }
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

/* Take the file object out of a watch without entries: nobody needs it now.
 * -> owned reference, or NULL. */
static PyObject *
fdwatch_take_fileobj(al_fdwatch *watch)
{
    if (watch->owner != NULL || fdwatch_wanted(watch) != 0) {
        return NULL;
    }
    PyObject *fileobj = OwnWatch_CAST(watch)->fileobj;
    OwnWatch_CAST(watch)->fileobj = NULL;
    return fileobj;
}

static int
fdwatch_set(al_fdwatch *watch, al_entry *entry, al_run_fn run,
            PyObject *object)
{
    al_entry old = *entry;

    fdtable_count(watch->loop, 0, -fdwatch_is_idle(watch));
    *entry = (al_entry){.run = run, .object = Py_NewRef(object)};
    al_loop_note_event(watch->loop);
    int errnum = fdwatch_sync(watch);
    if (AL_LIKELY(errnum == 0)) {
        AL_CHECK(fdtable_check, watch->loop);
        Py_XDECREF(
            old.object); /* last: may run anything, and free the watch */
        return 0;
    }
    *entry = old;
    fdtable_count(watch->loop, 0, fdwatch_is_idle(watch));
    AL_CHECK(fdtable_check, watch->loop);
    Py_XDECREF(
        fdwatch_take_fileobj(watch)); /* the caller has a reference ... */
    Py_DECREF(object);                /* ... to both: neither is freed */
    al_error_set_errno(errnum);
    return -1;
}

static void
fdwatch_clear(al_fdwatch *watch, al_entry *entry, bool tell_now)
{
    al_loop_head *loop = watch->loop;
    PyObject *old = entry->object;

    if (old == NULL) {
        return;
    }
    entry->object = NULL;
    al_loop_note_event(loop);
    if (tell_now || watch->owner != NULL) {
        fdwatch_relax(watch);
    }
    else if (!al_list_is_linked(&OwnWatch_CAST(watch)->unflushed)) {
        al_list_append(&loop->fdtable->unflushed,
                       &OwnWatch_CAST(watch)->unflushed);
    }
    PyObject *fileobj = fdwatch_take_fileobj(watch);
    if (fdwatch_is_idle(watch)) {
        fdtable_count(loop, 0, 1);
        fdtable_note_gone(loop->fdtable); /* may free the watch */
    }
    AL_CHECK(fdtable_check, loop);
    Py_DECREF(old); /* last: may run anything, and free the watch */
    Py_XDECREF(fileobj);
}

int
al_fdwatch_set_reader(al_fdwatch *watch, al_run_fn run, PyObject *object)
{
    return fdwatch_set(watch, &watch->reader, run, object);
}

int
al_fdwatch_set_writer(al_fdwatch *watch, al_run_fn run, PyObject *object)
{
    return fdwatch_set(watch, &watch->writer, run, object);
}

void
al_fdwatch_clear_reader(al_fdwatch *watch)
{
    fdwatch_clear(watch, &watch->reader, true);
}

void
al_fdwatch_clear_writer(al_fdwatch *watch)
{
    fdwatch_clear(watch, &watch->writer, true);
}

void
al_fdwatch_end(al_fdwatch *watch)
{
    al_loop_head *loop = watch->loop;
    PyObject *reader = watch->reader.object;
    PyObject *writer = watch->writer.object;

    if (loop == NULL) {
        return;
    }
    assert(watch->owner != NULL);
    watch->reader.object = watch->writer.object = NULL;
    al_loop_note_event(loop);
    loop->reactor->set->kind->forget(loop->reactor->set, watch);
    AL_CHECK(fdtable_check, loop);
    Py_XDECREF(reader); /* last: may run anything */
    Py_XDECREF(writer);
}

void
al_fdwatch_clear_reader_lazily(al_fdwatch *watch)
{
    fdwatch_clear(watch, &watch->reader, false);
}

void
al_fdwatch_clear_writer_lazily(al_fdwatch *watch)
{
    fdwatch_clear(watch, &watch->writer, false);
}

void
al_fdwatch_flush(al_loop_head *loop)
{
    al_fdtable *table = loop->fdtable;

    while (table != NULL && table->unflushed.next != &table->unflushed) {
        OwnWatch *own = (OwnWatch *)((char *)table->unflushed.next -
                                     offsetof(OwnWatch, unflushed));
        al_list_remove(&own->unflushed);
        fdwatch_relax(&own->base);
    }
    AL_CHECK(fdtable_check, loop);
}

void
al_fdwatch_clear_object(al_loop_head *loop, PyObject *object)
{
    al_fdtable *table = loop->fdtable;

    /* Clearing an entry may run anything: find the watch again each time. */
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
