/* loop_queues.c - loop._ready and loop._scheduled, as BaseEventLoop has them.
 *
 *     loop._ready      a view of the ready queue: what is put into it runs
 *     loop._scheduled  a list, a heap of TimerHandles
 *
 * If the program puts another queue in the place of loop._ready, the loop is
 * patched, and what is pushed moves to that queue.
 *
 * heapq works on lists, and on nothing that looks like one.  So when the
 * program reads loop._scheduled, all timers move to a list, and the loop is
 * patched while they are there: its turns are asyncio's own, which take them
 * from that list.  The heap in C has them again when nobody but the loop knows
 * the list.  A TimerHandle of asyncio's own that is in the list gets one of
 * ours in the heap, whose callback is run_late(handle) of _patches.py.
 *
 * A program that reads loop._scheduled often would move the timers in each
 * turn.  So the more often that happens, the more turns they stay in the list.
 *
 * Invariant
 *   (1) scheduled != NULL  =>  is_patched is set before the next turn. */
#include "loop/loop.h"

#include "loop/entry.h"
#include "loop/ready_view.h"
#include "sched/handle.h"
#include "sched/timers.h"

/* The most turns for which timers stay in the list of the program. */
#define QUEUES_MOST_TURNS 255

/* Whether nobody but the caller's owner has the object. */
static inline bool
queues_is_ours_alone(PyObject *op)
{
#if AL_FREE_THREADED
    return PyUnstable_Object_IsUniquelyReferenced(op);
#else
    return Py_REFCNT(op) == 1;
#endif
}

/* --- another queue in the place of loop._ready --------------------------- */

/* Move what was pushed to the program's queue: 0, or -1 with an exception
 * set. */
static int
queues_move_ready(LoopObject *self)
{
    al_loop_head *head = &self->head;
    int rc = 0;

    while (rc == 0 && self->ready != NULL && head->ready.count > 0) {
        al_entry entry = al_ready_pop(head, &head->ready);
        PyObject *queue = Py_NewRef(self->ready);
        PyObject *handle = al_loop_make_handle(self, &entry);
        AL_TALLY(head->steps, 1);
        PyObject *result = handle == NULL
                               ? NULL
                               : PyObject_CallMethodOneArg(
                                     queue, head->state->names.append, handle);
        rc = result == NULL ? -1 : 0;
        Py_XDECREF(result);
        Py_XDECREF(handle);
        Py_DECREF(queue);
        Py_DECREF(entry.object);
    }
    return rc;
}

/* Queue each handle of a list: 0, or -1 with MemoryError set. */
static int
queues_push_all(LoopObject *self, PyObject *handles)
{
    al_loop_head *head = &self->head;
    int rc = 0;

    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(handles); i++) {
        PyObject *handle = PyList_GET_ITEM(handles, i);
        al_handle_expose(head->state, handle);
        rc = al_ready_push(head, al_loop_run_of(head, handle), handle);
    }
    return rc;
}

/* Nobody else has the plain deque that the program has put in the place of
 * loop._ready: queue its handles. 0, or -1 with an exception set. */
static int
queues_take_ready(LoopObject *self)
{
    PyObject *handles = PySequence_List(self->ready);

    if (handles == NULL) {
        return -1;
    }
    int rc = queues_push_all(self, handles);
    Py_DECREF(handles);
    if (rc == 0) {
        Py_CLEAR(self->ready);
    }
    return rc;
}

PyObject *
al_loop_get_ready(PyObject *op, void *Py_UNUSED(closure))
{
    LoopObject *self = LoopObject_CAST(op);

    if (AL_LIKELY(self->ready == NULL)) {
        return al_ready_view_new(self);
    }
    int may_reach = al_loop_may_reach(self);
    if (may_reach < 0 || (may_reach > 0 && queues_move_ready(self) < 0)) {
        return NULL;
    }
    return self->ready == NULL ? al_ready_view_new(self)
                               : Py_NewRef(self->ready);
}

/* The program puts its own queue in the place of ours. It has taken the handles
 * that it wants; but if it has a view of ours, it may put that back. 0, or -1
 * with an exception set. */
static int
queues_replace_ready(LoopObject *self, PyObject *queue)
{
    if (self->ready == NULL) {
        PyObject *view =
            AL_LOAD(self->views) > 0 ? al_ready_view_new(self) : NULL;
        if (view == NULL) {
            if (PyErr_Occurred()) {
                return -1;
            }
            al_ready_clear(&self->head, &self->head.ready);
        }
        else {
            Py_XSETREF(self->ready_aside, al_ready_view_take(view, NULL));
            Py_DECREF(view);
            if (self->ready_aside == NULL) {
                return -1;
            }
        }
    }
    Py_XSETREF(self->ready, Py_NewRef(queue));
    return 0;
}

/* It puts ours back. 0, or -1 with an exception set. */
static int
queues_restore_ready(LoopObject *self)
{
    PyObject *aside = self->ready_aside; /* moved */

    self->ready_aside = NULL;
    Py_CLEAR(self->ready);
    int rc = aside == NULL ? 0 : queues_push_all(self, aside);
    Py_XDECREF(aside);
    return rc;
}

int
al_loop_set_ready(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    LoopObject *self = LoopObject_CAST(op);
    int rc;

    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_ready cannot be deleted");
        return -1;
    }
    if (al_loop_reach(self) < 0) {
        return -1;
    }
    if (value == Py_None) { /* __init__(): it is ours */
        rc = queues_restore_ready(self);
    }
    else if (!PyObject_TypeCheck(value, self->head.state->ReadyQueueType)) {
        rc = queues_replace_ready(self, value);
    }
    else if (al_ready_view_loop(value) == self) {
        rc = self->ready == NULL ? 0 : queues_restore_ready(self);
    }
    else {
        PyErr_SetString(PyExc_ValueError, "the queue of another loop");
        return -1;
    }
    al_loop_look_soon(self);
    self->head.is_patched |= self->ready != NULL;
    al_loop_update_direct(&self->head);
    return rc;
}

/* --- timers in a list ---------------------------------------------------- */

/* function(loop, handle) of _patches.py: 0, or -1 with an exception set. */
static int
queues_call(LoopObject *self, PyObject *function, PyObject *handle)
{
    PyObject *stack[] = {(PyObject *)self, handle};
    PyObject *result = PyObject_Vectorcall(function, stack, 2, NULL);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* What the list shows of a timer that is not in the heap any more: itself, or
 * asyncio's handle for which it stands. -> new reference, or NULL. */
static PyObject *
queues_show_timer(LoopObject *self, TimerHandleObject *timer)
{
    al_state *state = self->head.state;

    al_handle_expose(state, (PyObject *)timer);
    if (AL_LIKELY(timer->base.callback != state->imports.run_late)) {
        timer->index = AL_TIMER_IN_LIST;
        return Py_NewRef((PyObject *)timer);
    }
    PyObject *args = al_handle_arguments(&timer->base);
    if (args == NULL) {
        return NULL;
    }
    PyObject *handle = Py_NewRef(PyTuple_GET_ITEM(args, 1));
    Py_DECREF(args);
    if (queues_call(self, state->imports.forget_late, handle) < 0) {
        Py_CLEAR(handle);
    }
    return handle;
}

/* Move the timers of the heap to the list: 0, or -1 with an exception set. */
static int
queues_move_timers(LoopObject *self)
{
    al_loop_head *head = &self->head;
    PyObject *list = Py_NewRef(self->scheduled);
    Py_ssize_t before = PyList_GET_SIZE(list);
    PyObject *timer;
    int rc = 0;

    while (rc == 0 && (timer = al_timers_take(head)) != NULL) {
        PyObject *handle =
            queues_show_timer(self, TimerHandleObject_CAST(timer));
        rc = handle == NULL ? -1 : PyList_Append(list, handle);
        Py_XDECREF(handle);
        Py_DECREF(timer);
    }
    /* They came in the order of their deadlines: the list is a heap, unless
     * there was something in it. */
    if (rc == 0 && before > 0 && PyList_GET_SIZE(list) > before) {
        rc = PyList_Sort(list); /* calls their __lt__() */
    }
    Py_DECREF(list);
    return rc;
}

PyObject *
al_loop_get_scheduled(PyObject *op, void *Py_UNUSED(closure))
{
    LoopObject *self = LoopObject_CAST(op);

    if (self->scheduled == NULL) {
        self->scheduled = PyList_New(0);
        if (self->scheduled == NULL) {
            return NULL;
        }
        self->timers_rest =
            Py_MIN(2 * self->timers_rest + 1, QUEUES_MOST_TURNS);
        self->timers_out = self->timers_rest;
        al_loop_look_soon(self);
        self->head.is_patched = true; /* (1) */
        al_loop_update_direct(&self->head);
    }
    if (queues_move_timers(self) < 0) {
        return NULL;
    }
    return Py_NewRef(self->scheduled);
}

int
al_loop_set_scheduled(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    LoopObject *self = LoopObject_CAST(op);

    if (value == Py_None) { /* __init__(): the heap has the timers */
        Py_CLEAR(self->scheduled);
        al_loop_look_soon(self);
        return 0;
    }
    if (value == NULL || !PyList_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "_scheduled must be a list");
        return -1;
    }
    /* The program has taken the timers that it wants. */
    PyObject *old = al_loop_get_scheduled(op, NULL);
    if (old == NULL) {
        return -1;
    }
    Py_XSETREF(self->scheduled, Py_NewRef(value));
    Py_DECREF(old);
    return 0;
}

/* Arm what is in the list: a timer of ours itself, one of ours for any other.
 * 0, or -1 with an exception set. */
static int
queues_arm_again(LoopObject *self, PyObject *timer)
{
    al_loop_head *head = &self->head;

    if (!Py_IS_TYPE(timer, head->state->TimerHandleType) ||
        HandleObject_CAST(timer)->loop != head)
    {
        return queues_call(self, head->state->imports.arm_late, timer);
    }
    if (TimerHandleObject_CAST(timer)->index != AL_TIMER_IN_LIST) {
        return 0;
    }
    TimerHandleObject_CAST(timer)->index = -1;
    return HandleObject_CAST(timer)->is_cancelled
               ? 0
               : al_timers_arm(head, TimerHandleObject_CAST(timer));
}

/* Whether all in the list are timers of ours, the earliest first. */
static bool
queues_is_sorted(const LoopObject *self, PyObject *list)
{
    double last = -Py_HUGE_VAL;

    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *timer = PyList_GET_ITEM(list, i);
        if (!Py_IS_TYPE(timer, self->head.state->TimerHandleType) ||
            !(TimerHandleObject_CAST(timer)->when >= last))
        {
            return false;
        }
        last = TimerHandleObject_CAST(timer)->when;
    }
    return true;
}

/* Nobody else has the list: arm its timers, the earliest first, so that equal
 * deadlines keep their order. 0, or -1 with an exception set. */
static int
queues_take_timers(LoopObject *self)
{
    PyObject *list = Py_NewRef(self->scheduled);
    int rc = 0;

    if (!queues_is_sorted(self, list) && PyList_Sort(list) < 0) {
        Py_DECREF(list);
        return -1;
    }
    Py_CLEAR(self->scheduled);
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(list); i++) {
        rc = queues_arm_again(self, PyList_GET_ITEM(list, i));
    }
    Py_DECREF(list);
    return rc;
}

/* --- giving and taking back ---------------------------------------------- */

int
al_loop_hand_on(LoopObject *self, bool with_timers)
{
    int may_reach = al_loop_may_reach(self);

    if (may_reach <= 0) {
        return may_reach; /* 0: the thread that runs the loop does it */
    }
    if (self->ready != NULL && queues_move_ready(self) < 0) {
        return -1;
    }
    return !with_timers || self->scheduled == NULL ? 0
                                                   : queues_move_timers(self);
}

int
al_loop_take_back(LoopObject *self)
{
    const al_state *state = self->head.state;

    if (self->ready_aside != NULL && AL_LOAD(self->views) == 0) {
        Py_CLEAR(self->ready_aside); /* nobody can put it back */
    }
    if (self->ready != NULL && self->ready_aside == NULL &&
        queues_is_ours_alone(self->ready) &&
        (PyObject *)Py_TYPE(self->ready) == state->imports.deque &&
        queues_take_ready(self) < 0)
    {
        return -1;
    }
    /* As long as turns are asyncio's own they need the list. */
    if (self->scheduled != NULL && queues_is_ours_alone(self->scheduled) &&
        (self->patches & ~AL_PATCHES_RUN_ONCE) == 0 && self->ready == NULL)
    {
        if (self->timers_out > 0) {
            self->timers_out--;
            return 0;
        }
        return queues_take_timers(self);
    }
    return 0;
}

void
al_loop_drop_queues(LoopObject *self)
{
    Py_CLEAR(self->ready);
    Py_CLEAR(self->ready_aside);
    Py_CLEAR(self->scheduled);
}

/* --- Python: more of what BaseEventLoop and its turns need ---------------- */

PyDoc_STRVAR(Loop__hand_on_doc,
             "_hand_on($self, /)\n--\n\n"
             "Move what was queued to the queue that is in the place of "
             "_ready, if one is.");

static PyObject *
Loop__hand_on(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (al_loop_hand_on(LoopObject_CAST(op), true) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

AL_LOCKS(Loop__hand_on, al_loop_lock)
AL_LOCKS_GETTER(al_loop_get_ready, al_loop_lock)
AL_LOCKS_SETTER(al_loop_set_ready, al_loop_lock)
AL_LOCKS_GETTER(al_loop_get_scheduled, al_loop_lock)
AL_LOCKS_SETTER(al_loop_set_scheduled, al_loop_lock)

PyMethodDef al_loop_queues_methods[] = {
    {"_hand_on", AL_LOCKED(Loop__hand_on), METH_NOARGS, Loop__hand_on_doc},
    {NULL, NULL, 0, NULL}};
