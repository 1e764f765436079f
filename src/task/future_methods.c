/* future_methods.c - Future to Python: methods, attributes, type. */
#include "task/future_methods.h"

#include "base/args.h"
#include "task/task.h"

/* --- methods that Task shares ------------------------------------------- */

const char Future_result_doc[] =
    "result($self, /)\n--\n\n"
    "Return the result this future represents.\n\n"
    "Raises CancelledError if it was cancelled, the exception if one was "
    "set,\nInvalidStateError if it is not done yet.";

PyObject *
Future_result(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *outcome;

    if (al_future_of(op)->loop == NULL) {
        PyErr_SetString(al_future_state_of(op)->imports.InvalidStateError,
                        "Future object is not initialized.");
        return NULL;
    }
    int rc = al_future_take(op, &outcome);
    if (rc < 0) {
        return NULL;
    }
    if (rc > 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(outcome), outcome);
        Py_DECREF(outcome);
        return NULL;
    }
    return outcome;
}

const char Future_exception_doc[] =
    "exception($self, /)\n--\n\n"
    "Return the exception that was set on this future, or None.\n\n"
    "Raises CancelledError if it was cancelled, InvalidStateError if it is\n"
    "not done yet.";

PyObject *
Future_exception(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_future *self = al_future_of(op);
    al_state *state = al_future_state_of(op);

    if (self->loop == NULL) {
        PyErr_SetString(state->imports.InvalidStateError,
                        "Future object is not initialized.");
        return NULL;
    }
    switch ((al_future_state)self->state) {
    case AL_FUTURE_FINISHED:
        Py_RETURN_NONE;
    case AL_FUTURE_FAILED:
        self->log_traceback = false;
        return Py_NewRef(self->outcome);
    case AL_FUTURE_CANCELLED: {
        PyObject *exc = al_future_make_cancelled_error(op);
        if (exc != NULL) {
            PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
            Py_DECREF(exc);
        }
        return NULL;
    }
    case AL_FUTURE_PENDING:
        break;
    }
    PyErr_SetString(state->imports.InvalidStateError, "Exception is not set.");
    return NULL;
}

const char Future_add_done_callback_doc[] =
    "add_done_callback($self, fn, /, *, context=<unrepresentable>)\n--\n\n"
    "Add a callback to be run when the future becomes done.\n\n"
    "It is called with the future as its only argument, by call_soon(), in\n"
    "`context` (default: a copy of the current one). If the future is done\n"
    "already, it is scheduled at once.";

PyObject *
Future_add_done_callback(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    static const al_signature signature = {"add_done_callback",
                                           AL_ARGS("fn", "context"), 1, 1, 1};
    PyObject *given[2];
    PyObject *context;

    if (al_args_parse(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (al_future_of(op)->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Future object");
        return NULL;
    }
    context = given[1] != NULL ? Py_NewRef(given[1]) : PyContext_CopyCurrent();
    if (context == NULL) {
        return NULL;
    }
    int rc = al_future_add_callback(op, given[0], context);
    Py_DECREF(context);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char Future_remove_done_callback_doc[] =
    "remove_done_callback($self, fn, /)\n--\n\n"
    "Remove all instances of a callback from the \"call when done\" list.\n\n"
    "Returns the number of callbacks removed.";

/* What stands in a list for one who waits, as Python sees it: the callable.
 * -> new reference, or NULL. */
static PyObject *
waiter_callback(PyObject *entry)
{
    return PyTuple_CheckExact(entry) ? Py_NewRef(PyTuple_GET_ITEM(entry, 0))
                                     : al_task_wakeup_method(entry);
}

/* Those of `list` that are not `function`: a new list, or NULL. */
static PyObject *
future_other_waiters(PyObject *list, PyObject *function)
{
    PyObject *others = PyList_New(0);

    for (Py_ssize_t i = 0; others != NULL && i < PyList_GET_SIZE(list); i++) {
        PyObject *entry = PyList_GET_ITEM(list, i);
        PyObject *callback = waiter_callback(entry);
        int equal = callback == NULL
                        ? -1
                        : PyObject_RichCompareBool(callback, function, Py_EQ);
        Py_XDECREF(callback);
        if (equal < 0 || (equal == 0 && PyList_Append(others, entry) < 0)) {
            Py_CLEAR(others);
        }
    }
    return others;
}

static inline bool
future_item_is(PyObject *list, Py_ssize_t i, PyObject *entry)
{
    return i < PyList_GET_SIZE(list) && PyList_GET_ITEM(list, i) == entry;
}

/* Move those of `list` to its end that are in `compared` and not in `others`, a
 * part of `compared`; nothing else changes its order. -> how many stay. Of
 * `compared` some may have left the list meanwhile, and new ones come. */
static Py_ssize_t
future_part_waiters(PyObject *list, PyObject *compared, PyObject *others)
{
    PyObject **items = PySequence_Fast_ITEMS(list);
    Py_ssize_t stay = 0, next = 0, other = 0;

    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(compared); i++) {
        PyObject *entry = PyList_GET_ITEM(compared, i);
        bool stays = future_item_is(others, other, entry);
        other += stays;
        if (future_item_is(list, next, entry)) {
            if (stays) {
                items[next] = items[stay];
                items[stay++] = entry;
            }
            next++;
        }
    }
    for (; next < PyList_GET_SIZE(list); next++) {
        PyObject *entry = items[next];
        items[next] = items[stay];
        items[stay++] = entry;
    }
    return stay;
}

/* Let the first `stay` waiters of a list be all. 0, or -1 with an exception
 * set. */
static int
future_cut_waiters(al_future *self, Py_ssize_t stay)
{
    PyObject *list = self->waiter;

    if (stay == 0) {
        self->waiter = NULL;
        Py_DECREF(list);
        return 0;
    }
    /* This drops what it takes out when the list is right again. */
    return PyList_SetSlice(list, stay, PyList_GET_SIZE(list), NULL);
}

/* Remove `function` from the list of a pending future: the count removed, or
 * -1 with an exception set. */
static Py_ssize_t
future_remove_from_list(al_future *self, PyObject *function)
{
    PyObject *list = Py_NewRef(self->waiter); /* allocating collects garbage */
    PyObject *compared = PySequence_List(list);
    Py_DECREF(list);
    PyObject *others =
        compared == NULL ? NULL : future_other_waiters(compared, function);
    Py_ssize_t removed = others == NULL ? -1 : 0;

    /* The comparisons may have run anything. */
    if (removed == 0 && self->state == AL_FUTURE_PENDING &&
        al_future_has_list(self))
    {
        Py_ssize_t count = PyList_GET_SIZE(self->waiter);
        Py_ssize_t stay = future_part_waiters(self->waiter, compared, others);
        removed = count - stay;
        if (future_cut_waiters(self, stay) < 0) {
            removed = -1;
        }
    }
    Py_XDECREF(compared);
    Py_XDECREF(others);
    return removed;
}

PyObject *
Future_remove_done_callback(PyObject *op, PyObject *function)
{
    al_future *self = al_future_of(op);

    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    if (self->state != AL_FUTURE_PENDING || self->waiter == NULL) {
        return PyLong_FromLong(0);
    }
    if (self->context != NULL && self->waiter == function) { /* mostly so */
        PyObject *context = self->context;
        self->waiter = self->context = NULL;
        Py_DECREF(function); /* the caller has another reference */
        Py_DECREF(context);
        return PyLong_FromLong(1);
    }
    if (al_future_list_waiters(self) < 0) {
        return NULL;
    }
    Py_ssize_t removed = future_remove_from_list(self, function);
    return removed < 0 ? NULL : PyLong_FromSsize_t(removed);
}

const char Future_cancelled_doc[] = "cancelled($self, /)\n--\n\n"
                                    "Return True if it was cancelled.";

PyObject *
Future_cancelled(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(al_future_of(op)->state == AL_FUTURE_CANCELLED);
}

const char Future_done_doc[] =
    "done($self, /)\n--\n\n"
    "Return True if it has a result or an exception, or was cancelled.";

PyObject *
Future_done(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(al_future_of(op)->state != AL_FUTURE_PENDING);
}

const char Future_get_loop_doc[] =
    "get_loop($self, /)\n--\n\n"
    "Return the event loop the future is bound to.";

PyObject *
Future_get_loop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    return Py_NewRef(al_future_of(op)->loop);
}

const char Future__make_cancelled_error_doc[] =
    "_make_cancelled_error($self, /)\n--\n\n"
    "Create the CancelledError to raise if the future is cancelled.";

PyObject *
Future__make_cancelled_error(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_future_make_cancelled_error(op);
}

/* --- attributes that Task shares ---------------------------------------- */

PyObject *
Future_get__state(PyObject *op, void *Py_UNUSED(closure))
{
    static const char *const names[] = {
        [AL_FUTURE_PENDING] = "PENDING",
        [AL_FUTURE_CANCELLED] = "CANCELLED",
        [AL_FUTURE_FINISHED] = "FINISHED",
        [AL_FUTURE_FAILED] = "FINISHED",
    };

    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    return PyUnicode_InternFromString(names[al_future_of(op)->state]);
}

PyObject *
Future_get__result(PyObject *op, void *Py_UNUSED(closure))
{
    al_future *self = al_future_of(op);

    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    return Py_NewRef(self->state == AL_FUTURE_FINISHED ? self->outcome
                                                       : Py_None);
}

PyObject *
Future_get__exception(PyObject *op, void *Py_UNUSED(closure))
{
    al_future *self = al_future_of(op);

    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    return Py_NewRef(self->state == AL_FUTURE_FAILED ? self->outcome
                                                     : Py_None);
}

/* (callback, context) of one who waits, of the two slots or of a list (then
 * `context` is NULL). -> new reference, or NULL. */
static PyObject *
waiter_pair(PyObject *waiter, PyObject *context)
{
    if (context != NULL) {
        return PyTuple_Pack(2, waiter, context);
    }
    if (PyTuple_CheckExact(waiter)) {
        return Py_NewRef(waiter);
    }
    context = Py_XNewRef(al_task_of(waiter)->context);
    return Py_BuildValue("(NN)", al_task_wakeup_method(waiter), context);
}

/* The pairs of a list of waiters: a new list, or NULL. */
static PyObject *
future_list_pairs(PyObject *list)
{
    PyObject *pairs = PySequence_List(list);

    for (Py_ssize_t i = 0; pairs != NULL && i < PyList_GET_SIZE(pairs); i++) {
        PyObject *pair = waiter_pair(PyList_GET_ITEM(pairs, i), NULL);
        if (pair == NULL) {
            Py_CLEAR(pairs);
        }
        else {
            (void)PyList_SetItem(pairs, i, pair); /* steals; i is in range */
        }
    }
    return pairs;
}

PyObject *
Future_get__callbacks(PyObject *op, void *Py_UNUSED(closure))
{
    al_future *self = al_future_of(op);

    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    if (self->state != AL_FUTURE_PENDING || self->waiter == NULL) {
        Py_RETURN_NONE;
    }
    /* Allocating may collect garbage, and that run anything: hold them. */
    PyObject *waiter = Py_NewRef(self->waiter);
    PyObject *context = Py_XNewRef(self->context);
    PyObject *pairs = al_future_has_list(self)
                          ? future_list_pairs(waiter)
                          : Py_BuildValue("[N]", waiter_pair(waiter, context));
    Py_DECREF(waiter);
    Py_XDECREF(context);
    return pairs;
}

PyObject *
Future_get__loop(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *loop = al_future_of(op)->loop;

    return Py_NewRef(loop != NULL ? loop : Py_None);
}

PyObject *
Future_get__source_traceback(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *traceback = al_future_of(op)->source_traceback;

    return Py_NewRef(traceback != NULL ? traceback : Py_None);
}

int
al_future_bool_attribute(PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    return PyObject_IsTrue(value);
}

PyObject *
Future_get__log_traceback(PyObject *op, void *Py_UNUSED(closure))
{
    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    return PyBool_FromLong(al_future_of(op)->log_traceback);
}

int
Future_set__log_traceback(PyObject *op, PyObject *value,
                          void *Py_UNUSED(closure))
{
    int is_true = al_future_bool_attribute(value);
    if (is_true > 0) {
        PyErr_SetString(PyExc_ValueError,
                        "_log_traceback can only be set to False");
    }
    if (is_true != 0) {
        return -1;
    }
    al_future_of(op)->log_traceback = false;
    return 0;
}

PyObject *
Future_get__asyncio_future_blocking(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(al_future_of(op)->is_blocking);
}

int
Future_set__asyncio_future_blocking(PyObject *op, PyObject *value,
                                    void *Py_UNUSED(closure))
{
    if (al_future_check_init(op) < 0) {
        return -1;
    }
    int is_true = al_future_bool_attribute(value);
    if (is_true < 0) {
        return -1;
    }
    al_future_of(op)->is_blocking = is_true;
    return 0;
}

/* --- methods of Future alone -------------------------------------------- */

PyDoc_STRVAR(
    Future_doc,
    "Future(*, loop=None)\n--\n\n"
    "An awaitable whose result somebody else sets: asyncio.Future.\n\n"
    "`loop` is the event loop it belongs to, by default the current "
    "one.");

static int
Future_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"Future", AL_ARGS("loop"), 0, 0, 0};
    PyObject *loop;

    if (al_args_parse_tuple(&signature, args, kwargs, &loop) < 0) {
        return -1;
    }
    return al_future_init(op, loop);
}

PyDoc_STRVAR(Future_set_result_doc,
             "set_result($self, result, /)\n--\n\n"
             "Mark the future done and set its result.\n\n"
             "Raises InvalidStateError if it is done already.");

/* asyncio's Task is a subclass of its Future, so Future.set_result(task, x) is
 * possible there. Our Task is no subclass of our Future: these two methods
 * accept any asyncio.Future by their descriptor, and check here. */
static int
future_check_ours(PyObject *op, const char *method)
{
    if (AL_LIKELY(al_state_find(Py_TYPE(op)) != NULL)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError,
                 "descriptor '%s' for 'asyncloop._core.Future' objects "
                 "doesn't apply to a '%.100s' object",
                 method, Py_TYPE(op)->tp_name);
    return -1;
}

static PyObject *
Future_set_result(PyObject *op, PyObject *result)
{
    if (future_check_ours(op, "set_result") < 0 ||
        al_future_set_result(op, result) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Future_set_exception_doc,
             "set_exception($self, exception, /)\n--\n\n"
             "Mark the future done and set an exception (a class or an "
             "instance).\n\n"
             "Raises InvalidStateError if it is done already, TypeError for "
             "what is no\nexception.");

static PyObject *
Future_set_exception(PyObject *op, PyObject *exception)
{
    if (future_check_ours(op, "set_exception") < 0 ||
        al_future_set_exception(op, exception) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Future_cancel_doc,
             "cancel($self, /, msg=None)\n--\n\n"
             "Cancel the future and schedule its callbacks.\n\n"
             "Returns False if it is done already, else True. `msg` becomes "
             "the\nargument of the CancelledError.");

static PyObject *
Future_cancel(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const al_signature signature = {"cancel", AL_ARGS("msg"), 0, 1, 0};
    PyObject *message;

    if (al_args_parse(&signature, args, nargs, kwnames, &message) < 0 ||
        al_future_check_init(op) < 0)
    {
        return NULL;
    }
    int rc = al_future_cancel(op, message);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject *
Future_repr(PyObject *op)
{
    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    return PyObject_CallOneArg(al_future_state_of(op)->imports.future_repr,
                               op);
}

/* --- lifetime ----------------------------------------------------------- */

static void
Future_dealloc(PyObject *op);

static int
Future_traverse(PyObject *op, visitproc visit, void *arg)
{
#if !AL_FUTURE_BASE_IS_HEAP
    Py_VISIT(Py_TYPE(op));
#endif
    int rc = al_future_traverse(op, visit, arg);
    return rc != 0 ? rc
                   : al_future_base(op, Future_dealloc)
                         ->tp_traverse(op, visit, arg);
}

static int
Future_clear(PyObject *op)
{
    al_future_clear(op);
    return al_future_base(op, Future_dealloc)->tp_clear(op);
}

static void
Future_dealloc(PyObject *op)
{
    al_future_dealloc(op, Future_dealloc, Future_clear);
}

/* --- type --------------------------------------------------------------- */

static PyMethodDef Future_methods[] = {
    AL_FUTURE_COMMON_METHODS,
    {"cancel", (PyCFunction)(void (*)(void))Future_cancel,
     METH_FASTCALL | METH_KEYWORDS, Future_cancel_doc},
    {NULL, NULL, 0, NULL}};

static PyMethodDef future_setters[] = {
    {"set_result", Future_set_result, METH_O, Future_set_result_doc},
    {"set_exception", Future_set_exception, METH_O, Future_set_exception_doc},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef Future_getset[] = {AL_FUTURE_COMMON_GETSET,
                                      {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot Future_slots[] = {{Py_tp_doc, (void *)Future_doc},
                                     {Py_tp_new, al_future_tp_new},
                                     {Py_tp_init, Future_init},
                                     {Py_tp_repr, Future_repr},
                                     {Py_tp_setattro, al_future_setattro},
                                     {Py_tp_iter, al_future_iter_new},
                                     {Py_am_await, al_future_iter_new},
                                     {Py_tp_methods, Future_methods},
                                     {Py_tp_getset, Future_getset},
                                     {Py_tp_traverse, Future_traverse},
                                     {Py_tp_clear, Future_clear},
                                     {Py_tp_finalize, al_future_finalize},
                                     {Py_tp_dealloc, Future_dealloc},
                                     {0, NULL}};

static const PyType_Spec Future_spec = {
    .name = "asyncloop._core.Future",
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
              Py_TPFLAGS_IMMUTABLETYPE),
    .slots = Future_slots,
};

/* Find out how asyncio reads and writes _cancel_message. 0, or -1. */
static int
future_learn_cancel_message(al_state *state)
{
    PyObject *descriptor = PyObject_GetAttr(state->imports.asyncio_Future,
                                            state->names._cancel_message);
    if (descriptor == NULL) {
        return -1;
    }
    if (!Py_IS_TYPE(descriptor, &PyGetSetDescr_Type)) {
        PyErr_SetString(PyExc_ImportError,
                        "asyncio.Future._cancel_message is not as expected");
        Py_DECREF(descriptor);
        return -1;
    }
    state->cancel_message = ((PyGetSetDescrObject *)descriptor)->d_getset;
    Py_DECREF(descriptor); /* asyncio.Future owns it, and we that */
    return 0;
}

int
al_future_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->FutureType =
        al_future_add_type(module, &Future_spec, state->imports.asyncio_Future,
                           sizeof(al_future));
    if (state->FutureType == NULL || future_learn_cancel_message(state) < 0) {
        return -1;
    }
    return al_state_add_methods(
        state->FutureType, (PyTypeObject *)state->imports.asyncio_Future,
        future_setters); /* they accept Tasks, too: future_check_ours() */
}
