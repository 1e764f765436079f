/* ready.c - the ready queue: one FIFO of everything that runs next.
 *
 *     call_soon, woken tasks, fds, due timers ---> ring ---> run(object)
 *
 * Invariants
 *   (1) The entries are ring[(head + i) & (capacity - 1)] for 0 <= i < count.
 *   (2) An entry is taken out before it runs, so running it may push, clear
 *       or grow the ring. For the same reason the task that stepped last is
 *       left, which may run anything, while the entry is still in. */
#include "sched/ready.h"

#include "base/grow.h"
#include "sched/handle.h"
#include "sched/report.h"
#include "sched/timers.h"

/* Places: of a new one, and that a cut leaves. */
#define READY_FIRST 64
#define READY_LEAST 1024

/* So many entries al_ready_put_last() moves. */
#define READY_FEW_LATE 8

/* 0, or -1 (no exception) with nothing changed. */
static int
ready_resize(al_ready *ready, size_t capacity)
{
    al_ring ring = {ready->ring, ready->capacity, ready->head};

    if (al_grow_ring(&ring, sizeof(al_entry), ready->count, capacity) < 0) {
        return -1;
    }
    ready->ring = ring.items;
    ready->capacity = ring.capacity;
    ready->head = ring.head;
    return 0;
}

int
al_ready_grow(al_ready *ready)
{
    size_t capacity =
        al_grow_capacity(ready->capacity, ready->count + 1, READY_FIRST);
    if (ready_resize(ready, capacity) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
al_ready_cut(al_ready *ready, size_t used)
{
    if (al_grow_is_spare(ready->capacity, used, READY_LEAST)) {
        /* Without memory for it, it stays as long as it is. */
        (void)ready_resize(ready,
                           al_grow_cut(ready->capacity, used, READY_LEAST));
    }
}

void
al_ready_put_last(al_ready *ready, size_t from,
                  bool (*is_late)(const al_entry *entry))
{
    al_entry late[READY_FEW_LATE];
    size_t mask = ready->capacity - 1, count = 0, to = from;

    for (size_t i = from; i < ready->count; i++) {
        al_entry entry = ready->ring[(ready->head + i) & mask];
        if (count < READY_FEW_LATE && is_late(&entry)) {
            late[count++] = entry;
        }
        else {
            ready->ring[(ready->head + to++) & mask] = entry;
        }
    }
    for (size_t i = 0; i < count; i++) {
        ready->ring[(ready->head + to + i) & mask] = late[i];
    }
}

/* Take out the first entry, with its reference. */
static inline al_entry
ready_pop(al_loop_head *loop, al_ready *ready)
{
    al_entry entry = ready->ring[ready->head];

    loop->fresh_handle = NULL; /* it may be this one: handle.c (3) */
    ready->head = (ready->head + 1) & (ready->capacity - 1);
    ready->count--;
    return entry;
}

/* Whether the task that stepped last has to be left before `next` runs. One
 * task enters in the place of another, but not if that is the other's end,
 * with none but us and the interpreter to hold it: its finalisers must
 * not find its successor as the current task, and in that one's context. */
static inline bool
ready_must_leave(const al_loop_head *loop, const al_entry *next)
{
    return loop->current_task != NULL &&
           (next->run != loop->step || Py_REFCNT(loop->current_task) <= 2);
}

/* A step is over, with `rc`: send what it has left held. */
static inline int
ready_end_step(al_loop_head *loop, int rc)
{
    if (AL_LIKELY(loop->held.object == NULL)) {
        return rc;
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (al_loop_send_held(loop) < 0) {
        Py_XDECREF(raised);
        return -1;
    }
    PyErr_SetRaisedException(raised);
    return rc;
}

static inline al_loop_head *
ready_from_holder(al_list *node)
{
    return (al_loop_head *)((char *)node - offsetof(al_loop_head, holder));
}

int
al_ready_send_held_here(al_state *state)
{
    al_list *node = state->holders.next;

    while (AL_UNLIKELY(node != &state->holders)) {
        al_loop_head *loop = ready_from_holder(node);
        if (loop->thread_id != PyThread_get_thread_ident()) {
            node = node->next;
            continue;
        }
        if (al_loop_send_held(loop) < 0) { /* may run anything */
            return -1;
        }
        node = state->holders.next;
    }
    return 0;
}

/* Run one entry as debug mode wants it: its handle is known to the exception
 * handler, and it is logged when it took too long. */
static int
ready_run_debug(al_loop_head *loop, al_entry entry)
{
    bool is_handle = al_handle_check(loop->state, entry.object);
    if (is_handle) {
        al_handle_expose(loop->state, entry.object);
        if (HandleObject_CAST(entry.object)->is_cancelled) {
            return 0; /* another thread may still be at the repr in cancel() */
        }
        Py_XSETREF(loop->current_handle, Py_NewRef(entry.object));
    }
    double start, end; /* by the loop's clock, which may be overridden */
    int rc = al_timers_now(loop, &start);
    if (rc == 0) {
        rc = ready_end_step(loop, entry.run(loop, entry.object));
    }
    if (rc == 0) {
        rc = al_timers_now(loop, &end);
    }
    PyObject *raised = PyErr_GetRaisedException();
    Py_CLEAR(loop->current_handle); /* may run anything */
    PyErr_SetRaisedException(raised);
    if (rc == 0) {
        rc = al_loop_leave_task(loop); /* it is us who log */
    }
    if (rc == 0) {
        rc = al_report_slow(loop, entry.object, end - start);
    }
    return rc;
}

/* `between` may be NULL. */
static inline int
ready_run(al_loop_head *loop, int (*between)(al_loop_head *loop))
{
    al_ready *ready = &loop->ready;
    size_t todo = ready->count;

    while (todo > 0 && ready->count > 0) {
        if (between != NULL) {
            if (between(loop) < 0) {
                return -1;
            }
            if (ready->count == 0) {
                break;
            }
        }
        /* Of a finaliser that the last entry's end has run. */
        if (AL_UNLIKELY(al_loop_send_held(loop) < 0)) {
            return -1;
        }
        if (ready_must_leave(loop, &ready->ring[ready->head])) {
            if (AL_UNLIKELY(loop->leave_task(loop) < 0)) {
                return -1;
            }
            continue; /* the queue may be another */
        }
        al_entry entry = ready_pop(loop, ready); /* by (2) */
        int rc;

        todo--;
        loop->steps++;
        if (AL_UNLIKELY(loop->is_debug)) {
            rc = ready_run_debug(loop, entry);
        }
        else {
            rc = ready_end_step(loop, entry.run(loop, entry.object));
        }
        Py_DECREF(entry.object); /* may run anything */
        if (AL_UNLIKELY(rc < 0)) {
            return -1;
        }
    }
    return 0;
}

static inline int
ready_run_turn(al_loop_head *loop, int (*between)(al_loop_head *loop))
{
    size_t begun = loop->ready.count;

    loop->turn++;
    loop->is_in_turn = true;
    int rc = ready_run(loop, between);
    loop->is_in_turn = false;
    /* By the longer of two turns: one that was long may be one of many. */
    al_ready_cut(&loop->ready, Py_MAX(begun, loop->ready.count));
    return ready_end_step(loop, rc);
}

int
al_ready_run_turn(al_loop_head *loop)
{
    return ready_run_turn(loop, NULL);
}

int
al_ready_run_long_turn(al_loop_head *loop, int (*between)(al_loop_head *loop))
{
    return ready_run_turn(loop, between);
}

void
al_ready_clear(al_loop_head *loop, al_ready *ready)
{
    /* Dropping an object may run code that pushes: take one at a time. */
    while (ready->count > 0) {
        al_entry entry = ready_pop(loop, ready);
        Py_DECREF(entry.object);
    }
    PyMem_Free(ready->ring);
    *ready = (al_ready){0};
}

static inline PyObject *
ready_object(const al_ready *ready, size_t i)
{
    return ready->ring[(ready->head + i) & (ready->capacity - 1)].object;
}

PyObject *
al_ready_list(al_loop_head *loop)
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list != NULL && i < loop->ready.count; i++) {
        PyObject *object = ready_object(&loop->ready, i);
        al_handle_expose(loop->state, object);
        if (PyList_Append(list, object) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

void
al_ready_settle(al_loop_head *loop)
{
    for (size_t i = 0; i < loop->ready.count; i++) {
        al_handle_settle(loop->state, ready_object(&loop->ready, i));
    }
}

int
al_ready_traverse(al_loop_head *loop, visitproc visit, void *arg)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < loop->ready.count; i++) {
        rc = al_handle_traverse_queued(
            loop->state, ready_object(&loop->ready, i), visit, arg);
    }
    return rc;
}
