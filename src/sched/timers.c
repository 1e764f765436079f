/* timers.c - deadlines: what call_later() and call_at() wait for.
 *
 *     call_at(when) ---> 4-ary heap ---> until when the next poll may wait
 *                            |
 *                            +--- due ---> ready queue
 *
 * libev's heap is not used because equal deadlines must fire in the order in
 * which they were armed.
 *
 * Most timers are cancelled, so cancelling has to be cheap.  A cancelled
 * handle leaves the heap at once, but its deadline stays as a hole: a deadline
 * without a handle.  If there is a hole at the top, the next deadline that is
 * armed takes its place.  When more than half of the deadlines are holes, a
 * sweep removes them all.
 *
 * Most deadlines come in order, because most timeouts have the same length.
 * As long as each deadline is later than those before, the heap is a sorted
 * array.  Then arming appends, and removing the first deadline moves the
 * beginning one place on.
 *
 * Invariants
 *   (1) handle->index == i  <=>  places[i].handle == handle; the heap owns one
 *       reference to each.
 *   (2) `holes` deadlines have no handle: at most TIMERS_FEW_HOLES, or at most
 *       half of all.
 *   (3) No deadline fires before loop.time() has reached it, except by the
 *       clock's resolution, as in asyncio.
 *   (4) No deadline is before its parent.
 *       is_sorted  =>  no deadline is before the one in front of it.
 *       !is_sorted  =>  the heap begins at the first place. */
#include "sched/timers.h"

#include <math.h>
#include <time.h>

#include "base/grow.h"
#include "sched/metrics_sum.h"
#include "sched/ready.h"

/* --- the heap ----------------------------------------------------------- */

#define TIMERS_FEW_HOLES 16

/* Places of a new heap; the fewest that a cut leaves. */
#define TIMERS_FIRST 32
#define TIMERS_LEAST 512

static inline bool
deadline_is_before(const al_deadline *a, const al_deadline *b)
{
    return a->when < b->when ||
           (a->when == b->when && a->sequence < b->sequence);
}

/* Whether (2) asks for a sweep. */
static inline bool
timers_has_many_holes(const al_timers *timers)
{
    return timers->holes > TIMERS_FEW_HOLES &&
           2 * timers->holes > timers->count;
}

#ifdef AL_DEBUG

static void
timers_check(const al_timers *timers)
{
    static size_t skipped;
    const al_deadline *heap = timers->heap;
    Py_ssize_t first = heap - timers->places, holes = 0;

    if (!al_check_is_time(&skipped, (size_t)timers->count)) {
        return;
    }
    AL_HOLDS(4, timers->is_sorted || first == 0);
    AL_HOLDS(4, first >= 0 && first + timers->count <= timers->capacity);
    for (Py_ssize_t i = 0; i < timers->count; i++) {
        Py_ssize_t parent = timers->is_sorted ? i - 1 : (i - 1) / 4;
        const PyObject *handle = heap[i].handle;
        AL_HOLDS(1, handle == NULL ||
                        TimerHandleObject_CAST(handle)->index == first + i);
        AL_HOLDS(1, handle == NULL || Py_REFCNT(handle) > 0);
        AL_HOLDS(4, i == 0 || !deadline_is_before(&heap[i], &heap[parent]));
        holes += handle == NULL;
    }
    AL_HOLDS(2, holes == timers->holes);
    AL_HOLDS(2, !timers_has_many_holes(timers));
}

#endif

static inline void
timers_place(al_timers *timers, Py_ssize_t i, al_deadline deadline)
{
    timers->places[i] = deadline;
    if (deadline.handle != NULL) {
        TimerHandleObject_CAST(deadline.handle)->index = i; /* (1) */
    }
}

/* Both sifts need a heap that begins at the first place: one that is not
 * sorted, by (4). */
static void
timers_sift_up(al_timers *timers, Py_ssize_t i, al_deadline deadline)
{
    const al_deadline *heap = timers->heap;

    while (i > 0) {
        Py_ssize_t parent = (i - 1) / 4;
        if (!deadline_is_before(&deadline, &heap[parent])) {
            break;
        }
        timers_place(timers, i, heap[parent]);
        i = parent;
    }
    timers_place(timers, i, deadline);
}

static void
timers_sift_down(al_timers *timers, Py_ssize_t i, al_deadline deadline)
{
    const al_deadline *heap = timers->heap;

    for (;;) {
        Py_ssize_t child = 4 * i + 1;
        Py_ssize_t end = Py_MIN(child + 4, timers->count);
        if (child >= end) {
            break;
        }
        Py_ssize_t least = child;
        while (++child < end) {
            if (deadline_is_before(&heap[child], &heap[least])) {
                least = child;
            }
        }
        if (!deadline_is_before(&heap[least], &deadline)) {
            break;
        }
        timers_place(timers, i, heap[least]);
        i = least;
    }
    timers_place(timers, i, deadline);
}

/* Remove the first deadline, which may be a hole. */
static void
timers_remove_first(al_timers *timers)
{
    PyObject *handle = timers->heap[0].handle;

    if (handle == NULL) {
        timers->holes--;
    }
    else {
        TimerHandleObject_CAST(handle)->index = -1;
    }
    timers->count--;
    if (timers->is_sorted) {
        timers->heap++;
    }
    else if (timers->count > 0) {
        timers_sift_down(timers, 0, timers->heap[timers->count]);
    }
}

bool
al_timers_find_first(al_timers *timers)
{
    while (timers->count > 0 && timers->heap[0].handle == NULL) {
        timers_remove_first(timers);
    }
    return timers->count > 0;
}

/* Make the places fewer if they are far too many. The heap begins at the first
 * place. */
static void
timers_cut(al_timers *timers)
{
    size_t capacity = (size_t)timers->capacity;
    size_t count = (size_t)timers->count;

    if (!al_grow_is_spare(capacity, count, TIMERS_LEAST)) {
        return;
    }
    capacity = al_grow_cut(capacity, count, TIMERS_LEAST);
    al_deadline *places = timers->places;
    PyMem_Resize(places, al_deadline, capacity);
    if (places != NULL) { /* else there is no memory: all places stay */
        timers->places = timers->heap = places;
        timers->capacity = (Py_ssize_t)capacity;
    }
}

/* Remove all holes and move the heap to the first place. The deadlines that
 * are left may be sorted now. */
static void
timers_sweep(al_timers *timers)
{
    const al_deadline *old = timers->heap;
    Py_ssize_t n = 0;

    timers->heap = timers->places;
    timers->is_sorted = true;
    for (Py_ssize_t i = 0; i < timers->count; i++) {
        if (old[i].handle != NULL) {
            timers_place(timers, n, old[i]);
            if (n > 0 &&
                deadline_is_before(&timers->heap[n], &timers->heap[n - 1]))
            {
                timers->is_sorted = false;
            }
            n++;
        }
    }
    timers->count = n;
    timers->holes = 0;
    if (!timers->is_sorted) {
        for (Py_ssize_t i = (n - 2) / 4; i >= 0; i--) {
            timers_sift_down(timers, i, timers->heap[i]);
        }
    }
    timers_cut(timers);
}

PyObject *
al_timers_take(al_loop_head *loop)
{
    al_timers *timers = &loop->timers;

    if (!al_timers_find_first(timers)) {
        return NULL;
    }
    PyObject *handle = timers->heap[0].handle;
    timers_remove_first(timers);
    loop->newest_handle = NULL; /* it may be this handle: handle.c (3) */
    if (timers_has_many_holes(timers)) {
        timers_sweep(timers); /* by (2) */
    }
    AL_CHECK(timers_check, timers);
    return handle;
}

static int
timers_grow(al_timers *timers)
{
    size_t capacity = (size_t)timers->capacity;
    Py_ssize_t first = timers->heap - timers->places;
    al_deadline *places = timers->places;

    capacity = al_grow_capacity(capacity, capacity + 1, TIMERS_FIRST);
    PyMem_Resize(places, al_deadline, capacity);
    if (places == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    timers->places = places;
    timers->heap = places + first;
    timers->capacity = (Py_ssize_t)capacity;
    return 0;
}

/* Make a place behind the last deadline: 0, or -1 with MemoryError set. */
static int
timers_make_room(al_timers *timers)
{
    Py_ssize_t first = timers->heap - timers->places;

    if (first + timers->count < timers->capacity) {
        return 0;
    }
    if (first < timers->capacity / 2 || timers->capacity == 0) {
        return timers_grow(timers);
    }
    timers_sweep(timers); /* the first half is free: move the heap to there */
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

/* The same between two steps. An overridden time() may call current_task(),
 * which has to return None then: leave the task first. */
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

/* Whether the heap is sorted and stays so if the deadline is appended. If not,
 * prepare the heap for a sift, by (4). */
static inline bool
timers_may_stay_sorted(al_timers *timers, const al_deadline *deadline)
{
    if (!timers->is_sorted && timers->count > 0) {
        return false;
    }
    if (!al_timers_find_first(timers)) {
        timers->heap = timers->places;
        timers->is_sorted = true;
        return true;
    }
    if (!deadline_is_before(deadline, &timers->heap[timers->count - 1])) {
        return true;
    }
    if (timers->heap > timers->places) {
        timers_sweep(timers); /* moves the heap to the first place */
    }
    timers->is_sorted = false;
    return false;
}

/* The deadline that the heap has for a handle whose `when` is NaN. A NaN is
 * neither before nor after another deadline. So in asyncio's heap it stays
 * behind those that were armed before it, and is due when they are gone. It is
 * also due when one that was armed after it is due: timers_collect_nans(). */
static double
timers_place_nan(al_timers *timers)
{
    double last = -Py_HUGE_VAL;

    for (Py_ssize_t i = 0; i < timers->count; i++) {
        const al_deadline *deadline = &timers->heap[i];
        if (deadline->handle != NULL && deadline->when > last) {
            last = deadline->when;
        }
    }
    if (timers->first_nan == 0) {
        timers->first_nan = timers->sequence + 1;
    }
    return last;
}

int
al_timers_arm(al_loop_head *loop, TimerHandleObject *handle)
{
    al_timers *timers = &loop->timers;

    assert(handle->index < 0);
    double when = handle->when;
    if (AL_UNLIKELY(when != when)) {
        when = timers_place_nan(timers);
    }
    al_deadline deadline = {when, timers->sequence, (PyObject *)handle};
    bool is_last = timers_may_stay_sorted(timers, &deadline);
    if (!is_last && timers->heap[0].handle == NULL) {
        timers->holes--;
        timers_sift_down(timers, 0, deadline);
    }
    else if (timers_make_room(timers) < 0) {
        return -1;
    }
    else if (is_last) {
        Py_ssize_t first = timers->heap - timers->places;
        timers_place(timers, first + timers->count++, deadline);
    }
    else {
        timers_sift_up(timers, timers->count++, deadline);
    }
    timers->sequence++;
    Py_INCREF(handle);
    AL_CHECK(timers_check, timers);
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
    timers->places[i].handle = NULL;
    timers->holes++;
    if (timers_has_many_holes(timers)) {
        timers_sweep(timers);
    }
    AL_CHECK(timers_check, timers);
    Py_DECREF(handle); /* may run anything */
}

/* How many seconds before its time a deadline may fire, by (3). */
static inline double
timers_tolerance(const al_loop_head *loop, double now)
{
    double tolerance = loop->clock_resolution;

    if (AL_TIMERS_KNOW_ULP) {
        double ulp = nextafter(fabs(now), Py_HUGE_VAL) - fabs(now);
        tolerance = ulp > tolerance ? ulp : tolerance; /* NaN if now is inf */
    }
    return tolerance;
}

/* The deadline with number `latest` was due, so every NaN that was armed
 * before it is due. 0, or -1 with MemoryError set. */
static int
timers_collect_nans(al_loop_head *loop, uint64_t latest, al_run_fn run)
{
    al_timers *timers = &loop->timers;
    uint64_t first_nan = 0;
    int rc = 0;

    for (Py_ssize_t i = 0; rc == 0 && i < timers->count; i++) {
        al_deadline *deadline = &timers->heap[i];
        PyObject *handle = deadline->handle;
        if (handle == NULL || !isnan(TimerHandleObject_CAST(handle)->when)) {
            continue;
        }
        uint64_t number = deadline->sequence + 1;
        if (number > latest) {
            first_nan = first_nan == 0 ? number : Py_MIN(number, first_nan);
            continue;
        }
        rc = al_ready_push(loop, run, handle);
        if (rc == 0) {
            TimerHandleObject_CAST(handle)->index = -1;
            deadline->handle = NULL;
            timers->holes++;
            Py_DECREF(handle); /* the queue has its own */
        }
    }
    if (rc == 0) {
        timers->first_nan = first_nan;
    }
    timers_sweep(timers); /* by (2) */
    return rc;
}

int
al_timers_collect(al_loop_head *loop, al_run_fn run)
{
    al_timers *timers = &loop->timers;
    uint64_t latest =
        0; /* the highest sequence + 1 among those that are due */
    double now;

    if (!al_timers_find_first(timers)) {
        return 0;
    }
    if (timers_now_between(loop, &now) < 0) {
        return -1;
    }
    if (AL_UNLIKELY(loop->metrics.has_waited && timers->heap[0].when < now)) {
        loop->metrics.has_waited = false;
        al_metrics_note_late(loop, now - timers->heap[0].when);
    }
    now += timers_tolerance(loop, now);
    while (al_timers_find_first(timers) && timers->heap[0].when < now) {
        PyObject *handle = timers->heap[0].handle;
        latest = Py_MAX(latest, timers->heap[0].sequence + 1);
        if (al_ready_push(loop, run, handle) < 0) {
            return -1;
        }
        timers_remove_first(timers);
        Py_DECREF(handle); /* the queue has its own */
    }
    if (AL_UNLIKELY(timers->first_nan != 0 && latest > timers->first_nan) &&
        timers_collect_nans(loop, latest, run) < 0)
    {
        return -1;
    }
    if (timers_has_many_holes(timers) ||
        al_grow_is_spare((size_t)timers->capacity, (size_t)timers->count,
                         TIMERS_LEAST))
    {
        timers_sweep(timers); /* by (2); cuts it, too */
    }
    AL_CHECK(timers_check, timers);
    return 0;
}

/* --- the poll ----------------------------------------------------------- */

/* Sleeping and waking up costs the processor 5 to 20 us. So if at least this
 * many deadlines lie within this many seconds, they share one wait. */
#define TIMERS_MANY 8
#define TIMERS_SLACK 100e-6

/* How many deadlines are looked at to find out whether there are many. */
#define TIMERS_LOOKED_AT 32

/* The time to wait for, if the first deadline is before `limit`: that
 * deadline; or if many deadlines are before the limit, the last of these. */
static double
timers_share_wait(const al_timers *timers, double limit)
{
    const al_deadline *heap = timers->heap;
    Py_ssize_t near[TIMERS_LOOKED_AT] = {0}; /* places before the limit */
    Py_ssize_t found = 1, many = 0;
    double last = heap[0].when;

    for (Py_ssize_t i = 0; i < found; i++) {
        const al_deadline *deadline = &heap[near[i]];
        if (deadline->handle != NULL) {
            many++;
            last = deadline->when > last ? deadline->when : last;
        }
        Py_ssize_t child = 4 * near[i] + 1;
        Py_ssize_t end = Py_MIN(child + 4, timers->count);
        for (; child < end; child++) {
            if (heap[child].when >= limit) {
                continue; /* its siblings may be before the limit */
            }
            if (found == TIMERS_LOOKED_AT) {
                return many < TIMERS_MANY ? heap[0].when : limit;
            }
            near[found++] = child;
        }
    }
    return many < TIMERS_MANY ? heap[0].when : last;
}

int
al_timers_wait(al_loop_head *loop, double *until)
{
    al_timers *timers = &loop->timers;
    double now;

    *until = Py_HUGE_VAL;
    if (!al_timers_find_first(timers)) {
        return 0;
    }
    if (timers_now_between(loop, &now) < 0) { /* may run anything */
        return -1;
    }
    if (!al_timers_find_first(timers)) {
        return 0;
    }
    double first = timers->heap[0].when;
    if (first <= now) {
        *until = 0;
        return 0;
    }
    if (first < now + TIMERS_SLACK) {
        first = timers_share_wait(timers, now + TIMERS_SLACK);
    }
    *until = first;
    if (AL_UNLIKELY(loop->overrides & AL_OVERRIDES_TIME)) {
        *until = al_timers_clock() + (first - now);
    }
    return 0;
}

/* --- lifetime ----------------------------------------------------------- */

void
al_timers_clear(al_loop_head *loop)
{
    al_timers *timers = &loop->timers;

    /* Dropping a handle may run code that arms or cancels timers: take out one
     * at a time. */
    while (timers->count > 0) {
        PyObject *handle = timers->heap[--timers->count].handle;
        loop->newest_handle = NULL; /* it may be this handle: handle.c (3) */
        if (handle == NULL) {
            timers->holes--;
            continue;
        }
        TimerHandleObject_CAST(handle)->index = -1;
        Py_DECREF(handle);
    }
    PyMem_Free(timers->places);
    timers->places = timers->heap = NULL;
    timers->capacity = 0;
}
