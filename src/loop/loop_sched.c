/* loop_sched.c - the methods that schedule: call_soon(), call_later() and so
 * on, create_future(), create_task(), time(). */
#include "loop/loop.h"

#include "base/args.h"
#include "base/call.h"
#include "io/reactor.h"
#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/timers.h"
#include "task/task.h"

/* --- arguments ----------------------------------------------------------- */

/* The arguments of these methods: ([number,] callback, *args,
 * context=None). */
typedef struct {
    PyObject *number;      /* borrowed delay or deadline, or NULL */
    PyObject *callback;    /* borrowed */
    PyObject *const *args; /* borrowed */
    Py_ssize_t nargs;
    PyObject *context;  /* borrowed, NULL <=> none given */
    double when;        /* of a timer: its deadline */
    PyObject *deadline; /* borrowed: the object that call_at() gets, or NULL:
                         * a float of `when` */
} sched_call;

/* Take one keyword argument: 0, or -1 with TypeError set. */
static int
sched_take_keyword(const char *function, const char *number_name,
                   PyObject *name, PyObject *value, sched_call *call)
{
    PyObject **place = NULL;

    if (PyUnicode_EqualToUTF8(name, "context")) {
        call->context = value == Py_None ? NULL : value;
        return 0;
    }
    if (PyUnicode_EqualToUTF8(name, "callback")) {
        place = &call->callback;
    }
    else if (number_name != NULL && PyUnicode_EqualToUTF8(name, number_name)) {
        place = &call->number;
    }
    if (place == NULL || *place != NULL) {
        PyErr_Format(PyExc_TypeError,
                     place == NULL
                         ? "%s() got an unexpected keyword argument '%U'"
                         : "%s() got multiple values for argument '%U'",
                     function, name);
        return -1;
    }
    *place = value;
    return 0;
}

/* Parse the arguments; `number_name` is NULL for a method without a number.
 * 0, or -1 with TypeError set. */
static inline int
sched_parse(const char *function, const char *number_name,
            PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
            sched_call *call)
{
    Py_ssize_t given = 0;

    *call = (sched_call){NULL, NULL, NULL, 0, NULL, 0, NULL};
    if (number_name != NULL && given < nargs) {
        call->number = args[given++];
    }
    if (given < nargs) {
        call->callback = args[given++];
    }
    call->args = args + given;
    call->nargs = nargs - given;
    if (AL_UNLIKELY(kwnames != NULL)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
            if (sched_take_keyword(function, number_name,
                                   PyTuple_GET_ITEM(kwnames, i),
                                   args[nargs + i], call) < 0)
            {
                return -1;
            }
        }
    }
    if (AL_UNLIKELY(call->callback == NULL ||
                    (number_name != NULL && call->number == NULL)))
    {
        PyErr_Format(
            PyExc_TypeError, "%s() missing required positional argument: '%s'",
            function, call->callback == NULL ? "callback" : number_name);
        return -1;
    }
    return 0;
}

/* Debug mode checks the callback, and unless `any_thread` that we are in the
 * loop's thread. 0, or -1 with an exception set. */
static int
sched_check_debug(al_loop_head *head, PyObject *callback, const char *method,
                  bool any_thread)
{
    al_state *state = head->state;
    PyObject *result;

    if (!any_thread) {
        result = PyObject_CallMethodNoArgs((PyObject *)head,
                                           state->names._check_thread);
        if (result == NULL) {
            return -1;
        }
        Py_DECREF(result);
    }
    result = PyObject_CallMethod((PyObject *)head, "_check_callback", "Os",
                                 callback, method);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* The loop is closed: -1 with RuntimeError set, unless the program has replaced
 * the method that raises it. */
static int
sched_check_closed(al_loop_head *head)
{
    PyObject *result =
        PyObject_CallMethod((PyObject *)head, "_check_closed", NULL);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Check that the loop is open, and in debug mode the callback: 0, or -1 with
 * an exception set. */
static int
sched_check(al_loop_head *head, PyObject *callback, const char *method,
            bool any_thread)
{
    if (AL_LOAD(head->is_closed) && sched_check_closed(head) < 0) {
        return -1;
    }
    return !AL_LOAD(head->is_debug)
               ? 0
               : sched_check_debug(head, callback, method, any_thread);
}

/* --- the long way -------------------------------------------------------- */

/* Whether a method of ours is the one that the class has. 1, 0 or -1. */
static int
sched_is_ours(al_loop_head *head, PyObject *name)
{
    PyObject *ours = PyObject_GetAttr((PyObject *)head->state->LoopType, name);
    PyObject *theirs = PyObject_GetAttr((PyObject *)Py_TYPE(head), name);
    int is_ours = ours == NULL || theirs == NULL ? -1 : ours == theirs;

    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    return is_ours;
}

/* If the loop does not run, the program may have replaced this method in
 * BaseEventLoop since its last turn: then call the loop's method, which is that
 * one now. 1 and the result; 0: it is ours; -1 with an exception set. */
static int
sched_look(al_loop_head *head, PyObject *name, PyObject *const *args,
           Py_ssize_t nargs, PyObject *kwnames, PyObject **result)
{
    LoopObject *self = (LoopObject *)head;

    *result = NULL;
    if (AL_LOAD(head->thread_id) != 0 || AL_LOAD(head->is_closed) ||
        !al_loop_is_stale(self, name == head->state->names.create_task))
    {
        return 0;
    }
    int was_ours = sched_is_ours(head, name);
    if (was_ours < 0 || al_loop_look(self) < 0) {
        return -1;
    }
    int is_ours = was_ours ? sched_is_ours(head, name) : 1;
    if (is_ours != 0) {
        return is_ours < 0 ? -1 : 0;
    }
    PyObject *method = PyObject_GetAttr((PyObject *)head, name);
    if (method != NULL) {
        *result = PyObject_Vectorcall(method, args, (size_t)nargs, kwnames);
        Py_DECREF(method);
    }
    return *result == NULL ? -1 : 1;
}

/* One of the methods that make a handle. */
typedef struct {
    const char *method;
    size_t name; /* offset in al_state of an interned str */
    bool any_thread;
    PyObject *(*make)(al_loop_head *head, const sched_call *call);
} sched_kind;

/* Schedule a call where the loop does not run, is closed, in debug mode or
 * patched. `args` are those of the method. -> new handle, or NULL. */
AL_COLD static PyObject *
sched_slowly(al_loop_head *head, const sched_kind *kind,
             const sched_call *call, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    PyObject *name = *(PyObject **)((char *)head->state + kind->name);
    PyObject *handle;

    int rc = sched_look(head, name, args, nargs, kwnames, &handle);
    if (rc != 0) {
        return handle;
    }
    if (head->overrides & AL_OVERRIDES_HANDLES) {
        return al_loop_call_base(head, name, args, nargs, kwnames);
    }
    if (sched_check(head, call->callback, kind->method, kind->any_thread) < 0)
    {
        return NULL;
    }
    handle = kind->make(head, call);
    if (handle != NULL) {
        AL_LOCK((PyObject *)head); /* call_soon_threadsafe() has not */
        if (al_loop_has_given_queues((LoopObject *)head) &&
            al_loop_hand_on((LoopObject *)head, !kind->any_thread) < 0)
        {
            Py_CLEAR(handle);
        }
        AL_UNLOCK();
    }
    return handle;
}

/* --- call_soon ----------------------------------------------------------- */

PyDoc_STRVAR(Loop_call_soon_doc,
             "call_soon($self, callback, *args, context=None)\n--\n\n"
             "Call callback(*args) in the next turn of the loop.\n\n"
             "Callbacks run in the order they are scheduled, each in "
             "`context`, a\ncontextvars.Context (default: a copy of the "
             "current one). Returns an\nasyncio.Handle. Raises RuntimeError "
             "if the loop is closed; in debug mode also in a\nthread that is "
             "not the loop's, and TypeError for what is no plain callable.");

static inline PyObject *
sched_make_soon(al_loop_head *head, const sched_call *call)
{
    return al_handle_call_soon(head, call->callback, call->args, call->nargs,
                               call->context);
}

static PyObject *
Loop_call_soon(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    static const sched_kind kind = {"call_soon",
                                    offsetof(al_state, names.call_soon), false,
                                    sched_make_soon};
    al_loop_head *head = al_loop_head_CAST(op);
    sched_call call;

    if (sched_parse("call_soon", NULL, args, nargs, kwnames, &call) < 0) {
        return NULL;
    }
    return AL_LIKELY(AL_LOAD(head->is_direct))
               ? sched_make_soon(head, &call)
               : sched_slowly(head, &kind, &call, args, nargs, kwnames);
}

PyDoc_STRVAR(
    Loop_call_soon_threadsafe_doc,
    "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n"
    "Call callback(*args) in the next turn of the loop, from any thread.\n\n"
    "Like call_soon(), and wakes the loop if it sleeps. Returns an "
    "asyncio.Handle.\nRaises RuntimeError if the loop is closed; in debug "
    "mode TypeError for what is no\nplain callable.");

static PyObject *
sched_make_soon_threadsafe(al_loop_head *head, const sched_call *call)
{
    if (al_ready_send_held_here(head->state) < 0) {
        return NULL;
    }
    PyObject *handle = al_handle_call_soon_threadsafe(
        head, call->callback, call->args, call->nargs, call->context);
    if (handle != NULL) {
        al_reactor_wake_if_blocked(head);
    }
    return handle;
}

static PyObject *
Loop_call_soon_threadsafe(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames)
{
    static const sched_kind kind = {
        "call_soon_threadsafe", offsetof(al_state, names.call_soon_threadsafe),
        true, sched_make_soon_threadsafe};
    al_loop_head *head = al_loop_head_CAST(op);
    sched_call call;

    if (sched_parse("call_soon_threadsafe", NULL, args, nargs, kwnames,
                    &call) < 0)
    {
        return NULL;
    }
    return AL_LIKELY(AL_LOAD(head->is_direct))
               ? sched_make_soon_threadsafe(head, &call)
               : sched_slowly(head, &kind, &call, args, nargs, kwnames);
}

/* --- call_later, call_at ------------------------------------------------- */

/* -> new TimerHandle, armed, or NULL with an exception set. */
static inline PyObject *
sched_make_at(al_loop_head *head, const sched_call *call)
{
    return al_handle_call_at(head, call->when, call->deadline, call->callback,
                             call->args, call->nargs, call->context);
}

static const sched_kind sched_at_kind = {
    "call_at", offsetof(al_state, names.call_at), false, sched_make_at};

/* Convert a number to seconds: 0, or -1 with TypeError set. */
static inline int
sched_seconds(PyObject *number, const char *if_none, double *seconds)
{
    if (AL_UNLIKELY(number == Py_None)) {
        PyErr_SetString(PyExc_TypeError, if_none);
        return -1;
    }
    *seconds = PyFloat_AsDouble(number);
    return *seconds == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* Compute call->when = now + delay by Python's `+`: the delay may be of any
 * class. call->deadline is then the sum, and owned, unless the sum is a float.
 * 0, or -1 with an exception set. */
static inline int
sched_deadline(sched_call *call, double now)
{
    PyObject *delay = call->number;

    if (AL_LIKELY(PyFloat_CheckExact(delay) || delay == Py_None)) {
        if (sched_seconds(delay, "delay must not be None", &call->when) < 0) {
            return -1;
        }
        call->when += now;
        return 0;
    }
    PyObject *start = PyFloat_FromDouble(now);
    PyObject *sum = start == NULL ? NULL : PyNumber_Add(start, delay);
    Py_XDECREF(start);
    if (sum == NULL) {
        return -1;
    }
    if (sched_seconds(sum, "when cannot be None", &call->when) < 0) {
        Py_DECREF(sum);
        return -1;
    }
    if (PyFloat_CheckExact(sum)) {
        Py_CLEAR(sum); /* when() makes an equal one */
    }
    call->deadline = sum;
    return 0;
}

PyDoc_STRVAR(Loop_call_at_doc,
             "call_at($self, when, callback, *args, context=None)\n--\n\n"
             "Call callback(*args) when loop.time() reaches `when` (seconds)."
             "\n\nThose of the same time run in the order they are scheduled. "
             "Returns an\nasyncio.TimerHandle. Raises as call_soon() does, "
             "and TypeError if `when` is no number.");

static PyObject *
Loop_call_at(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    al_loop_head *head = al_loop_head_CAST(op);
    sched_call call;

    if (sched_parse("call_at", "when", args, nargs, kwnames, &call) < 0 ||
        sched_seconds(call.number, "when cannot be None", &call.when) < 0)
    {
        return NULL;
    }
    call.deadline = call.number;
    return AL_LIKELY(AL_LOAD(head->is_direct))
               ? sched_make_at(head, &call)
               : sched_slowly(head, &sched_at_kind, &call, args, nargs,
                              kwnames);
}

/* Call self.call_at(when, ...), which may be overridden. */
AL_COLD static PyObject *
sched_call_at_by_name(al_loop_head *head, const sched_call *call)
{
    PyObject **stack = PyMem_New(PyObject *, (size_t)call->nargs + 4);
    PyObject *deadline = call->deadline != NULL
                             ? Py_NewRef(call->deadline)
                             : PyFloat_FromDouble(call->when);
    PyObject *handle = NULL;

    if (stack == NULL) {
        PyErr_NoMemory();
    }
    else if (deadline != NULL) {
        size_t total = 0;
        stack[total++] = (PyObject *)head;
        stack[total++] = deadline;
        stack[total++] = call->callback;
        for (Py_ssize_t i = 0; i < call->nargs; i++) {
            stack[total++] = call->args[i];
        }
        stack[total] = al_or_none(call->context);
        handle =
            PyObject_VectorcallMethod(head->state->names.call_at, stack, total,
                                      head->state->context_kwnames);
    }
    Py_XDECREF(deadline);
    PyMem_Free(stack);
    return handle;
}

PyDoc_STRVAR(Loop_call_later_doc,
             "call_later($self, delay, callback, *args, context=None)\n--\n\n"
             "Call callback(*args) after `delay` seconds.\n\n"
             "Returns an asyncio.TimerHandle. Raises as call_at() does.");

static PyObject *
Loop_call_later(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    al_loop_head *head = al_loop_head_CAST(op);
    PyObject *handle;
    sched_call call;
    double now;

    if (sched_parse("call_later", "delay", args, nargs, kwnames, &call) < 0) {
        return NULL;
    }
    if (AL_UNLIKELY(!AL_LOAD(head->is_direct)) &&
        sched_look(head, head->state->names.call_later, args, nargs, kwnames,
                   &handle) != 0)
    {
        return handle;
    }
    if (al_timers_now(head, &now) < 0 || sched_deadline(&call, now) < 0) {
        return NULL;
    }
    handle = AL_UNLIKELY(!AL_LOAD(head->is_direct) ||
                         (head->overrides & AL_OVERRIDES_CALL_AT))
                 ? sched_call_at_by_name(head, &call)
                 : sched_make_at(head, &call);
    Py_XDECREF(call.deadline);
    return handle;
}

PyDoc_STRVAR(Loop_time_doc,
             "time($self, /)\n--\n\n"
             "Return the loop's clock in seconds: time.monotonic().");

static PyObject *
Loop_time(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(al_timers_clock());
}

/* --- futures and tasks --------------------------------------------------- */

PyDoc_STRVAR(Loop_create_future_doc,
             "create_future($self, /)\n--\n\n"
             "Return a new asyncloop.Future of this loop.");

static PyObject *
Loop_create_future(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_future_make(al_loop_head_CAST(op));
}

/* The arguments of create_task(), each borrowed, NULL <=> not given. */
typedef struct {
    PyObject *coro;
    PyObject *name;
    PyObject *context;
    PyObject *eager_start;
} sched_task;

/* Whether create_task() only has to call Task(): 1 and the value of each
 * argument. 0: call asyncio's own create_task(), because there is a factory,
 * our Task is asyncio's, or an argument is wrong. */
static inline int
sched_task_arguments(al_loop_head *head, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames, sched_task *call)
{
    *call = (sched_task){nargs == 1 ? args[0] : NULL, NULL, NULL, NULL};
    if (head->task_factory != NULL || head->state->TaskType == NULL ||
        nargs > 1)
    {
        return 0;
    }
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_EqualToUTF8(key, "name")) {
            call->name = args[nargs + i];
        }
        else if (PyUnicode_EqualToUTF8(key, "context")) {
            call->context = args[nargs + i];
        }
        else if (AL_CREATE_TASK_KWARGS &&
                 PyUnicode_EqualToUTF8(key, "eager_start"))
        {
            call->eager_start = args[nargs + i];
        }
        else if (nargs == 0 && PyUnicode_EqualToUTF8(key, "coro")) {
            call->coro = args[i];
        }
        else {
            return 0;
        }
    }
    return call->coro != NULL;
}

/* Call BaseEventLoop.create_task(self, ...) of the running Python. The
 * factory's task may make its first step here: treat that as a step of its
 * own. */
static PyObject *
sched_create_task_as_base(al_loop_head *head, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames)
{
    if (al_loop_send_held(head) < 0) {
        return NULL;
    }
    PyObject *task = al_loop_call_base(head, head->state->names.create_task,
                                       args, nargs, kwnames);
    if (task != NULL && al_loop_send_held(head) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

/* Refer to `task` until it is done: as asyncio's documentation has programs do
 * it, by a set and a callback that takes it out. */
AL_COLD static int
sched_add_kept_task(al_loop_head *head, PyObject *task)
{
    PyObject *set = head->kept_tasks; /* as long as the loop */
    PyObject *discard = PyObject_GetAttr(set, head->state->names.discard);
    PyObject *result = NULL;

    if (discard == NULL) {
        return -1;
    }
    /* The callback first: if there is none, the set must not have the task. */
    result = PyObject_CallMethodOneArg(
        task, head->state->names.add_done_callback, discard);
    Py_DECREF(discard);
    return al_call_finish(result) < 0 ? -1 : PySet_Add(set, task);
}

/* Of a new task, which is stolen, or NULL. -> the task, or NULL with an
 * exception set. */
static inline PyObject *
sched_keep_task(al_loop_head *head, PyObject *task)
{
    if (AL_UNLIKELY(head->kept_tasks != NULL) && task != NULL &&
        sched_add_kept_task(head, task) < 0)
    {
        Py_CLEAR(task);
    }
    return task;
}

PyDoc_STRVAR(
    Loop_create_task_doc,
    "create_task($self, coro, *, name=None, context=None, **kwargs)\n"
    "--\n\n"
    "Schedule a coroutine to run as a Task, and return the task.\n\n"
    "It is made by the task factory if there is one, with whatever the "
    "running\nPython's create_task() hands on. `name` is the task's name, "
    "`context` the\ncontextvars.Context it runs in (default: a copy of the "
    "current one). Raises\nRuntimeError if the loop is closed, TypeError for "
    "what is no coroutine.");

static PyObject *
Loop_create_task(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    al_loop_head *head = al_loop_head_CAST(op);
    PyObject *task;
    sched_task call;

    if (AL_UNLIKELY(!AL_LOAD(head->is_direct)) &&
        sched_look(head, head->state->names.create_task, args, nargs, kwnames,
                   &task) != 0)
    {
        return task;
    }
    if (AL_UNLIKELY(!sched_task_arguments(head, args, nargs, kwnames, &call)))
    {
        task = sched_create_task_as_base(head, args, nargs, kwnames);
        return sched_keep_task(head, task);
    }
    int eager_start =
        call.eager_start == NULL ? 0 : PyObject_IsTrue(call.eager_start);
    if (eager_start < 0 || (AL_UNLIKELY(AL_LOAD(head->is_closed)) &&
                            sched_check_closed(head) < 0))
    {
        return NULL;
    }
    task = al_task_new(head, call.coro, call.name, call.context, eager_start);
    return sched_keep_task(head, task);
}

AL_LOCKS_KEYWORDS(Loop_call_at, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_call_later, al_loop_lock)

PyMethodDef al_loop_sched_methods[] = {
    {"call_soon", AL_KEYWORDS(Loop_call_soon), Loop_call_soon_doc},
    {"call_soon_threadsafe", AL_KEYWORDS(Loop_call_soon_threadsafe),
     Loop_call_soon_threadsafe_doc},
    {"call_at", AL_KEYWORDS(AL_LOCKED(Loop_call_at)), Loop_call_at_doc},
    {"call_later", AL_KEYWORDS(AL_LOCKED(Loop_call_later)),
     Loop_call_later_doc},
    {"time", Loop_time, METH_NOARGS, Loop_time_doc},
    {"create_future", Loop_create_future, METH_NOARGS, Loop_create_future_doc},
    {"create_task", AL_KEYWORDS(Loop_create_task), Loop_create_task_doc},
    {NULL, NULL, 0, NULL}};
