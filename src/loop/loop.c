/* loop.c - the type: new, attributes, lifetime, table of methods.
 *
 * asyncloop.Loop is `class Loop(_core.Loop, ..., asyncio.BaseEventLoop)`.
 * This type has the methods that are called often or do I/O; the others are
 * inherited from asyncio.  An attribute of BaseEventLoop that C code uses is a
 * data descriptor of this type (Loop_getset).  The others are Python
 * attributes; none is both. */
#include "loop/loop.h"

#include <string.h>

#include "base/args.h"
#include "io/fdwatch.h"
#include "io/reactor.h"
#include "net/held.h"
#include "sched/inspect.h"
#include "sched/metrics_sum.h"
#include "sched/profile.h"
#include "task/registry.h"
#include "task/task.h"

/* --- overrides ----------------------------------------------------------- */

/* The public methods that fast paths in C do not call, and the flag of
 * each. */
static const struct {
    size_t name; /* offset in al_state of an interned str */
    uint32_t flag;
} loop_bypassed[] = {
    {offsetof(al_state, names.call_soon), AL_OVERRIDES_CALL_SOON},
    {offsetof(al_state, names.time), AL_OVERRIDES_TIME},
    {offsetof(al_state, names.call_at), AL_OVERRIDES_CALL_AT},
    {offsetof(al_state, names.get_debug), AL_OVERRIDES_GET_DEBUG},
    {offsetof(al_state, names.create_future), AL_OVERRIDES_CREATE_FUTURE},
    {offsetof(al_state, names.call_soon_threadsafe),
     AL_OVERRIDES_CALL_SOON_THREADSAFE},
    {offsetof(al_state, names.call_later), AL_OVERRIDES_CALL_LATER},
    {offsetof(al_state, names.create_task), AL_OVERRIDES_CREATE_TASK},
};

/* Private methods of BaseEventLoop that only a patched loop calls. */
static const size_t loop_private[] = {
    offsetof(al_state, names._run_once),
    offsetof(al_state, names._process_events),
    offsetof(al_state, names._add_callback),
    offsetof(al_state, names._call_soon),
    offsetof(al_state, names._timer_handle_cancelled),
};

static inline PyObject *
loop_name(al_state *state, size_t offset)
{
    return *(PyObject **)((char *)state + offset);
}

/* The flag of the i-th method if `type` overrides it: 0, or -1. */
static int
loop_find_override(const al_loop_head *head, PyTypeObject *type, size_t i,
                   uint32_t *overrides)
{
    PyObject *name = loop_name(head->state, loop_bypassed[i].name);
    PyObject *ours = PyObject_GetAttr((PyObject *)head->state->LoopType, name);
    PyObject *theirs = PyObject_GetAttr((PyObject *)type, name);

    if (ours != theirs) {
        *overrides |= loop_bypassed[i].flag;
    }
    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    return ours == NULL || theirs == NULL ? -1 : 0;
}

int
al_loop_find_overrides(LoopObject *self)
{
    uint32_t overrides = self->instance_overrides;

    if (self->patches & AL_PATCHES_HANDLES) {
        overrides |= AL_OVERRIDES_HANDLES;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(loop_bypassed); i++) {
        if (loop_find_override(&self->head, Py_TYPE(self), i, &overrides) < 0)
        {
            return -1;
        }
    }
    self->head.overrides = overrides;
    return 0;
}

/* Whether `value` is the method itself, bound to the loop: a program that has
 * replaced it has put it back. */
static bool
loop_is_own_method(PyObject *op, PyObject *name, PyObject *value)
{
    PyTypeObject *type = al_loop_head_CAST(op)->state->LoopType;

    if (value == NULL || !PyCFunction_CheckExact(value) ||
        PyCFunction_GET_SELF(value) != op)
    {
        return false;
    }
    PyObject *ours = PyObject_GetAttr((PyObject *)type, name);
    bool is_own = ours != NULL && Py_IS_TYPE(ours, &PyMethodDescr_Type) &&
                  ((PyMethodDescrObject *)ours)->d_method ==
                      ((PyCFunctionObject *)value)->m_ml;
    Py_XDECREF(ours);
    PyErr_Clear();
    return is_own;
}

/* The attribute `name` of the loop was set, or deleted if `value` is NULL: note
 * what that overrides. 0, or -1 with an exception set. */
static int
loop_note_override(PyObject *op, PyObject *name, PyObject *value)
{
    LoopObject *self = LoopObject_CAST(op);
    al_state *state = self->head.state;

    for (size_t i = 0; i < Py_ARRAY_LENGTH(loop_bypassed); i++) {
        if (name != loop_name(state, loop_bypassed[i].name)) { /* interned */
            continue;
        }
        if (value == NULL || loop_is_own_method(op, name, value)) {
            self->instance_overrides &= ~loop_bypassed[i].flag;
        }
        else {
            self->instance_overrides |= loop_bypassed[i].flag;
        }
        int rc = al_loop_find_overrides(self); /* the class may override it */
        al_loop_search_soon(self);
        al_loop_update_direct(&self->head);
        return rc;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(loop_private); i++) {
        if (name == loop_name(state, loop_private[i])) {
            al_loop_search_soon(self);
        }
    }
    return 0;
}

int
al_loop_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    return PyObject_GenericSetAttr(op, name, value) < 0
               ? -1
               : loop_note_override(op, name, value);
}

/* --- attributes ---------------------------------------------------------- */

static PyObject *
Loop_get_debug(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(AL_LOAD(al_loop_head_CAST(op)->is_debug));
}

static PyObject *
Loop_get__debug(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(AL_LOAD(al_loop_head_CAST(op)->is_debug));
}

/* Convert a Python object to a flag: 0, or -1 with an exception set. */
static int
loop_set_flag(PyObject *op, PyObject *value, bool *flag)
{
    int is_true = value == NULL ? 0 : PyObject_IsTrue(value);
    if (is_true < 0) {
        return -1;
    }
    AL_STORE(*flag, is_true);
    al_loop_update_direct(al_loop_head_CAST(op));
    al_profile_update(al_loop_head_CAST(op));
    return 0;
}

static int
Loop_set__debug(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return loop_set_flag(op, value, &al_loop_head_CAST(op)->is_debug);
}

static PyObject *
Loop_get__closed(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(AL_LOAD(al_loop_head_CAST(op)->is_closed));
}

static int
Loop_set__closed(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return loop_set_flag(op, value, &al_loop_head_CAST(op)->is_closed);
}

static PyObject *
Loop_get__stopping(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(AL_LOAD(al_loop_head_CAST(op)->is_stopping));
}

static int
Loop_set__stopping(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return loop_set_flag(op, value, &al_loop_head_CAST(op)->is_stopping);
}

static PyObject *
Loop_get__thread_id(PyObject *op, void *Py_UNUSED(closure))
{
    unsigned long thread_id = AL_LOAD(al_loop_head_CAST(op)->thread_id);

    return thread_id == 0 ? Py_NewRef(Py_None)
                          : PyLong_FromUnsignedLong(thread_id);
}

static int
Loop_set__thread_id(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    unsigned long thread_id = 0;

    if (value != NULL && value != Py_None) {
        thread_id = PyLong_AsUnsignedLong(value);
        if (thread_id == (unsigned long)-1 && PyErr_Occurred()) {
            return -1;
        }
    }
    al_loop_head *head = al_loop_head_CAST(op);
    unsigned long before = head->thread_id;

    AL_STORE(head->thread_id, thread_id);
    al_loop_update_direct(head);
    if (thread_id == 0) {
        al_inspect_track_shared(head);
    }
    else if (al_loop_look_for_run(LoopObject_CAST(op)) < 0) {
        AL_STORE(head->thread_id, before); /* it does not run */
        al_loop_update_direct(head);
        return -1;
    }
    return 0;
}

static PyObject *
Loop_get__task_factory(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *factory = al_loop_head_CAST(op)->task_factory;

    return Py_NewRef(al_or_none(factory));
}

static int
Loop_set__task_factory(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(al_loop_head_CAST(op)->task_factory,
               Py_XNewRef(value == Py_None ? NULL : value));
    return 0;
}

static PyObject *
Loop_get__current_handle(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *handle = al_loop_head_CAST(op)->current_handle;

    return Py_NewRef(al_or_none(handle));
}

static int
Loop_set__current_handle(PyObject *op, PyObject *value,
                         void *Py_UNUSED(closure))
{
    Py_XSETREF(al_loop_head_CAST(op)->current_handle,
               Py_XNewRef(value == Py_None ? NULL : value));
    return 0;
}

/* --- new, init ----------------------------------------------------------- */

static PyObject *
Loop_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
         PyObject *Py_UNUSED(kwargs))
{
    al_state *state = al_state_from_type(type);
    PyObject *op = state == NULL ? NULL : type->tp_alloc(type, 0);
    if (op == NULL) {
        return NULL;
    }
    /* The type counts its own instances. */
    AL_COUNT(state->LoopType, type != state->LoopType);
    al_loop_head *head = al_loop_head_CAST(op);
    head->state = al_state_own(state);
    head->leave_task = al_registry_leave;
    head->step = al_task_run;
#if AL_FREE_THREADED
    head->wake = al_reactor_send_wakeup;
#endif
    head->may_push = al_loop_look_before_push;
    LoopObject_CAST(op)->handles_tag =
        &((PyTypeObject *)state->imports.asyncio_TimerHandle)->tp_version_tag;
    head->is_closed = true; /* until __init__ */
    head->slow_cycles = AL_SLOW_NEVER;
    if (al_metrics_open(head) < 0 ||
        al_loop_find_overrides(LoopObject_CAST(op)) < 0)
    {
        Py_DECREF(op);
        return NULL;
    }
    return op;
}

static const struct {
    const char *name;
    unsigned int flag;
} loop_backends[] = {
    {"epoll", EVBACKEND_EPOLL},     {"poll", EVBACKEND_POLL},
    {"select", EVBACKEND_SELECT},   {"kqueue", EVBACKEND_KQUEUE},
    {"port", EVBACKEND_PORT},       {"linuxaio", EVBACKEND_LINUXAIO},
    {"iouring", EVBACKEND_IOURING},
};

/* Set a ValueError that lists the backends there are. */
AL_COLD static void
loop_refuse_backend(PyObject *name)
{
    PyObject *all = NULL;

    for (size_t i = 0; i < Py_ARRAY_LENGTH(loop_backends); i++) {
        if (!(ev_supported_backends() & loop_backends[i].flag)) {
            continue;
        }
        PyObject *longer =
            all == NULL
                ? PyUnicode_FromFormat("'%s'", loop_backends[i].name)
                : PyUnicode_FromFormat("%U, '%s'", all, loop_backends[i].name);
        Py_XSETREF(all, longer);
        if (all == NULL) {
            return;
        }
    }
    PyErr_Format(PyExc_ValueError,
                 "there is no backend %R on this system; there are %V", name,
                 all, "none");
    Py_XDECREF(all);
}

/* The EVBACKEND_ flag of a name: 0, or -1 with an exception set. */
static int
loop_find_backend(PyObject *name, unsigned int *flag)
{
    *flag = 0;
    if (name == NULL || name == Py_None) {
        return 0;
    }
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError,
                     "backend must be a str or None, not %.100s",
                     Py_TYPE(name)->tp_name);
        return -1;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(loop_backends); i++) {
        if (PyUnicode_EqualToUTF8(name, loop_backends[i].name) &&
            (ev_supported_backends() & loop_backends[i].flag))
        {
            *flag = loop_backends[i].flag;
            return 0;
        }
    }
    loop_refuse_backend(name);
    return -1;
}

static int
Loop_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {
        "Loop", AL_ARGS("backend", "hold_writes", "keep_tasks"), 0, 0, 0};
    LoopObject *self = LoopObject_CAST(op);
    PyObject *given[3];
    unsigned int flag;

    if (al_args_parse_tuple(&signature, args, kwargs, given) < 0 ||
        loop_find_backend(given[0], &flag) < 0)
    {
        return -1;
    }
    int holds_writes = given[1] == NULL ? 1 : PyObject_IsTrue(given[1]);
    int keeps_tasks = given[2] == NULL ? 0 : PyObject_IsTrue(given[2]);
    if (holds_writes < 0 || keeps_tasks < 0) {
        return -1;
    }
    if (self->head.reactor != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Loop.__init__() was called twice");
        return -1;
    }
    if (keeps_tasks && self->head.kept_tasks == NULL) {
        self->head.kept_tasks = PySet_New(NULL);
        if (self->head.kept_tasks == NULL) {
            return -1;
        }
    }
    if (al_reactor_open(&self->head, flag) < 0) {
        return -1;
    }
    self->head.is_closed = false;
    self->head.holds_writes = holds_writes;
    al_held_init_loop(&self->head);
    return al_loop_patches_init(self);
}

/* --- lifetime ------------------------------------------------------------ */

static int
Loop_traverse(PyObject *op, visitproc visit, void *arg)
{
    al_loop_head *head = al_loop_head_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(head->current_task);
    Py_VISIT(head->current_handle);
    Py_VISIT(head->task_factory);
    Py_VISIT(head->kept_tasks);
    Py_VISIT(head->profiles);
    Py_VISIT(head->yielded);
    Py_VISIT(head->snapshot);
    Py_VISIT(head->scratch);
    Py_VISIT(head->held.object);
    Py_VISIT(LoopObject_CAST(op)->ready);
    Py_VISIT(LoopObject_CAST(op)->ready_aside);
    Py_VISIT(LoopObject_CAST(op)->scheduled);
    int rc = al_inspect_traverse(head, visit, arg);
    return rc != 0 ? rc : al_fdwatch_traverse_all(head, visit, arg);
}

static int
Loop_clear(PyObject *op)
{
    al_loop_head *head = al_loop_head_CAST(op);

    al_loop_release(LoopObject_CAST(op));
    Py_CLEAR(head->current_handle);
    Py_CLEAR(head->task_factory);
    Py_CLEAR(head->kept_tasks);
    Py_CLEAR(head->profiles);
    return 0;
}

static void
Loop_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = al_loop_head_CAST(op)->state;

    PyObject_GC_UnTrack(op);
    (void)Loop_clear(op);
    AL_COUNT(state->LoopType, -(type != state->LoopType));
    PyMem_Free(al_loop_head_CAST(op)->recv_buffer);
    PyMem_Free(al_loop_head_CAST(op)->datagram_buffer);
    al_metrics_close(al_loop_head_CAST(op));
    type->tp_free(op);
    Py_DECREF(type);
    al_state_disown(state);
}

/* --- type ---------------------------------------------------------------- */

PyDoc_STRVAR(
    Loop_doc,
    "Loop(*, backend=None, hold_writes=True, keep_tasks=False)\n--\n\n"
    "The part of asyncloop.Loop that is C.\n\n"
    "`backend` names a way to wait for descriptors (\"epoll\", or of "
    "libev's \"poll\",\n\"select\", \"kqueue\" ...), None the best there is. "
    "`hold_writes`: small writes of\none step of a task may leave "
    "together when it returns. `keep_tasks`: the loop\nrefers to a task of "
    "create_task() until it is done. Raises ValueError for a\nbackend that "
    "there is not here.");

PyDoc_STRVAR(Loop_get_debug_doc,
             "get_debug($self, /)\n--\n\n"
             "Return True if the event loop is in debug mode.");

AL_LOCKS_GETTER(Loop_get__task_factory, al_loop_lock)
AL_LOCKS_GETTER(Loop_get__current_handle, al_loop_lock)
AL_LOCKS_SETTER(Loop_set__debug, al_loop_lock)
AL_LOCKS_SETTER(Loop_set__closed, al_loop_lock)
AL_LOCKS_SETTER(Loop_set__stopping, al_loop_lock)
AL_LOCKS_SETTER(Loop_set__thread_id, al_loop_lock)
AL_LOCKS_SETTER(Loop_set__task_factory, al_loop_lock)
AL_LOCKS_SETTER(Loop_set__current_handle, al_loop_lock)

static PyGetSetDef Loop_getset[] = {
    {"_debug", Loop_get__debug, AL_LOCKED(Loop_set__debug), NULL, NULL},
    {"_closed", Loop_get__closed, AL_LOCKED(Loop_set__closed), NULL, NULL},
    {"_stopping", Loop_get__stopping, AL_LOCKED(Loop_set__stopping), NULL,
     NULL},
    {"_thread_id", Loop_get__thread_id, AL_LOCKED(Loop_set__thread_id), NULL,
     NULL},
    {"_task_factory", AL_LOCKED(Loop_get__task_factory),
     AL_LOCKED(Loop_set__task_factory), NULL, NULL},
    {"_current_handle", AL_LOCKED(Loop_get__current_handle),
     AL_LOCKED(Loop_set__current_handle), NULL, NULL},
    {"_ready", AL_LOCKED(al_loop_get_ready), AL_LOCKED(al_loop_set_ready),
     NULL, NULL},
    {"_scheduled", AL_LOCKED(al_loop_get_scheduled),
     AL_LOCKED(al_loop_set_scheduled), NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyMemberDef Loop_members[] = {
    {"_clock_resolution", T_DOUBLE, offsetof(al_loop_head, clock_resolution),
     0, NULL},
    {"_held_most", T_ULONGLONG, offsetof(al_loop_head, held_most), 0, NULL},
    {NULL, 0, 0, 0, NULL}};

AL_LOCKS(Loop_get_debug, al_loop_lock)

static PyMethodDef loop_own_methods[] = {
    {"get_debug", AL_LOCKED(Loop_get_debug), METH_NOARGS, Loop_get_debug_doc},
    {NULL, NULL, 0, NULL}};

/* The methods of each file. */
static PyMethodDef *const loop_topics[] = {
    al_loop_run_methods,          al_loop_sched_methods,
    al_loop_fds_methods,          al_loop_sock_methods,
    al_loop_net_methods,          al_loop_pipe_methods,
    al_loop_future_chain_methods, al_loop_queues_methods,
    al_loop_patches_methods,      al_loop_select_methods,
    al_loop_metrics_methods,
};

static PyType_Slot Loop_slots[] = {{Py_tp_doc, (void *)Loop_doc},
                                   {Py_tp_new, Loop_new},
                                   {Py_tp_init, Loop_init},
                                   {Py_tp_setattro, al_loop_setattro},
                                   {Py_tp_methods, loop_own_methods},
                                   {Py_tp_getset, Loop_getset},
                                   {Py_tp_members, Loop_members},
                                   {Py_tp_traverse, Loop_traverse},
                                   {Py_tp_clear, Loop_clear},
                                   {Py_tp_dealloc, Loop_dealloc},
                                   {0, NULL}};

static PyType_Spec Loop_spec = {
    .name = "asyncloop._core.Loop",
    .basicsize = sizeof(LoopObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
              Py_TPFLAGS_IMMUTABLETYPE),
    .slots = Loop_slots,
};

int
al_loop_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->LoopType = al_state_add_type(module, &Loop_spec, NULL);
    if (state->LoopType == NULL) {
        return -1;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(loop_topics); i++) {
        if (al_state_add_methods(state->LoopType, state->LoopType,
                                 loop_topics[i]) < 0)
        {
            return -1;
        }
    }
    return 0;
}
