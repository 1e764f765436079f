/* turn.c - one turn of the loop: runs what is queued as it begins.
 *
 *     ready queue ---> leave the last task ---> run(object) ---> send what is held
 *
 * Invariant
 *   (1) An entry is taken out before it runs, so running it may push, clear or
 *       grow the queue. For the same reason the task that stepped last is left,
 *       which may run anything, while the entry is still in. */
#include "sched/turn.h"

#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "sched/timers.h"

/* Whether the task that stepped last has to be left before `next` runs. One
 * task enters in the place of another, but not if that is the other's end,
 * with none but us and the interpreter to hold it: its finalisers must
 * not find its successor as the current task, and in that one's context. */
static inline bool
turn_must_leave(const al_loop_head *loop, const al_entry *next)
{
    return loop->current_task != NULL &&
           (next->run != loop->step || Py_REFCNT(loop->current_task) <= 2);
}

/* A step is over, with `rc`: send what it has left held. */
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

/* Run one entry as debug mode wants it: its handle is known to the exception
 * handler, and it is logged when it took too long. */
static int
turn_run_debug(al_loop_head *loop, al_entry entry)
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
        rc = turn_end_step(loop, entry.run(loop, entry.object));
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
turn_run_entries(al_loop_head *loop, int (*between)(al_loop_head *loop))
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
        if (turn_must_leave(loop, &ready->ring[ready->head])) {
            if (AL_UNLIKELY(loop->leave_task(loop) < 0)) {
                return -1;
            }
            continue; /* the queue may be another */
        }
        al_entry entry = al_ready_pop(loop, ready); /* by (1) */
        int rc;

        todo--;
        loop->steps++;
        if (AL_UNLIKELY(loop->is_debug)) {
            rc = turn_run_debug(loop, entry);
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

    loop->turn++;
    loop->is_in_turn = true;
    int rc = turn_run_entries(loop, between);
    loop->is_in_turn = false;
    /* By the longer of two turns: one that was long may be one of many. */
    al_ready_cut(&loop->ready, Py_MAX(begun, loop->ready.count));
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
