/* timers.c - deadlines: what call_later() and call_at() wait for.
 *
 *     call_at(when) ---> 4-ary heap ---> ev_timer (the first deadline)
 *                            |
 *                            +--- due ---> ready queue
 *
 * The heap is ours and not libev's because equal deadlines must fire in the
 * order they were made.  A cancelled handle leaves the heap at once: each
 * handle knows its place.
 *
 * Invariants
 *   (1) handle->index == i  <=>  heap[i].handle == handle; the heap owns one
 *       reference to each.
 *   (2) No deadline fires before loop.time() has reached it (but for the
 *       clock's resolution, as in asyncio). */
#include "sched/timers.h"

#include <time.h>

#include "sched/ready.h"

/* --- the heap ----------------------------------------------------------- */

static inline bool
deadline_is_before(const al_deadline *a, const al_deadline *b)
{
    return a->when < b->when ||
           (a->when == b->when && a->sequence < b->sequence);
}

static inline void
timers_place(al_timers *timers, Py_ssize_t i, al_deadline deadline)
{
    timers->heap[i] = deadline;
    TimerHandleObject_CAST(deadline.handle)->index = i; /* (1) */
}

static void
timers_sift_up(al_timers *timers, Py_ssize_t i, al_deadline deadline)
{
    while (i > 0) {
        Py_ssize_t parent = (i - 1) / 4;
        if (!deadline_is_before(&deadline, &timers->heap[parent])) {
            break;
        }
        timers_place(timers, i, timers->heap[parent]);
        i = parent;
    }
    timers_place(timers, i, deadline);
}

static void
timers_sift_down(al_timers *timers, Py_ssize_t i, al_deadline deadline)
{
    for (;;) {
        Py_ssize_t child = 4 * i + 1;
        Py_ssize_t end = Py_MIN(child + 4, timers->count);
        if (child >= end) {
            break;
        }
        Py_ssize_t least = child;
        while (++child < end) {
            if (deadline_is_before(&timers->heap[child], &timers->heap[least]))
            {
                least = child;
            }
        }
        if (!deadline_is_before(&timers->heap[least], &deadline)) {
            break;
        }
        timers_place(timers, i, timers->heap[least]);
        i = least;
    }
    timers_place(timers, i, deadline);
}

/* Take out entry `i`. -> its handle, with the heap's reference. */
static PyObject *
timers_remove(al_timers *timers, Py_ssize_t i)
{
    PyObject *handle = timers->heap[i].handle;
    al_deadline last = timers->heap[--timers->count];

    TimerHandleObject_CAST(handle)->index = -1;
    if (i < timers->count) {
        if (i > 0 && deadline_is_before(&last, &timers->heap[(i - 1) / 4])) {
            timers_sift_up(timers, i, last);
        }
        else {
            timers_sift_down(timers, i, last);
        }
    }
    return handle;
}

static int
timers_grow(al_timers *timers)
{
    Py_ssize_t capacity = timers->capacity == 0 ? 32 : timers->capacity * 2;
    al_deadline *heap = timers->heap;

    PyMem_Resize(heap, al_deadline, (size_t)capacity);
    if (heap == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    timers->heap = heap;
    timers->capacity = capacity;
    return 0;
}

/* --- the clock ---------------------------------------------------------- */

double
al_timers_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int
al_timers_now(al_loop_head *loop, double *now)
{
    if (AL_LIKELY(!(loop->overrides & AL_OVERRIDES_TIME))) {
        *now = al_timers_clock();
        return 0;
    }
    PyObject *result =
        PyObject_CallMethodNoArgs((PyObject *)loop, loop->state->names.time);
    if (result == NULL) {
        return -1;
    }
    *now = PyFloat_AsDouble(result);
    Py_DECREF(result);
    return *now == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* --- arming ------------------------------------------------------------- */

int
al_timers_arm(al_loop_head *loop, TimerHandleObject *handle)
{
    al_timers *timers = &loop->timers;

    assert(handle->index < 0);
    if (timers->count == timers->capacity && timers_grow(timers) < 0) {
        return -1;
    }
    double when = handle->when;
    if (AL_UNLIKELY(when != when)) {
        when = -Py_HUGE_VAL; /* asyncio runs a NaN at once */
    }
    al_deadline deadline = {when, timers->sequence++,
                            Py_NewRef((PyObject *)handle)};
    timers_sift_up(timers, timers->count++, deadline);
    return 0;
}

void
al_timers_disarm(al_loop_head *loop, TimerHandleObject *handle)
{
    if (handle->index >= 0) {
        Py_DECREF(timers_remove(&loop->timers, handle->index));
    }
}

int
al_timers_collect(al_loop_head *loop)
{
    al_timers *timers = &loop->timers;
    double now;

    if (timers->count == 0) {
        return 0;
    }
    if (al_timers_now(loop, &now) < 0) {
        return -1;
    }
    now += loop->clock_resolution;
    while (timers->count > 0 && timers->heap[0].when < now) {
        if (al_ready_push(loop, al_handle_run, timers->heap[0].handle) < 0) {
            return -1;
        }
        Py_DECREF(timers_remove(timers, 0)); /* the queue has its own */
    }
    return 0;
}

/* --- the poll ----------------------------------------------------------- */

/* libev's timeouts are relative to its own idea of now, and nobody waits
 * longer than a day for nothing (asyncio's MAXIMUM_SELECT_TIMEOUT). */
#define TIMERS_LONGEST_WAIT 86400.0

static void
timers_on_deadline(struct ev_loop *Py_UNUSED(ev), ev_timer *Py_UNUSED(watcher),
                   int Py_UNUSED(revents))
{
    /* Its only purpose is to end the poll: al_timers_collect() does the
     * rest by our own clock. */
}

int
al_timers_wait(al_loop_head *loop, double *seconds)
{
    al_timers *timers = &loop->timers;
    double now;

    *seconds = Py_HUGE_VAL;
    if (timers->count == 0) {
        return 0;
    }
    if (al_timers_now(loop, &now) < 0) {
        return -1;
    }
    *seconds = timers->heap[0].when - now;
    return 0;
}

void
al_timers_watch(al_loop_head *loop, double seconds)
{
    if (seconds != Py_HUGE_VAL) {
        ev_now_update(loop->ev);
        ev_timer_init(&loop->timers.watcher, timers_on_deadline,
                      Py_MIN(seconds, TIMERS_LONGEST_WAIT), 0.0);
        ev_timer_start(loop->ev, &loop->timers.watcher);
    }
}

void
al_timers_unwatch(al_loop_head *loop)
{
    ev_timer_stop(loop->ev, &loop->timers.watcher);
}

/* --- lifetime ----------------------------------------------------------- */

void
al_timers_clear(al_loop_head *loop)
{
    al_timers *timers = &loop->timers;

    /* Dropping a handle may run code that arms or cancels: one at a time. */
    while (timers->count > 0) {
        Py_DECREF(timers_remove(timers, timers->count - 1));
    }
    PyMem_Free(timers->heap);
    timers->heap = NULL;
    timers->capacity = 0;
}

PyObject *
al_timers_list(al_loop_head *loop)
{
    PyObject *list = PyList_New(0);

    for (Py_ssize_t i = 0; list != NULL && i < loop->timers.count; i++) {
        PyObject *handle = loop->timers.heap[i].handle;
        al_handle_expose(loop->state, handle);
        if (PyList_Append(list, handle) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

int
al_timers_traverse(al_loop_head *loop, visitproc visit, void *arg)
{
    int rc = 0;

    for (Py_ssize_t i = 0; rc == 0 && i < loop->timers.count; i++) {
        rc = al_handle_traverse_queued(
            loop->state, loop->timers.heap[i].handle, visit, arg);
    }
    return rc;
}
