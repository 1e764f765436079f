/* inspect.c - shows the queues to debuggers, tests and the garbage collector.
 *
 * The ready queue and the timers know nothing of the objects in them.  Most
 * objects are handles that the collector does not track yet (handle.c).  Code
 * that gives them to Python has to track them first. */
#include "sched/inspect.h"

#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/timers.h"

/* Append to a list that Python code gets: 0, or -1 with an exception set. */
static int
inspect_show(al_state *state, PyObject *list, PyObject *object)
{
    al_handle_expose(state, object);
    return PyList_Append(list, object);
}

PyObject *
al_inspect_ready(al_loop_head *loop)
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list != NULL && i < loop->ready.count; i++) {
        PyObject *object = al_queue_object(&loop->ready, i);
        if (inspect_show(loop->state, list, object) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

PyObject *
al_inspect_timers(al_loop_head *loop)
{
    PyObject *list = PyList_New(0);

    (void)al_timers_find_first(&loop->timers);
    for (Py_ssize_t i = 0; list != NULL && i < loop->timers.count; i++) {
        PyObject *handle = loop->timers.heap[i].handle;
        if (handle != NULL && inspect_show(loop->state, list, handle) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

void
al_inspect_track_shared(al_loop_head *loop)
{
    if (AL_FREE_THREADED) {
        return; /* all are tracked */
    }
    for (size_t i = 0; i < loop->ready.count; i++) {
        al_handle_track_if_shared(loop->state,
                                  al_queue_object(&loop->ready, i));
    }
    for (Py_ssize_t i = 0; i < loop->timers.count; i++) {
        if (loop->timers.heap[i].handle != NULL) {
            al_handle_track_if_shared(loop->state,
                                      loop->timers.heap[i].handle);
        }
    }
}

int
al_inspect_traverse(al_loop_head *loop, visitproc visit, void *arg)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < loop->ready.count; i++) {
        rc = al_handle_traverse_queued(
            loop->state, al_queue_object(&loop->ready, i), visit, arg);
    }
#if AL_FREE_THREADED
    for (size_t i = 0; rc == 0 && i < loop->inbox.queue.count; i++) {
        Py_VISIT(al_queue_object(&loop->inbox.queue, i));
    }
#endif
    for (Py_ssize_t i = 0; rc == 0 && i < loop->timers.count; i++) {
        PyObject *handle = loop->timers.heap[i].handle;
        if (handle != NULL) {
            rc = al_handle_traverse_queued(loop->state, handle, visit, arg);
        }
    }
    return rc;
}
