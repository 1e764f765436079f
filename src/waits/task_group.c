/* task_group.c - asyncio.TaskGroup: waits for its tasks.
 *
 *     create_task() --> tasks --_on_task_done()--> the last one: completed
 *                                                          |
 *     __aexit__() waits while there are tasks <------------+
 *
 * Here is what happens while all goes well.  If a task fails, if the block
 * raises, if the parent task is cancelled, and if a loop or a task of another
 * type is involved, then asyncio's own Python code does it, on the attributes
 * of the C struct.  So what becomes of exceptions and of requests to cancel is
 * what the running Python does.
 *
 * __aexit__() may have waited already when that happens.  Then asyncio's
 * coroutine is brought to where it would be, at the same wait
 * (group_catch_up()), and goes on from there. */
#include "waits/task_group.h"

#include "base/args.h"
#include "base/call.h"
#include "base/errors.h"
#include "primitives/field.h"
#include "task/future.h"
#include "task/registry.h"
#include "task/task.h"
#include "waits/clock.h"

typedef struct {
    al_primitive head; /* without waiters */
    PyObject *parent;  /* owned: the task it was entered in, NULL <=> None */
    PyObject *tasks;   /* owned set, NULL <=> none yet; else of any type */
    PyObject *errors;  /* owned list, NULL <=> none yet; or None at the end */
    PyObject *base_error; /* owned, NULL <=> None */
    PyObject *completed; /* owned future that __aexit__() waits for, or NULL */
    bool is_entered;
    bool is_exiting;
    bool is_aborting;
    bool has_cancelled_parent;
    bool cancels_on_enter; /* of 3.15 */
} GroupObject;

#define GroupObject_CAST(op) ((GroupObject *)(op))

/* --- tasks ------------------------------------------------------------------- */

/* Keep a new object (stolen, or NULL: an exception is set) in a field that was
 * NULL; making it may have run a finaliser that has filled the field. -> what
 * is in the field, borrowed, or NULL. */
static PyObject *
group_keep(PyObject **field, PyObject *made)
{
    if (made != NULL && *field == NULL) {
        return *field = made;
    }
    Py_XDECREF(made);
    return made == NULL ? NULL : *field;
}

/* The set of tasks. -> borrowed, or NULL with an exception set. */
static PyObject *
group_get_tasks(GroupObject *self)
{
    return self->tasks != NULL ? self->tasks
                               : group_keep(&self->tasks, PySet_New(NULL));
}

/* How many tasks there are, or -1: the set is none, ask Python. */
static inline Py_ssize_t
group_count(const GroupObject *self)
{
    if (self->tasks == NULL) {
        return 0;
    }
    return PyAnySet_CheckExact(self->tasks) ? PySet_GET_SIZE(self->tasks) : -1;
}

/* Whether nothing has gone wrong yet. */
static bool
group_is_well(const GroupObject *self)
{
    return !self->has_cancelled_parent && self->base_error == NULL &&
           (self->errors == NULL || (PyList_CheckExact(self->errors) &&
                                     PyList_GET_SIZE(self->errors) == 0));
}

/* --- create_task() -------------------------------------------------------------- */

/* Whether the arguments are a coroutine, and perhaps name= and context=. */
static bool
group_parse(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
            PyObject **name, PyObject **context)
{
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);

    *name = *context = NULL;
    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_EqualToUTF8(key, "name")) {
            *name = args[nargs + i];
        }
        else if (PyUnicode_EqualToUTF8(key, "context")) {
            *context = args[nargs + i];
        }
        else {
            return false;
        }
    }
    return nargs == 1;
}

/* Call asyncio's create_task(). -> new reference, or NULL. */
AL_COLD static PyObject *
group_create_as_stock(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    al_state *state = al_primitive_CAST(op)->state;
    size_t total = (size_t)nargs +
                   (kwnames == NULL ? 0 : (size_t)PyTuple_GET_SIZE(kwnames));
    PyObject *method = PyObject_GetAttr(state->imports.stock_task_group,
                                        state->names.create_task);
    PyObject **stack = PyMem_New(PyObject *, total + 1);
    PyObject *task = NULL;

    if (stack == NULL) {
        PyErr_NoMemory();
    }
    else if (method != NULL) {
        stack[0] = op;
        memcpy(stack + 1, args, total * sizeof(*stack));
        task = PyObject_Vectorcall(method, stack, (size_t)nargs + 1, kwnames);
    }
    PyMem_Free(stack);
    Py_XDECREF(method);
    return task;
}

static PyMethodDef group_done_method; /* _on_task_done(), defined below */

/* Add a new task: 0, or -1 with an exception set. */
static int
group_add(GroupObject *self, PyObject *task)
{
    al_state *state = self->head.state;
    PyObject *tasks = group_get_tasks(self);

    if (tasks == NULL ||
        al_registry_begin_await(state, task, self->parent) < 0 ||
        PySet_Add(tasks, task) < 0)
    {
        return -1;
    }
    PyObject *callback = PyCFunction_New(&group_done_method, (PyObject *)self);
    PyObject *context = callback == NULL ? NULL : PyContext_CopyCurrent();
    int rc =
        context == NULL ? -1 : al_future_add_callback(task, callback, context);
    Py_XDECREF(context);
    Py_XDECREF(callback);
    return rc;
}

PyDoc_STRVAR(Group_create_task_doc,
             "create_task($self, coro, /, **kwargs)\n--\n\n"
             "Make a task of a coroutine, which the group waits for. The "
             "keyword arguments are\nthose of the running Python: `name`, "
             "`context` and so on.");

static PyObject *
Group_create_task(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    GroupObject *self = GroupObject_CAST(op);
    PyObject *name, *context;
    int is_plain = al_primitive_is_plain(op, AL_TASK_GROUP);

    if (is_plain < 0) {
        return NULL;
    }
    al_loop_head *loop = al_task_direct_loop(self->head.loop);
    if (AL_UNLIKELY(!is_plain || loop == NULL || !self->is_entered ||
                    self->is_aborting || self->parent == NULL ||
                    !Py_IS_TYPE(self->parent, loop->state->TaskType) ||
                    group_count(self) < 0 ||
                    (self->is_exiting && group_count(self) == 0) ||
                    !group_parse(args, nargs, kwnames, &name, &context)))
    {
        return group_create_as_stock(op, args, nargs, kwnames);
    }
    PyObject *task = al_task_new(loop, args[0], name, context, false);
    if (task != NULL && group_add(self, task) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

/* --- _on_task_done() ---------------------------------------------------------------- */

/* Whether asyncio's code has to look at the task, because it has failed or is
 * not ours. */
static bool
group_task_is_odd(const GroupObject *self, PyObject *task)
{
    al_state *state = self->head.state;

    if (!Py_IS_TYPE(task, state->TaskType) || self->parent == NULL ||
        !Py_IS_TYPE(self->parent, state->TaskType) || group_count(self) < 0)
    {
        return true;
    }
    const al_future *future = al_future_of(task);
    if (future->state == AL_FUTURE_PENDING ||
        (future->state == AL_FUTURE_FINISHED && future->exception != NULL))
    {
        return true;
    }
    return self->completed != NULL &&
           !al_future_check_exact(state, self->completed);
}

PyDoc_STRVAR(Group_on_task_done_doc, "_on_task_done($self, task, /)\n--\n\n"
                                     "A task of the group is done.");

static PyObject *
Group_on_task_done(PyObject *op, PyObject *task)
{
    GroupObject *self = GroupObject_CAST(op);
    int is_plain = al_primitive_is_plain(op, AL_TASK_GROUP);

    if (is_plain < 0) {
        return NULL;
    }
    if (AL_UNLIKELY(!is_plain || group_task_is_odd(self, task))) {
        return al_primitive_call_stock(op, AL_TASK_GROUP, "_on_task_done",
                                       &task, 1);
    }
    Py_INCREF(task);
    PyObject *parent = Py_NewRef(self->parent);
    int rc = self->tasks == NULL ? 0 : PySet_Discard(self->tasks, task);
    if (rc >= 0) {
        rc = al_registry_end_await(self->head.state, task, parent);
    }
    PyObject *completed = self->completed;
    if (rc == 0 && completed != NULL && group_count(self) == 0 &&
        !al_future_is_done(completed))
    {
        Py_INCREF(completed);
        rc = al_future_set_result(completed, Py_True);
        Py_DECREF(completed);
    }
    Py_DECREF(parent);
    Py_DECREF(task);
    return al_call_none(rc);
}

/* --- __aenter__() -------------------------------------------------------------------- */

static al_outcome
group_enter_as_stock(al_awaitable *await)
{
    return al_awaitable_wait_stolen(
        await, al_primitive_call_stock(await->owner, AL_TASK_GROUP,
                                       "__aenter__", NULL, 0));
}

static al_outcome
group_enter_start(al_awaitable *await, PyObject **result)
{
    GroupObject *self = GroupObject_CAST(await->owner);

    if (self->is_entered || self->head.loop != NULL || self->cancels_on_enter)
    {
        return group_enter_as_stock(await);
    }
    PyObject *loop = al_clock_running_loop(await->state);
    PyObject *task =
        loop == NULL ? NULL : al_clock_current_task(await->state, loop);
    if (task == NULL || task == Py_None) {
        Py_XDECREF(task);
        Py_XDECREF(loop);
        return task == NULL ? AL_RAISES : group_enter_as_stock(await);
    }
    Py_XSETREF(self->head.loop, loop);
    Py_XSETREF(self->parent, task);
    self->is_entered = true;
    return al_awaitable_return(await->owner, result);
}

static const al_operation group_enter_operation = {
    "TaskGroup.__aenter__", group_enter_start, al_awaitable_hand_on};

PyDoc_STRVAR(Group_aenter_doc, "__aenter__($self, /)\n--\n\n"
                               "Begin: tasks may be made from now on.");

static PyObject *
Group_aenter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_TASK_GROUP, &group_enter_operation,
                              "__aenter__", NULL);
}

/* --- __aexit__() ----------------------------------------------------------------------- */

/* The places of the operation. */
enum { GROUP_WAITS, GROUP_AS_STOCK };

/* asyncio's coroutine __aexit__(), with the arguments in a tuple (NULL: None,
 * None, None). -> new reference, or NULL. */
static PyObject *
group_stock_exit(PyObject *op, PyObject *arguments)
{
    PyObject *none[3] = {Py_None, Py_None, Py_None};

    return al_primitive_call_stock(
        op, AL_TASK_GROUP, "__aexit__",
        arguments == NULL ? none : &PyTuple_GET_ITEM(arguments, 0), 3);
}

/* Step asyncio's coroutine to its first wait. It must not see what has
 * happened since ours was there: it gets a task to wait for, and no request
 * to cancel the parent. 0, or -1 with an exception set. */
static int
group_step_to_wait(GroupObject *self, PyObject *coro)
{
    PyObject *tasks = self->tasks, *yielded;
    bool has_cancelled_parent = self->has_cancelled_parent;

    self->tasks = PyTuple_Pack(1, Py_None);
    if (self->tasks == NULL) {
        self->tasks = tasks;
        return -1;
    }
    self->has_cancelled_parent = false;
    PySendResult sent = PyIter_Send(coro, Py_None, &yielded);
    self->has_cancelled_parent = has_cancelled_parent;
    Py_XSETREF(self->tasks, tasks);
    if (sent == PYGEN_ERROR) {
        return -1;
    }
    Py_DECREF(yielded);
    if (sent == PYGEN_RETURN) {
        PyErr_SetString(PyExc_RuntimeError, "TaskGroup.__aexit__() has not "
                                            "waited");
        return -1;
    }
    return 0;
}

/* Something has happened: bring asyncio's coroutine to where we have waited, and
 * await it. `exc` (stolen) is what has ended that wait; NULL: a result. */
AL_COLD static al_outcome
group_catch_up(al_awaitable *await, PyObject *exc)
{
    GroupObject *self = GroupObject_CAST(await->owner);
    PyObject *coro;

    Py_CLEAR(self->completed); /* it makes a new one, which is pending */
    coro = group_stock_exit(await->owner, NULL);
    int rc = coro == NULL ? -1 : group_step_to_wait(self, coro);
    if (rc == 0 && exc == NULL) {
        PyObject *completed = Py_XNewRef(self->completed);
        rc = completed == NULL
                 ? 0
                 : al_waiter_set_result(await->state, completed, Py_True);
        Py_XDECREF(completed);
    }
    al_outcome outcome = AL_RAISES;
    if (rc == 0) {
        await->place = GROUP_AS_STOCK;
        outcome = al_awaitable_resume_within(await, coro, exc);
    }
    else if (exc != NULL) {
        al_error_chain(Py_NewRef(exc));
    }
    Py_XDECREF(coro);
    Py_XDECREF(exc);
    return outcome;
}

/* All tasks are done, and nothing has gone wrong. */
static al_outcome
group_finish(al_awaitable *await, PyObject **result)
{
    GroupObject *self = GroupObject_CAST(await->owner);

    if (await->state->imports.task_group_forgets == Py_True) {
        Py_CLEAR(self->parent);
        Py_XSETREF(self->errors, Py_NewRef(Py_None));
    }
    return al_awaitable_return(AL_TASK_GROUP_SUPPRESSES ? Py_True : Py_None,
                               result);
}

/* Wait while there are tasks. */
static al_outcome
group_wait(al_awaitable *await, PyObject **result)
{
    GroupObject *self = GroupObject_CAST(await->owner);
    PyObject *loop = self->head.loop;

    if (group_count(self) == 0) {
        return group_finish(await, result);
    }
    if (self->completed == NULL) {
        PyObject *future = al_loop_is_ours(loop)
                               ? al_future_new(al_loop_head_CAST(loop))
                               : PyObject_CallMethodNoArgs(
                                     loop, await->state->names.create_future);
        if (future == NULL) {
            return AL_RAISES;
        }
        Py_XSETREF(self->completed, future);
    }
    PyObject *completed = Py_NewRef(self->completed);
    al_outcome outcome = al_awaitable_wait(await, completed);
    Py_DECREF(completed);
    return outcome;
}

static al_outcome
group_exit_start(al_awaitable *await, PyObject **result)
{
    GroupObject *self = GroupObject_CAST(await->owner);

    if (await->argument != NULL || self->head.loop == NULL ||
        group_count(self) < 0 || !group_is_well(self))
    {
        await->place = GROUP_AS_STOCK;
        return al_awaitable_wait_stolen(
            await, group_stock_exit(await->owner, await->argument));
    }
    self->is_exiting = true;
    return group_wait(await, result);
}

static al_outcome
group_exit_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    GroupObject *self = GroupObject_CAST(await->owner);

    if (await->place == GROUP_AS_STOCK) {
        return al_awaitable_hand_on(await, value, result);
    }
    if (AL_UNLIKELY(value == NULL || group_count(self) < 0 ||
                    !group_is_well(self)))
    {
        return group_catch_up(await, value == NULL ? PyErr_GetRaisedException()
                                                   : NULL);
    }
    Py_CLEAR(self->completed);
    return group_wait(await, result);
}

static const al_operation group_exit_operation = {
    "TaskGroup.__aexit__", group_exit_start, group_exit_resume};

PyDoc_STRVAR(Group_aexit_doc,
             "__aexit__($self, exc_type, exc, tb, /)\n--\n\n"
             "Wait for the tasks. Raises their exceptions as a group.");

static PyObject *
Group_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return al_primitive_aexit_with(op, AL_TASK_GROUP, &group_exit_operation,
                                   args, nargs);
}

/* --- Python: attributes -------------------------------------------------------------------- */

static const al_field group_is_entered = {offsetof(GroupObject, is_entered),
                                          "_entered"};
static const al_field group_is_exiting = {offsetof(GroupObject, is_exiting),
                                          "_exiting"};
static const al_field group_is_aborting = {offsetof(GroupObject, is_aborting),
                                           "_aborting"};
static const al_field group_has_cancelled_parent = {
    offsetof(GroupObject, has_cancelled_parent), "_parent_cancel_requested"};
static const al_field group_cancels_on_enter = {
    offsetof(GroupObject, cancels_on_enter), "_cancel_on_enter"};
static const al_field group_parent = {offsetof(GroupObject, parent),
                                      "_parent_task"};
static const al_field group_base_error = {offsetof(GroupObject, base_error),
                                          "_base_error"};
static const al_field group_completed = {offsetof(GroupObject, completed),
                                         "_on_completed_fut"};

static PyObject *
Group_get_tasks(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_XNewRef(group_get_tasks(GroupObject_CAST(op)));
}

static int
Group_set_tasks(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_primitive_store(op, &GroupObject_CAST(op)->tasks, value,
                              "_tasks");
}

static PyObject *
Group_get_errors(PyObject *op, void *Py_UNUSED(closure))
{
    GroupObject *self = GroupObject_CAST(op);

    return Py_XNewRef(self->errors != NULL
                          ? self->errors
                          : group_keep(&self->errors, PyList_New(0)));
}

static int
Group_set_errors(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "cannot delete attribute '_errors'");
        return -1;
    }
    Py_XSETREF(GroupObject_CAST(op)->errors, Py_NewRef(value));
    return 0;
}

/* --- Python: lifetime ------------------------------------------------------------------------ */

static int
Group_traverse(PyObject *op, visitproc visit, void *arg)
{
    GroupObject *self = GroupObject_CAST(op);

    Py_VISIT(self->parent);
    Py_VISIT(self->tasks);
    Py_VISIT(self->errors);
    Py_VISIT(self->base_error);
    Py_VISIT(self->completed);
    return al_primitive_traverse(op, visit, arg);
}

static int
Group_clear(PyObject *op)
{
    GroupObject *self = GroupObject_CAST(op);

    Py_CLEAR(self->parent);
    Py_CLEAR(self->tasks);
    Py_CLEAR(self->errors);
    Py_CLEAR(self->base_error);
    Py_CLEAR(self->completed);
    return al_primitive_clear(op);
}

static int
Group_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"TaskGroup.__init__", AL_ARGS(NULL),
                                           0, 0, 0};
    GroupObject *self = GroupObject_CAST(op);

    if (al_args_parse_tuple(&signature, args, kwargs, NULL) < 0) {
        return -1;
    }
    self->is_entered = self->is_exiting = self->is_aborting = false;
    self->has_cancelled_parent = self->cancels_on_enter = false;
    Py_CLEAR(self->head.loop);
    Py_CLEAR(self->parent);
    Py_CLEAR(self->tasks);
    Py_CLEAR(self->errors);
    Py_CLEAR(self->base_error);
    Py_CLEAR(self->completed);
    return 0;
}

/* --- type --------------------------------------------------------------------------------------- */

AL_LOCKS_KEYWORDS(Group_create_task, al_primitive_lock)
AL_LOCKS(Group_on_task_done, al_primitive_lock)

static PyMethodDef group_done_method = {
    "_on_task_done", AL_LOCKED(Group_on_task_done), METH_O, NULL};

static PyMethodDef Group_methods[] = {
    {"create_task", AL_KEYWORDS(AL_LOCKED(Group_create_task)),
     Group_create_task_doc},
    {"_on_task_done", AL_LOCKED(Group_on_task_done), METH_O,
     Group_on_task_done_doc},
    {"__aenter__", Group_aenter, METH_NOARGS, Group_aenter_doc},
    {"__aexit__", (PyCFunction)(void (*)(void))Group_aexit, METH_FASTCALL,
     Group_aexit_doc},
    {NULL, NULL, 0, NULL}};

#define GROUP_ATTRIBUTE(name)                                                 \
    {#name, Group_get##name, Group_set##name, NULL, NULL}

static PyGetSetDef Group_getset[] = {
    {"_loop", al_primitive_get_bound_loop, al_primitive_set_bound_loop, NULL,
     NULL},
    AL_FIELD_BOOL("_entered", group_is_entered),
    AL_FIELD_BOOL("_exiting", group_is_exiting),
    AL_FIELD_BOOL("_aborting", group_is_aborting),
    AL_FIELD("_parent_task", group_parent),
    AL_FIELD_BOOL("_parent_cancel_requested", group_has_cancelled_parent),
    GROUP_ATTRIBUTE(_tasks),
    GROUP_ATTRIBUTE(_errors),
    AL_FIELD("_base_error", group_base_error),
    AL_FIELD("_on_completed_fut", group_completed),
    AL_FIELD_BOOL("_cancel_on_enter", group_cancels_on_enter),
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Group_doc,
             "TaskGroup()\n--\n\n"
             "Makes tasks, and waits for them: asyncio.TaskGroup, of which C "
             "does what happens\nwhile no task fails.");

static PyType_Slot Group_slots[] = {{Py_tp_doc, (void *)Group_doc},
                                    {Py_tp_init, Group_init},
                                    {Py_tp_dealloc, al_primitive_dealloc},
                                    {Py_tp_traverse, Group_traverse},
                                    {Py_tp_clear, Group_clear},
                                    {Py_tp_setattro, al_primitive_setattro},
                                    {Py_tp_methods, Group_methods},
                                    {Py_tp_getset, Group_getset},
                                    {0, NULL}};

static PyType_Spec Group_spec = {
    .name = "asyncloop._core.TaskGroup",
    .basicsize = sizeof(GroupObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = Group_slots,
};

int
al_task_group_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->TaskGroupType = al_state_add_type(module, &Group_spec, NULL);
    return state->TaskGroupType == NULL ? -1 : 0;
}
