/* entry.c - entries of the ready queue as handles, which asyncio has instead.
 *
 *     entry                     handle
 *     a handle                  itself
 *     a step of a task          Handle(the callable that steps it)
 *     a readable transport ...  Handle(Entry), which runs the entry
 *
 * A handle that a program has made is an entry, too: {entry_run_other,
 * handle}. */
#include "loop/entry.h"

#include "sched/handle.h"
#include "task/task.h"

/* --- who may reach into the queue ---------------------------------------- */

int
al_loop_may_reach(LoopObject *self)
{
#if AL_FREE_THREADED
    if (AL_LOAD(self->head.owner) != 0 && !al_loop_is_mine(&self->head)) {
        return 0;
    }
#endif
    return al_loop_collect(self) < 0 ? -1 : 1;
}

int
al_loop_reach(LoopObject *self)
{
    int may_reach = al_loop_may_reach(self);

    if (may_reach == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another thread is running this event loop");
    }
    return may_reach > 0 ? 0 : -1;
}

/* --- an entry as a callable ---------------------------------------------- */

/* A callable that runs an entry of the ready queue: the callback of its
 * handle. */
typedef struct {
    PyObject_HEAD
    PyObject *loop; /* owned */
    al_entry entry;
} EntryObject;

#define EntryObject_CAST(op) ((EntryObject *)(op))

static PyObject *
entry_new(LoopObject *loop, const al_entry *entry)
{
    EntryObject *self =
        PyObject_GC_New(EntryObject, loop->head.state->EntryType);

    if (self == NULL) {
        return NULL;
    }
    AL_COUNT(Py_TYPE(self), 1);
    self->loop = Py_NewRef((PyObject *)loop);
    self->entry.run = entry->run;
    self->entry.object = Py_NewRef(entry->object);
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

static PyObject *
Entry_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    EntryObject *self = EntryObject_CAST(op);
    al_loop_head *loop = al_loop_head_CAST(self->loop);

    if (PyTuple_GET_SIZE(args) != 0 ||
        (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0))
    {
        PyErr_SetString(PyExc_TypeError, "an entry takes no arguments");
        return NULL;
    }
    if (al_loop_reach((LoopObject *)loop) < 0 ||
        self->entry.run(loop, self->entry.object) < 0 ||
        al_loop_send_held(loop) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Entry_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<entry of %R>",
                                EntryObject_CAST(op)->entry.object);
}

static int
Entry_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(EntryObject_CAST(op)->loop);
    Py_VISIT(EntryObject_CAST(op)->entry.object);
    return 0;
}

static void
Entry_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject *loop = EntryObject_CAST(op)->loop;

    PyObject_GC_UnTrack(op);
    AL_COUNT(type, -1);
    Py_DECREF(EntryObject_CAST(op)->entry.object);
    PyObject_GC_Del(op);
    Py_DECREF(type);
    Py_DECREF(loop); /* last: this may free the state */
}

static PyMemberDef Entry_members[] = {{"__self__", T_OBJECT,
                                       offsetof(EntryObject, entry.object),
                                       READONLY, NULL},
                                      {NULL, 0, 0, 0, NULL}};

static PyType_Slot Entry_slots[] = {
    {Py_tp_call, Entry_call},       {Py_tp_repr, Entry_repr},
    {Py_tp_members, Entry_members}, {Py_tp_traverse, Entry_traverse},
    {Py_tp_dealloc, Entry_dealloc}, {0, NULL}};

static PyType_Spec Entry_spec = {
    .name = "asyncloop._core.Entry",
    .basicsize = sizeof(EntryObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = Entry_slots,
};

/* --- an entry as a handle ------------------------------------------------ */

/* al_run_fn of a handle that is asyncio's, or the program's: any object with
 * _cancelled and _run(). */
static int
entry_run_other(al_loop_head *loop, PyObject *handle)
{
    al_state *state = loop->state;
    PyObject *cancelled = PyObject_GetAttr(handle, state->names._cancelled);
    int is_cancelled = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);

    Py_XDECREF(cancelled);
    if (is_cancelled != 0) {
        return is_cancelled < 0 ? -1 : 0;
    }
    if (loop->is_debug) {
        Py_XSETREF(loop->current_handle, Py_NewRef(handle));
    }
    PyObject *result = PyObject_CallMethodNoArgs(handle, state->names._run);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Make an asyncio.Handle, or what the program has put in its place. `args` is
 * a tuple. -> new reference, or NULL. */
static PyObject *
entry_make_stock_handle(LoopObject *self, PyObject *callback, PyObject *args,
                        PyObject *context)
{
    PyObject *type = PyMapping_GetItemString(
        self->head.state->imports.events_globals, "Handle");

    if (type == NULL) {
        return NULL;
    }
    PyObject *handle = PyObject_CallFunctionObjArgs(
        type, callback, args, (PyObject *)self, context, NULL);
    Py_DECREF(type);
    return handle;
}

PyObject *
al_loop_make_handle(LoopObject *self, const al_entry *entry)
{
    al_loop_head *head = &self->head;
    PyObject *argument = NULL, *context = Py_None, *handle = NULL;
    PyObject *callback;

    if (entry->run == entry_run_other ||
        al_handle_check(head->state, entry->object))
    {
        al_handle_expose(head->state, entry->object);
        return Py_NewRef(entry->object);
    }
    PyObject *object = Py_NewRef(entry->object);
    if (entry->run == head->step) {
        callback = al_task_make_callback(object, &argument, &context);
    }
    else {
        callback = entry_new(self, entry);
        Py_INCREF(context);
    }
    if (callback != NULL && (head->overrides & AL_OVERRIDES_HANDLES)) {
        PyObject *args =
            argument == NULL ? PyTuple_New(0) : PyTuple_Pack(1, argument);
        if (args != NULL) {
            handle = entry_make_stock_handle(self, callback, args, context);
            Py_DECREF(args);
        }
    }
    else if (callback != NULL) {
        handle = al_handle_new(head, callback, &argument, argument != NULL,
                               context == Py_None ? NULL : context);
    }
    Py_XDECREF(callback);
    Py_XDECREF(argument);
    Py_XDECREF(context);
    Py_DECREF(object);
    return handle;
}

al_run_fn
al_loop_run_of(al_loop_head *head, PyObject *handle)
{
    return al_handle_check(head->state, handle) &&
                   HandleObject_CAST(handle)->loop == head
               ? al_handle_run_of(HandleObject_CAST(handle))
               : entry_run_other;
}

int
al_loop_entry_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->EntryType = al_state_add_type(module, &Entry_spec, NULL);
    return state->EntryType == NULL ? -1 : 0;
}
