/* event.c - asyncio.Event: set() wakes everybody who waits. */
#include "primitives/event.h"

#include "base/args.h"
#include "primitives/primitive.h"

typedef struct {
    al_primitive head;
    bool value;
} EventObject;

#define EventObject_CAST(op) ((EventObject *)(op))

/* --- wait() -------------------------------------------------------------------- */

static al_outcome
event_wait_start(al_awaitable *await, PyObject **result)
{
    EventObject *self = EventObject_CAST(await->owner);

    return self->value ? al_awaitable_return(Py_True, result)
                       : al_primitive_wait(await, &self->head.waiters);
}

static al_outcome
event_wait_resume(al_awaitable *await, PyObject *Py_UNUSED(value),
                  PyObject **result)
{
    return al_waiters_leave(await, al_primitive_CAST(await->owner)->waiters) <
                   0
               ? AL_RAISES
               : al_awaitable_return(Py_True, result);
}

static const al_operation event_wait_operation = {
    "Event.wait", event_wait_start, event_wait_resume};

/* --- Python: methods ------------------------------------------------------------- */

PyDoc_STRVAR(Event_wait_doc,
             "wait($self, /)\n--\n\n"
             "Wait until the event is set; to be awaited. Returns True.");

static PyObject *
Event_wait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_EVENT, &event_wait_operation, "wait",
                              NULL);
}

PyDoc_STRVAR(Event_set_doc, "set($self, /)\n--\n\n"
                            "Set the event: wake all tasks that wait for it.");

static PyObject *
Event_set(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    EventObject *self = EventObject_CAST(op);

    if (self->value) {
        Py_RETURN_NONE;
    }
    al_state *state = al_primitive_state(op);
    if (state == NULL) {
        return NULL;
    }
    self->value = true;
    return al_call_none(
        al_waiters_wake(state, self->head.waiters, PY_SSIZE_T_MAX, Py_True) < 0
            ? -1
            : 0);
}

PyDoc_STRVAR(Event_clear_doc, "clear($self, /)\n--\n\n"
                              "Unset the event: wait() waits from now on.");

static PyObject *
Event_clear_value(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    AL_STORE(EventObject_CAST(op)->value, false);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Event_is_set_doc, "is_set($self, /)\n--\n\n"
                               "Return whether the event is set.");

static PyObject *
Event_is_set(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(AL_LOAD(EventObject_CAST(op)->value));
}

static PyObject *
Event_get_value(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(AL_LOAD(EventObject_CAST(op)->value));
}

static int
Event_set_value(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_primitive_store_bool(&EventObject_CAST(op)->value, value,
                                   "_value");
}

/* --- Python: lifetime -------------------------------------------------------------- */

static int
Event_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"Event.__init__", AL_ARGS(NULL), 0,
                                           0, 0};

    if (al_args_parse_tuple(&signature, args, kwargs, NULL) < 0) {
        return -1;
    }
    EventObject_CAST(op)->value = false;
    Py_CLEAR(al_primitive_CAST(op)->waiters);
    return 0;
}

/* --- type ------------------------------------------------------------------------- */

AL_LOCKS(Event_wait, al_primitive_lock)
AL_LOCKS(Event_set, al_primitive_lock)

static PyMethodDef Event_methods[] = {
    {"wait", AL_LOCKED(Event_wait), METH_NOARGS, Event_wait_doc},
    {"set", AL_LOCKED(Event_set), METH_NOARGS, Event_set_doc},
    {"clear", Event_clear_value, METH_NOARGS, Event_clear_doc},
    {"is_set", Event_is_set, METH_NOARGS, Event_is_set_doc},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef Event_getset[] = {
    {"_loop", al_primitive_get_bound_loop, al_primitive_set_bound_loop, NULL,
     NULL},
    {"_waiters", al_primitive_get_waiters, al_primitive_set_waiters, NULL,
     NULL},
    {"_value", Event_get_value, Event_set_value, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Event_doc,
             "Event()\n--\n\n"
             "A flag that tasks wait for: asyncio.Event, whose hot methods "
             "are C.");

static PyType_Slot Event_slots[] = {{Py_tp_doc, (void *)Event_doc},
                                    {Py_tp_init, Event_init},
                                    {Py_tp_dealloc, al_primitive_dealloc},
                                    {Py_tp_traverse, al_primitive_traverse},
                                    {Py_tp_clear, al_primitive_clear},
                                    {Py_tp_setattro, al_primitive_setattro},
                                    {Py_tp_methods, Event_methods},
                                    {Py_tp_getset, Event_getset},
                                    {0, NULL}};

static PyType_Spec Event_spec = {
    .name = "asyncloop._core.Event",
    .basicsize = sizeof(EventObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = Event_slots,
};

int
al_event_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->EventType = al_state_add_type(module, &Event_spec, NULL);
    return state->EventType == NULL ? -1 : 0;
}
