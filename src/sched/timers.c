/* timers.c - deadlines: what call_later() and call_at() wait for.
 *
 *     call_at(when) ---> 4-ary heap ---> ev_timer (the first deadline)
 *                            |
 *                            +--- due ---> ready queue
 *
 * The heap is ours and not libev's because equal deadlines must fire in the
 * order they were made.  A handle knows its place, and when it is cancelled it
 * leaves the heap at once, but a hole stays: a deadline without a handle.  Most
 * timers are cancelled, so that is to be cheap.  A hole at the top takes in the
 * next deadline that is armed, and when every second entry is a hole, all are
 * swept out.
 *
 * Invariants
 *   (1) handle->index == i  <=>  heap[i].handle == handle; the heap owns one
 *       reference to each.
 *   (2) `holes` entries have no handle: TIMERS_FEW_HOLES at most, or no more
 *       than the others.
 *   (3) No deadline fires before loop.time() has reached it (but for the
 *       clock's resolution, as in asyncio). */
#include "sched/timers.h"

#include <math.h>
#include <time.h>

#include "sched/ready.h"

/* --- the heap ----------------------------------------------------------- */

#define TIMERS_FEW_HOLES 16

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
    if (deadline.handle != NULL) {
        TimerHandleObject_CAST(deadline.handle)->index = i; /* (1) */
    }
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

/* Take out the first entry, be it a hole. */
static void
timers_remove_first(al_timers *timers)
{
    al_deadline first = timers->heap[0];
    al_deadline last = timers->heap[--timers->count];

    if (first.handle == NULL) {
        timers->holes--;
    }
    else {
        TimerHandleObject_CAST(first.handle)->index = -1;
    }
    if (timers->count > 0) {
        timers_sift_down(timers, 0, last);
    }
}

/* Have the first deadline that somebody waits for at the top: false if there
 * is none. */
static bool
timers_find_first(al_timers *timers)
{
    while (timers->count > 0 && timers->heap[0].handle == NULL) {
        timers_remove_first(timers);
    }
    return timers->count > 0;
}

/* Take out all holes. */
static void
timers_sweep(al_timers *timers)
{
    Py_ssize_t n = 0;

    for (Py_ssize_t i = 0; i < timers->count; i++) {
        if (timers->heap[i].handle != NULL) {
            timers_place(timers, n++, timers->heap[i]);
        }
    }
    timers->count = n;
    timers->holes = 0;
    for (Py_ssize_t i = (n - 2) / 4; n > 1 && i >= 0; i--) {
        timers_sift_down(timers, i, timers->heap[i]);
    }
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

/* The same between two entries, where no task is the current one: an overridden
 * time() is to see that. */
static inline int
timers_now_between(al_loop_head *loop, double *now)
{
    if (AL_UNLIKELY(loop->overrides & AL_OVERRIDES_TIME) &&
        al_loop_leave_task(loop) < 0)
    {
        return -1;
    }
    return al_timers_now(loop, now);
}

/* --- arming ------------------------------------------------------------- */

int
al_timers_arm(al_loop_head *loop, TimerHandleObject *handle)
{
    al_timers *timers = &loop->timers;

    assert(handle->index < 0);
    double when = handle->when;
    if (AL_UNLIKELY(when != when)) {
        when = -Py_HUGE_VAL; /* asyncio runs a NaN at once */
    }
    bool has_hole = timers->count > 0 && timers->heap[0].handle == NULL;
    if (!has_hole && timers->count == timers->capacity &&
        timers_grow(timers) < 0)
    {
        return -1;
    }
    al_deadline deadline = {when, timers->sequence++,
                            Py_NewRef((PyObject *)handle)};
    if (has_hole) {
        timers->holes--;
        timers_sift_down(timers, 0, deadline);
    }
    else {
        timers_sift_up(timers, timers->count++, deadline);
    }
    return 0;
}

void
al_timers_disarm(al_loop_head *loop, TimerHandleObject *handle)
{
    al_timers *timers = &loop->timers;
    Py_ssize_t i = handle->index;

    if (i < 0) {
        return;
    }
    handle->index = -1;
    timers->heap[i].handle = NULL;
    timers->holes++;
    if (timers->holes > TIMERS_FEW_HOLES && 2 * timers->holes > timers->count)
    {
        timers_sweep(timers);
    }
    Py_DECREF(handle); /* may run anything */
}

/* How much too early a deadline may fire, by (3). */
static inline double
timers_tolerance(const al_loop_head *loop, double now)
{
    double tolerance = loop->clock_resolution;

    if (AL_TIMERS_KNOW_ULP) {
        double ulp = nextafter(fabs(now), Py_HUGE_VAL) - fabs(now);
        tolerance = ulp > tolerance ? ulp : tolerance; /* not that of inf */
    }
    return tolerance;
}

int
al_timers_collect(al_loop_head *loop)
{
    al_timers *timers = &loop->timers;
    double now;

    if (!timers_find_first(timers)) {
        return 0;
    }
    if (timers_now_between(loop, &now) < 0) {
        return -1;
    }
    now += timers_tolerance(loop, now);
    while (timers_find_first(timers) && timers->heap[0].when < now) {
        PyObject *handle = timers->heap[0].handle;
        if (al_ready_push(loop, al_handle_run, handle) < 0) {
            return -1;
        }
        timers_remove_first(timers);
        Py_DECREF(handle); /* the queue has its own */
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
    if (!timers_find_first(timers)) {
        return 0;
    }
    if (timers_now_between(loop, &now) < 0) { /* may run anything */
        return -1;
    }
    if (timers_find_first(timers)) {
        *seconds = timers->heap[0].when - now;
    }
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
        PyObject *handle = timers->heap[--timers->count].handle;
        if (handle == NULL) {
            timers->holes--;
            continue;
        }
        TimerHandleObject_CAST(handle)->index = -1;
        Py_DECREF(handle);
    }
    PyMem_Free(timers->heap);
    timers->heap = NULL;
    timers->capacity = 0;
}

PyObject *
al_timers_list(al_loop_head *loop)
{
    PyObject *list = PyList_New(0);

    (void)timers_find_first(&loop->timers);
    for (Py_ssize_t i = 0; list != NULL && i < loop->timers.count; i++) {
        PyObject *handle = loop->timers.heap[i].handle;
        if (handle == NULL) {
            continue;
        }
        al_handle_expose(loop->state, handle);
        if (PyList_Append(list, handle) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

void
al_timers_settle(al_loop_head *loop)
{
    for (Py_ssize_t i = 0; i < loop->timers.count; i++) {
        PyObject *handle = loop->timers.heap[i].handle;
        if (handle != NULL) {
            al_handle_settle(loop->state, handle);
        }
    }
}

int
al_timers_traverse(al_loop_head *loop, visitproc visit, void *arg)
{
    int rc = 0;

    for (Py_ssize_t i = 0; rc == 0 && i < loop->timers.count; i++) {
        PyObject *handle = loop->timers.heap[i].handle;
        if (handle != NULL) {
            rc = al_handle_traverse_queued(loop->state, handle, visit, arg);
        }
    }
    return rc;
}
