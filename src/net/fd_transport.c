/* fd_transport.c - what is the same for sockets, datagrams and pipes.
 *
 *     new ---> al_fd_transport_start()
 *                    | next turn
 *              connection_made(), start reading, wake the waiter
 *                    |
 *              sock_*.c, dgram_*.c, pipe_*.c, until transport.c ends it
 *
 * The transport of a socket embeds a watch, which is in the loop's table from
 * the start to the end.  If the watch is not in the table although the loop is
 * open, another transport has taken over the descriptor's number
 * (net/claim.c).  The first transport ends as soon as it uses the watch.  A
 * pipe may have two transports, one for each direction, which share a watch
 * that the loop's table has made: pipe_transport.c. */
#include "net/fd_transport.h"

#include "base/errors.h"
#include "task/future.h"

/* --- start ---------------------------------------------------------------- */

/* Wake the waiter, if there is one: 0, or -1 with an exception set. */
static int
fd_transport_wake(TransportObject *self)
{
    PyObject *waiter = self->waiter;

    if (waiter == NULL) {
        return 0;
    }
    self->waiter = NULL;
    int rc = al_future_resolve(waiter, Py_None);
    Py_DECREF(waiter);
    return rc;
}

/* Call connection_made(): 0, or -1 with an exception set that ends the run. */
static int
fd_transport_call_made(TransportObject *self)
{
    PyObject *op = (PyObject *)self;
    PyObject *protocol = Py_NewRef(self->protocol.object);

    int rc = al_transport_enter(self);
    if (rc == 0) {
        rc = al_transport_leave(
            self, al_protocol_connection_made(&self->protocol, op));
    }
    if (rc < 0) {
        rc = al_transport_report_callback(self, protocol, "connection_made",
                                          op);
    }
    Py_DECREF(protocol);
    return rc;
}

/* al_run_fn: what asyncio queues as three callbacks. If one of them fails, the
 * next ones are done all the same. */
static int
fd_transport_run_begin(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    TransportObject *self = TransportObject_CAST(op);

    AL_CHECK(al_transport_check, self);
    /* Either the loop was closed and the transport finalised, or the program
     * has called _begin() itself. */
    if (self->phase == AL_TRANSPORT_CLOSED ||
        self->protocol.connection_made == NULL)
    {
        return 0;
    }
    PyObject *raised =
        fd_transport_call_made(self) < 0 ? PyErr_GetRaisedException() : NULL;
    /* connection_made() may have paused, closed or aborted us. */
    if (self->phase != AL_TRANSPORT_CLOSED &&
        self->kind->start_reading(self) < 0)
    {
        self->is_paused = true; /* resume_reading() may try again */
        if (al_transport_refuse_start(self) < 0) {
            Py_XSETREF(raised, PyErr_GetRaisedException());
        }
    }
    if (fd_transport_wake(self) < 0) {
        PyErr_WriteUnraisable(op);
    }
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
        return -1;
    }
    return 0;
}

PyObject *
al_fd_transport_new(PyTypeObject *type, al_loop_head *loop,
                    al_fd_transport_init init, const void *parts,
                    PyObject *waiter)
{
    TransportObject *self = TransportObject_CAST(type->tp_alloc(type, 0));
    if (self == NULL) {
        return NULL;
    }
    int rc = init(self, loop, parts);
    if (rc == 0) {
        self->waiter = waiter == Py_None ? NULL : Py_XNewRef(waiter);
        rc = al_transport_call_soon(self, fd_transport_run_begin, "_begin");
    }
    if (rc < 0) {
        al_descriptor_give_back(&self->desc);
        Py_CLEAR(self);
    }
    else if (self->kind->is_connection) {
        AL_TALLY(loop->metrics.connected, 1);
    }
    return (PyObject *)self;
}

/* --- a socket's watch ------------------------------------------------------ */

int
al_fd_transport_watch_reader(TransportObject *self, al_fdwatch *watch,
                             al_run_fn run)
{
    return AL_UNLIKELY(watch->loop == NULL)
               ? al_transport_force_close(self, NULL)
               : al_fdwatch_set_reader(watch, run, (PyObject *)self);
}

int
al_fd_transport_watch_writer(TransportObject *self, al_fdwatch *watch,
                             al_run_fn run)
{
    if (watch->writer.object != NULL) {
        return 0;
    }
    if (al_loop_check_closed(self->loop) < 0) {
        return -1;
    }
    return AL_UNLIKELY(watch->loop == NULL)
               ? al_transport_force_close(self, NULL)
               : al_fdwatch_set_writer(watch, run, (PyObject *)self);
}

int
al_fd_transport_resume_writing(TransportObject *self)
{
    int rc = al_transport_maybe_resume(self); /* may write, close, abort */

    if (self->lost > 0 || al_transport_queued(self) > 0) {
        return rc;
    }
    PyObject *raised = rc < 0 ? PyErr_GetRaisedException() : NULL;
    rc = self->kind->drained(self);
    if (rc == 0 && al_transport_is_draining(self)) {
        self->lost = 1;
        rc = al_transport_run_lost(self->loop, (PyObject *)self);
    }
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
        rc = -1;
    }
    return rc;
}

/* --- Python: methods ------------------------------------------------------- */

PyObject *
al_fd_transport_py_begin(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(fd_transport_run_begin(NULL, op));
}

AL_LOCKS(al_fd_transport_py_begin, al_transport_lock)

PyObject *
al_fd_transport_py_is_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(al_transport_is_reading(TransportObject_CAST(op)));
}

AL_LOCKS(al_fd_transport_py_is_reading, al_transport_lock)

static void
fd_transport_log(TransportObject *self, const char *format)
{
    if (self->loop != NULL && self->loop->is_debug) {
        al_transport_debug(self, format);
    }
}

PyObject *
al_fd_transport_py_pause_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    AL_CHECK(al_transport_check, self);
    if (al_transport_is_reading(self)) {
        self->is_paused = true;
        self->kind->stop_reading(self);
        fd_transport_log(self, "%r pauses reading");
    }
    Py_RETURN_NONE;
}

AL_LOCKS(al_fd_transport_py_pause_reading, al_transport_lock)

PyObject *
al_fd_transport_py_resume_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    AL_CHECK(al_transport_check, self);
    if (!al_transport_is_open(self) || !self->is_paused) {
        Py_RETURN_NONE;
    }
    self->is_paused = false;
    if (self->kind->start_reading(self) < 0) {
        self->is_paused = true; /* the program may try again */
        return NULL;
    }
    fd_transport_log(self, "%r resumes reading");
    Py_RETURN_NONE;
}

AL_LOCKS(al_fd_transport_py_resume_reading, al_transport_lock)

PyObject *
al_fd_transport_py_can_write_eof(PyObject *Py_UNUSED(op),
                                 PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_TRUE;
}

/* --- Python: repr and lifetime --------------------------------------------- */

PyObject *
al_fd_transport_repr(TransportObject *self, const al_fdwatch *watch,
                     size_t size)
{
    const char *phase = self->phase == AL_TRANSPORT_OPEN      ? ""
                        : self->phase == AL_TRANSPORT_CLOSING ? " closing"
                                                              : " closed";
    const char *name = self->kind->name;

    if (self->loop == NULL || self->loop->is_closed) {
        return PyUnicode_FromFormat("<asyncloop.%s%s fd=%d>", name, phase,
                                    self->desc.fd);
    }
    return PyUnicode_FromFormat(
        "<asyncloop.%s%s fd=%d read=%s write=<%s, bufsize=%zu>>", name, phase,
        self->desc.fd, watch->reader.object != NULL ? "polling" : "idle",
        watch->writer.object != NULL ? "polling" : "idle", size);
}

void
al_fd_transport_finalize(PyObject *op)
{
    TransportObject *self = TransportObject_CAST(op);

    if (self->desc.phase != AL_DESCRIPTOR_NONE) {
        AL_LOCK(al_transport_lock(op));
        al_transport_finalize(self);
        AL_UNLOCK();
    }
}

static void
fd_transport_dealloc(PyObject *op)
{
    TransportObject *self = TransportObject_CAST(op);
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = self->state;

    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return; /* a handler of the warning keeps the transport */
    }
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    AL_LOCK(al_transport_lock(op));
    (void)type->tp_clear(op);
    AL_UNLOCK();
    if (self->kind != NULL && self->kind->free != NULL) {
        self->kind->free(self);
    }
#if AL_FREE_THREADED
    Py_XDECREF(self->lock);
#endif
    type->tp_free(op);
    Py_DECREF(type);
    al_state_disown(state);
}

/* --- type ------------------------------------------------------------------ */

static const PyType_Slot fd_transport_slots[] = {
    {Py_tp_getset, al_transport_getset},
    {Py_tp_finalize, al_fd_transport_finalize},
    {Py_tp_dealloc, fd_transport_dealloc},
    {0, NULL},
};

/* 0, or -1 with ImportError set. */
static int
fd_transport_check_base(const PyTypeObject *base)
{
    /* The base is a Python class with __slots__ only. So between the object
     * head and the end of the base there are object pointers only. */
    if (base->tp_basicsize > (Py_ssize_t)offsetof(TransportObject, dict) ||
        base->tp_dictoffset != 0 || base->tp_weaklistoffset != 0)
    {
        PyErr_Format(PyExc_ImportError,
                     "the layout of asyncio's %s is not known to asyncloop",
                     base->tp_name);
        return -1;
    }
    return 0;
}

int
al_fd_transport_add_type(PyObject *module, const char *name, size_t size,
                         const PyType_Slot *slots, PyObject *bases,
                         PyTypeObject **type)
{
    PyObject *base = PyTuple_Check(bases) ? PyTuple_GET_ITEM(bases, 0) : bases;
    PyType_Slot all[Py_ARRAY_LENGTH(fd_transport_slots) + 8];
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)size,
        .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                  Py_TPFLAGS_DISALLOW_INSTANTIATION),
        .slots = all,
    };
    size_t count = 0;

    if (fd_transport_check_base((PyTypeObject *)base) < 0) {
        return -1;
    }
    for (; slots->slot != 0; slots++) {
        assert(count < 8);
        all[count++] = *slots;
    }
    memcpy(&all[count], fd_transport_slots, sizeof(fd_transport_slots));
    *type = al_state_add_type(module, &spec, bases);
    return *type == NULL ? -1 : 0;
}
