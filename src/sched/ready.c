/* ready.c - the ready queue: one FIFO of the entries that run next.
 *
 *     call_soon, woken tasks, fds, due timers ---> queue ---> run(object) */
#include "sched/ready.h"

/* The innermost run in this thread. */
static _Thread_local al_run *ready_run;

int
al_ready_begin_run(al_loop_head *loop, al_run *run)
{
    if (al_loop_runs_elsewhere(loop)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "This event loop is already running");
        return -1;
    }
#if AL_FREE_THREADED
    run->outer_owner = loop->owner;
    AL_STORE(loop->owner, al_thread_id());
#endif
    run->loop = loop;
    run->outer = ready_run;
    ready_run = run;
    return 0;
}

void
al_ready_end_run(al_run *run)
{
    ready_run = run->outer;
#if AL_FREE_THREADED
    AL_STORE(run->loop->owner, run->outer_owner);
#endif
}

int
al_ready_send_held_here(al_state *state)
{
    const al_run *run = ready_run;

    while (run != NULL) {
        al_loop_head *loop = run->loop;
        if (AL_LIKELY(loop->held.object == NULL) || loop->state != state) {
            run = run->outer;
        }
        else if (al_loop_send_held(loop) < 0) { /* may run anything */
            return -1;
        }
    }
    return 0;
}

void
al_ready_clear(al_loop_head *loop, al_queue *ready)
{
    /* Dropping an object may run code that pushes: take one at a time. */
    while (ready->count > 0) {
        al_entry entry = al_ready_pop(loop, ready);
        Py_DECREF(entry.object);
    }
    PyMem_Free(ready->ring);
    *ready = (al_queue){0};
}
