/* turn.c - one turn of the loop: runs the entries that are queued as it
 * begins.
 *
 *     ready queue ---> leave the last task ---> run(object) ---> send held bytes
 *
 * Invariant
 *   (1) While user code runs, the queue is consistent, so that it may be
 *       pushed to, cleared or grown. So an entry is taken out before it runs.
 *       Leaving the last task may run anything, too: that is done before the
 *       next entry is taken out. */
#include "sched/turn.h"

#include "sched/handle.h"
#include "sched/metrics_sum.h"
#include "sched/profile.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "sched/timers.h"

/* Whether the current task has to be left before `next` runs. If `next` is a
 * step of a task, that task replaces the current one. But if only we and the
 * interpreter own the current task, leave it first: otherwise its finalisers
 * would run as part of the next task, in that task's context. */
static inline bool
turn_must_leave(const al_loop_head *loop, const al_entry *next)
{
    return loop->current_task != NULL &&
           (next->run != loop->step || Py_REFCNT(loop->current_task) <= 2);
}

/* A step has returned `rc`: send the bytes that it left held. */
static inline int
turn_end_step(al_loop_head *loop, int rc)
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

/* Run one entry in debug mode: the exception handler can show its handle
 * (current_handle), and it is logged if it took too long. */
static int
turn_run_debug(al_loop_head *loop, al_entry entry)
{
    bool is_handle = al_handle_check(loop->state, entry.object);
    if (is_handle) {
        al_handle_expose(loop->state, entry.object);
        if (HandleObject_CAST(entry.object)->is_cancelled) {
            return 0; /* another thread's cancel() may be making the repr */
        }
        Py_XSETREF(loop->current_handle, Py_NewRef(entry.object));
    }
    double start, end; /* by the loop's clock, which may be overridden */
    int rc = al_timers_now(loop, &start);
    if (rc == 0) {
        rc = turn_end_step(loop, entry.run(loop, entry.object));
    }
    if (rc == 0) {
        rc = al_timers_now(loop, &end);
    }
    PyObject *raised = PyErr_GetRaisedException();
    Py_CLEAR(loop->current_handle); /* may run anything */
    PyErr_SetRaisedException(raised);
    if (rc == 0) {
        rc = al_loop_leave_task(loop); /* the log entry is not the task's */
    }
    if (rc == 0) {
        rc = al_report_slow(loop, entry.object, end - start);
    }
    return rc;
}

/* Run one entry outside of debug mode, and log it if it took too long. */
static int
turn_run_timed(al_loop_head *loop, al_entry entry, uint64_t *cycles)
{
    uint64_t begin = al_cycles();
    int rc = turn_end_step(loop, entry.run(loop, entry.object));

    *cycles = al_cycles() - begin;
    if (rc < 0 || *cycles < loop->slow_cycles) {
        return rc;
    }
    al_handle_expose(loop->state, entry.object);
    return al_loop_leave_task(loop) < 0
               ? -1
               : al_report_log_slow(loop, entry.object,
                                    (double)*cycles *
                                        al_metrics_cycle_length(loop->state));
}

/* Run one entry while somebody wants to know how long it takes: in debug mode,
 * for a profile, for the log. */
static int
turn_run_watched(al_loop_head *loop, al_entry entry)
{
    bool is_task = false;
    uint64_t cycles;

    if (loop->profiles == NULL) {
        return loop->is_debug ? turn_run_debug(loop, entry)
                              : turn_run_timed(loop, entry, &cycles);
    }
    if (al_loop_leave_task(loop) < 0) { /* the name is not the task's */
        return -1;
    }
    PyObject *name = al_profile_name(loop, entry.object, &is_task);
    if (name == NULL) {
        PyErr_WriteUnraisable(entry.object);
    }
    uint64_t begin = al_cycles();
    int rc;
    if (loop->is_debug) {
        rc = turn_run_debug(loop, entry);
        cycles = al_cycles() - begin;
    }
    else {
        rc = turn_run_timed(loop, entry, &cycles);
    }
    if (name != NULL) {
        PyObject *raised = PyErr_GetRaisedException();
        al_profile_note(loop, name, is_task, cycles);
        Py_DECREF(name);
        PyErr_SetRaisedException(raised);
    }
    return rc;
}

/* al_turn_run_long(); `between` may be NULL. */
static inline int
turn_run_entries(al_loop_head *loop, int (*between)(al_loop_head *loop))
{
    al_queue *ready = &loop->ready;
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
        /* Freeing the last entry may have run a finaliser that wrote. */
        if (AL_UNLIKELY(al_loop_send_held(loop) < 0)) {
            return -1;
        }
        if (turn_must_leave(loop, &ready->ring[ready->head])) {
            if (AL_UNLIKELY(loop->leave_task(loop) < 0)) {
                return -1;
            }
            continue; /* the queue may have changed: look at it again */
        }
        al_entry entry = al_ready_pop(loop, ready); /* by (1) */
        int rc;

        todo--;
        AL_TALLY(loop->steps, 1);
        if (AL_UNLIKELY(loop->times_steps)) {
            rc = turn_run_watched(loop, entry);
        }
        else {
            rc = turn_end_step(loop, entry.run(loop, entry.object));
        }
        Py_DECREF(entry.object); /* may run anything */
        if (AL_UNLIKELY(rc < 0)) {
            return -1;
        }
    }
    return 0;
}

static inline int
turn_run(al_loop_head *loop, int (*between)(al_loop_head *loop))
{
    size_t begun = loop->ready.count;

    AL_TALLY(loop->turn, 1);
    if (AL_UNLIKELY(begun > loop->metrics.most_ready)) {
        AL_STORE(loop->metrics.most_ready, begun);
    }
    loop->is_in_turn = true;
    int rc = turn_run_entries(loop, between);
    loop->is_in_turn = false;
    /* Keep room for the longer of this turn and the next: long turns often
     * come in a row. */
    al_queue_cut(&loop->ready, Py_MAX(begun, loop->ready.count));
    return turn_end_step(loop, rc);
}

int
al_turn_run(al_loop_head *loop)
{
    return turn_run(loop, NULL);
}

int
al_turn_run_long(al_loop_head *loop, int (*between)(al_loop_head *loop))
{
    return turn_run(loop, between);
}
