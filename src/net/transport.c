/* transport.c - what every transport has in common.
 *
 *     OPEN --- close(), abort(), an error ---> CLOSING
 *                                                 |  the queue is sent
 *                                                 |  (abort, error: dropped)
 *                                     al_transport_lose(): lost > 0
 *                                                 |  next turn
 *                        connection_lost(), release ---> CLOSED
 *
 * Invariants
 *   (1) lost > 0 => phase is not OPEN, and connection_lost() is scheduled or
 *       was called; it is called once.
 *   (2) CLOSED <=> loop == NULL <=> protocol.object == NULL (except while
 *       the garbage collector clears).
 */
#include "net/transport.h"

#include "base/args.h"
#include "sched/ready.h"
#include "sched/report.h"

#ifdef AL_DEBUG

void
al_transport_check(TransportObject *self)
{
    AL_HOLDS(1, self->lost == 0 || self->phase != AL_TRANSPORT_OPEN);
    if (self->phase != AL_TRANSPORT_CLOSED) {
        AL_HOLDS(2, self->loop != NULL && self->protocol.object != NULL);
        self->kind->check(self);
    }
}

/* Of one that is CLOSED, and not by the garbage collector. */
static void
transport_check_closed(const TransportObject *self)
{
    AL_HOLDS(1, self->lost > 0);
    AL_HOLDS(2, self->phase == AL_TRANSPORT_CLOSED);
    AL_HOLDS(2, self->loop == NULL && self->protocol.object == NULL);
}

#endif

int
al_transport_init(TransportObject *self, const al_transport_kind *kind,
                  al_loop_head *loop, PyObject *protocol, PyObject *extra,
                  PyObject *context)
{
    self->kind = kind;
    self->state = al_state_own(loop->state);
    al_flow_init(&self->flow);
    if (context != NULL) {
        self->context = Py_NewRef(context);
    }
    else if ((self->context = PyContext_CopyCurrent()) == NULL) {
        return -1;
    }
    if (extra != NULL && extra != Py_None) {
        if (!PyDict_Check(extra)) {
            PyErr_Format(PyExc_TypeError, "extra must be a dict, not %.100s",
                         Py_TYPE(extra)->tp_name);
            return -1;
        }
        self->extra = Py_NewRef(extra);
    }
    if (al_protocol_set(&self->protocol, loop->state, protocol) < 0) {
        return -1;
    }
    self->loop = al_loop_head_CAST(Py_NewRef((PyObject *)loop));
#if AL_FREE_THREADED
    self->lock = Py_NewRef((PyObject *)loop);
#endif
    return 0;
}

/* Call server._attach() or server._detach(): 0, or -1. */
static int
transport_call_server(TransportObject *self, PyObject *server, PyObject *name)
{
    return al_call_finish(
        AL_SERVER_KNOWS_TRANSPORTS
            ? PyObject_CallMethodOneArg(server, name, (PyObject *)self)
            : PyObject_CallMethodNoArgs(server, name));
}

int
al_transport_attach(TransportObject *self, PyObject *server)
{
    if (server == NULL || server == Py_None) {
        return 0;
    }
    if (transport_call_server(self, server, self->state->names._attach) < 0) {
        return -1;
    }
    self->server = Py_NewRef(server);
    return 0;
}

int
al_transport_call_soon(TransportObject *self, al_run_fn run,
                       const char *method)
{
    if (AL_LIKELY(al_loop_may_push(self->loop))) {
        return al_ready_push(self->loop, run, (PyObject *)self);
    }
    /* The loop is closed, in debug mode or patched, or its call_soon() is
     * overridden: call it. */
    PyObject *result = NULL;
    PyObject *callback = PyObject_GetAttrString((PyObject *)self, method);
    if (callback != NULL) {
        result = PyObject_CallMethodOneArg(
            (PyObject *)self->loop, self->state->names.call_soon, callback);
        Py_DECREF(callback);
    }
    return al_call_finish(result);
}

int
al_transport_leave(TransportObject *self, int rc)
{
    PyObject *raised = rc < 0 ? PyErr_GetRaisedException() : NULL;

    AL_CHECK(al_transport_check, self);
    if (PyContext_Exit(self->context) < 0) {
        Py_XDECREF(raised); /* the call has entered another context */
        return -1;
    }
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
    }
    return rc;
}

/* --- reading ------------------------------------------------------------ */

/* A transport that receives bulk data takes and frees blocks of up to 256 KiB
 * all the time. glibc returns each block to the kernel, which then has to map
 * it again page by page. Freeing one larger block ends that: from then on
 * glibc keeps free memory up to twice its size (mallopt(3)). */
static void
transport_keep_memory(void)
{
    PyMem_RawFree(PyMem_RawMalloc((size_t)1024 * 1024));
}

char *
al_transport_recv_buffer(al_loop_head *loop)
{
    if (loop->recv_buffer == NULL) {
        transport_keep_memory();
        loop->recv_buffer = PyMem_Malloc(AL_RECV_RECORDS);
        if (loop->recv_buffer == NULL) {
            PyErr_NoMemory();
        }
    }
    return loop->recv_buffer;
}

/* --- flow control ------------------------------------------------------- */

/* pause_writing() and resume_writing() alternate. is_paused is set before the
 * call, so that a write() or a change of the limits inside the call does not
 * make a second one. */

int
al_transport_maybe_pause(TransportObject *self)
{
    al_flow *flow = &self->flow;

    if (AL_LIKELY(al_transport_pending(self) <= flow->high) ||
        flow->is_paused || self->protocol.object == NULL)
    {
        return 0;
    }
    flow->is_paused = true;
    if (al_protocol_tell(&self->protocol, self->state->names.pause_writing,
                         NULL) == 0)
    {
        return 0;
    }
    return al_transport_report(
        self, PyUnicode_FromString("protocol.pause_writing() failed"));
}

int
al_transport_maybe_resume(TransportObject *self)
{
    al_flow *flow = &self->flow;

    if (AL_LIKELY(!flow->is_paused) ||
        al_transport_pending(self) > flow->low ||
        self->protocol.object == NULL)
    {
        return 0;
    }
    flow->is_paused = false;
    int rc = al_transport_enter(self);
    if (rc == 0) {
        rc = al_transport_leave(
            self, al_protocol_tell(&self->protocol,
                                   self->state->names.resume_writing, NULL));
    }
    if (rc == 0) {
        return 0;
    }
    return al_transport_report(
        self, PyUnicode_FromString("protocol.resume_writing() failed"));
}

/* --- the end ------------------------------------------------------------ */

int
al_transport_lose(TransportObject *self, PyObject *exc)
{
    assert(self->lost == 0);
    AL_CHECK(al_transport_check, self);
    self->phase = AL_TRANSPORT_CLOSING;
    self->lost = 1;
    Py_XSETREF(self->lost_exc, Py_XNewRef(exc == Py_None ? NULL : exc));
    return al_transport_call_soon(self, al_transport_run_lost,
                                  "_call_connection_lost");
}

int
al_transport_force_close(TransportObject *self, PyObject *exc)
{
    if (self->lost > 0) {
        return 0;
    }
    /* Send held bytes first: if the peer is gone, connection_lost() must
     * report the error that asyncio would have met in write(). */
    if (al_transport_send_held(self) < 0) {
        return -1;
    }
    if (self->lost > 0) {
        return 0;
    }
    /* stop() drops references and so may run anything, which must see that we
     * are closing. */
    self->phase = AL_TRANSPORT_CLOSING;
    self->kind->stop(self);
    return self->lost > 0 ? 0 : al_transport_lose(self, exc);
}

/* Detach from the server: 0, or -1 with an exception set. */
static int
transport_detach(TransportObject *self)
{
    PyObject *server = self->server;
    if (server == NULL) {
        return 0;
    }
    self->server = NULL;
    int rc = transport_call_server(self, server, self->state->names._detach);
    Py_DECREF(server);
    return rc;
}

/* Release everything, after connection_lost(). */
static void
transport_release(TransportObject *self)
{
    self->phase = AL_TRANSPORT_CLOSED;
    if (self->lost == 0) {
        self->lost = 1; /* by (1) */
    }
    if (self->kind->is_connection && self->loop != NULL) {
        AL_TALLY(self->loop->metrics.lost, 1);
        AL_TALLY(self->loop->metrics.failed, self->lost_exc != NULL);
    }
    self->kind->release(self);
    if (al_descriptor_release(&self->desc, self->state) < 0) {
        PyErr_WriteUnraisable(self->desc.object);
    }
    Py_CLEAR(self->waiter);
    al_protocol_clear(&self->protocol);
    Py_CLEAR(self->lost_exc);
    Py_CLEAR(self->loop);
    AL_CHECK(transport_check_closed, self);
}

int
al_transport_run_lost(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    TransportObject *self = TransportObject_CAST(op);
    int rc;

    AL_CHECK(al_transport_check, self);
    if (self->phase == AL_TRANSPORT_CLOSED) {
        return 0; /* the loop was closed and the transport finalised */
    }
    /* Own the loop: connection_lost() may call this function, which sets
     * self->loop to NULL. */
    al_loop_head *loop = al_loop_head_CAST(Py_NewRef((PyObject *)self->loop));
    PyObject *exc = Py_NewRef(al_or_none(self->lost_exc));
    rc = al_transport_enter(self);
    if (rc == 0) {
        rc = al_transport_leave(
            self, al_protocol_tell(&self->protocol,
                                   self->state->names.connection_lost, exc));
    }
    if (rc < 0) {
        /* Report before the release, which drops the loop and the protocol.
         * The release follows in any case. */
        rc = al_transport_report_callback(self, op, "_call_connection_lost",
                                          exc);
    }
    Py_DECREF(exc);

    PyObject *raised = PyErr_GetRaisedException();
    transport_release(self);
    if (transport_detach(self) < 0 && raised == NULL) {
        al_report_item items[] = {{self->state->names.transport, op},
                                  {NULL, NULL}};
        rc = al_report_exception(
            (PyObject *)loop, self->state,
            PyUnicode_FromString("Exception in callback Server._detach()"),
            items);
    }
    Py_DECREF(loop);
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
    }
    return rc;
}

/* --- Python: methods ---------------------------------------------------- */

PyObject *
al_transport_py_abort(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    AL_CHECK(al_transport_check, TransportObject_CAST(op));
    return al_call_none(
        al_transport_force_close(TransportObject_CAST(op), NULL));
}

AL_LOCKS(al_transport_py_abort, al_transport_lock)

PyObject *
al_transport_py_force_close(PyObject *op, PyObject *exc)
{
    AL_CHECK(al_transport_check, TransportObject_CAST(op));
    return al_call_none(
        al_transport_force_close(TransportObject_CAST(op), exc));
}

AL_LOCKS(al_transport_py_force_close, al_transport_lock)

PyObject *
al_transport_py_call_connection_lost(PyObject *op,
                                     PyObject *Py_UNUSED(ignored))
{
    return al_call_none(al_transport_run_lost(NULL, op));
}

AL_LOCKS(al_transport_py_call_connection_lost, al_transport_lock)

PyObject *
al_transport_py_is_closing(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    AL_CHECK(al_transport_check, self);
    /* Send held bytes first: in asyncio, a write() that failed has ended the
     * connection already. */
    return al_transport_send_held(self) < 0
               ? NULL
               : PyBool_FromLong(!al_transport_is_open(self));
}

AL_LOCKS(al_transport_py_is_closing, al_transport_lock)

PyObject *
al_transport_py_get_protocol(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *protocol = TransportObject_CAST(op)->protocol.object;

    return Py_NewRef(al_or_none(protocol));
}

AL_LOCKS(al_transport_py_get_protocol, al_transport_lock)

PyObject *
al_transport_py_set_protocol(PyObject *op, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {"set_protocol", AL_ARGS("protocol"),
                                           1, 1, 0};
    TransportObject *self = TransportObject_CAST(op);
    PyObject *protocol = al_args_one(&signature, args, nargs, kwnames);

    if (protocol == NULL) {
        return NULL;
    }
    /* By (2), a CLOSED transport has no protocol: it would never call or drop
     * it. */
    if (self->phase != AL_TRANSPORT_CLOSED &&
        al_protocol_set(&self->protocol, self->state, protocol) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

AL_LOCKS_KEYWORDS(al_transport_py_set_protocol, al_transport_lock)

PyObject *
al_transport_ask_socket(PyObject *sock, const char *method)
{
    Py_INCREF(sock);
    PyObject *address = PyObject_CallMethod(sock, method, NULL);
    Py_DECREF(sock);
    if (address == NULL && PyErr_ExceptionMatches(PyExc_OSError)) {
        PyErr_Clear();
        return Py_NewRef(Py_None);
    }
    return address;
}

/* The dict of extra information, made at the first use: borrowed, or NULL. */
static PyObject *
transport_extra(TransportObject *self)
{
    if (self->extra == NULL) {
        self->extra = PyDict_New();
    }
    return self->extra;
}

/* -> new reference, NULL without an exception if there is none. */
static PyObject *
transport_get_extra(TransportObject *self, PyObject *name)
{
    PyObject *value = NULL;

    if (name == self->state->names.socket && al_transport_send_held(self) < 0)
    {
        return NULL;
    }
    if (transport_extra(self) == NULL ||
        PyDict_GetItemRef(self->extra, name, &value) != 0)
    {
        return value;
    }
    if (self->kind->make_extra != NULL) {
        value = self->kind->make_extra(self, name);
    }
    if (value != NULL && PyDict_SetItem(self->extra, name, value) < 0) {
        Py_CLEAR(value);
    }
    return value;
}

/* Make an item of it now. 0, or -1 with an exception set. */
static int
transport_make_extra(TransportObject *self, PyObject *name)
{
    PyObject *value = transport_get_extra(self, name);

    Py_XDECREF(value);
    return value == NULL && PyErr_Occurred() ? -1 : 0;
}

int
al_transport_learn_addresses(TransportObject *self)
{
    return transport_make_extra(self, self->state->names.sockname) < 0
               ? -1
               : transport_make_extra(self, self->state->names.peername);
}

int
al_transport_is_replaced(PyObject *op, PyObject *name, PyObject *stock)
{
    PyObject *bases = Py_TYPE(op)->tp_bases;
    bool is_stock = true;

    for (Py_ssize_t i = 0; is_stock && i < PyTuple_GET_SIZE(bases); i++) {
        PyObject *found = PyObject_GetAttr(PyTuple_GET_ITEM(bases, i), name);
        if (found == NULL) {
            return -1;
        }
        is_stock = found == stock;
        Py_DECREF(found);
    }
    return !is_stock;
}

PyObject *
al_transport_call_replaced(PyObject *op, PyObject *name, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames)
{
    /* Python's super() binds the method to us, whatever the program has put
     * there. */
    PyObject *super = PyObject_CallFunctionObjArgs(
        (PyObject *)&PySuper_Type, (PyObject *)Py_TYPE(op), op, NULL);
    PyObject *method = super == NULL ? NULL : PyObject_GetAttr(super, name);
    PyObject *result =
        method == NULL
            ? NULL
            : PyObject_Vectorcall(method, args, (size_t)nargs, kwnames);

    Py_XDECREF(super);
    Py_XDECREF(method);
    return result;
}

PyObject *
al_transport_py_get_extra_info(PyObject *op, PyObject *const *args,
                               Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {"get_extra_info",
                                           AL_ARGS("name", "default"),
                                           .required = 1, .positional = 2};
    const al_state *state = TransportObject_CAST(op)->state;
    PyObject *a[2];

    int rc = al_transport_is_replaced(op, state->names.get_extra_info,
                                      state->imports.stock_get_extra_info);
    if (rc != 0) {
        return rc < 0 ? NULL
                      : al_transport_call_replaced(op,
                                                   state->names.get_extra_info,
                                                   args, nargs, kwnames);
    }
    if (al_args_parse(&signature, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    PyObject *value = transport_get_extra(TransportObject_CAST(op), a[0]);
    if (value == NULL && !PyErr_Occurred()) {
        value = Py_NewRef(a[1] == NULL ? Py_None : a[1]);
    }
    return value;
}

AL_LOCKS_KEYWORDS(al_transport_py_get_extra_info, al_transport_lock)

PyObject *
al_transport_py_get_write_buffer_size(PyObject *op,
                                      PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    AL_CHECK(al_transport_check, self);
    return al_transport_send_held(self) < 0
               ? NULL
               : PyLong_FromSize_t(al_transport_pending(self));
}

AL_LOCKS(al_transport_py_get_write_buffer_size, al_transport_lock)

PyObject *
al_transport_py_get_write_buffer_limits(PyObject *op,
                                        PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    return Py_BuildValue("(nn)", (Py_ssize_t)self->flow.low,
                         (Py_ssize_t)self->flow.high);
}

AL_LOCKS(al_transport_py_get_write_buffer_limits, al_transport_lock)

PyObject *
al_transport_py_set_write_buffer_limits(PyObject *op, PyObject *const *args,
                                        Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {
        "set_write_buffer_limits", AL_ARGS("high", "low"), .positional = 2};
    TransportObject *self = TransportObject_CAST(op);
    PyObject *a[2];

    if (al_args_parse(&signature, args, nargs, kwnames, a) < 0 ||
        al_transport_send_held(self) < 0 ||
        al_flow_set_limits(&self->flow, a[0], a[1]) < 0 ||
        al_transport_maybe_pause(self) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

AL_LOCKS_KEYWORDS(al_transport_py_set_write_buffer_limits, al_transport_lock)

/* --- Python: what asyncio's own Python code and tests read ------------- */

static PyObject *
Transport_get_loop(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *loop = (PyObject *)TransportObject_CAST(op)->loop;

    return Py_NewRef(al_or_none(loop));
}

static PyObject *
Transport_get_protocol(PyObject *op, void *Py_UNUSED(closure))
{
    return al_transport_py_get_protocol(op, NULL);
}

static PyObject *
Transport_get_extra(PyObject *op, void *Py_UNUSED(closure))
{
    TransportObject *self = TransportObject_CAST(op);
    al_state *state = self->state;

    if (transport_make_extra(self, state->names.socket) < 0 ||
        al_transport_learn_addresses(self) < 0)
    {
        return NULL;
    }
    return Py_NewRef(self->extra);
}

/* The socket itself; get_extra_info("socket") returns a wrapper around it. */
static PyObject *
Transport_get_sock(PyObject *op, void *Py_UNUSED(closure))
{
    TransportObject *self = TransportObject_CAST(op);

    if (self->phase == AL_TRANSPORT_CLOSED) {
        Py_RETURN_NONE;
    }
    PyObject *shown = transport_get_extra(self, self->state->names.socket);
    if (shown == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    PyObject *sock = PyObject_GetAttrString(shown, "_sock");
    Py_DECREF(shown);
    return sock;
}

static PyObject *
Transport_get_sock_fd(PyObject *op, void *Py_UNUSED(closure))
{
    TransportObject *self = TransportObject_CAST(op);

    if (al_transport_send_held(self) < 0) {
        return NULL;
    }
    al_descriptor_show(&self->desc);
    return PyLong_FromLong(self->desc.fd);
}

AL_LOCKS_GETTER(Transport_get_loop, al_transport_lock)
AL_LOCKS_GETTER(Transport_get_protocol, al_transport_lock)
AL_LOCKS_GETTER(Transport_get_extra, al_transport_lock)
AL_LOCKS_GETTER(Transport_get_sock, al_transport_lock)
AL_LOCKS_GETTER(Transport_get_sock_fd, al_transport_lock)

static PyObject *
Transport_get_closing(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(!al_transport_is_open(TransportObject_CAST(op)));
}

PyGetSetDef al_transport_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {"_closing", Transport_get_closing, NULL, NULL, NULL},
    {"_loop", AL_LOCKED(Transport_get_loop), NULL, NULL, NULL},
    {"_protocol", AL_LOCKED(Transport_get_protocol), NULL, NULL, NULL},
    {"_extra", AL_LOCKED(Transport_get_extra), NULL, NULL, NULL},
    {"_sock", AL_LOCKED(Transport_get_sock), NULL, NULL, NULL},
    {"_sock_fd", AL_LOCKED(Transport_get_sock_fd), NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyMemberDef al_transport_members[] = {
    AL_TRANSPORT_MEMBERS,
    {NULL, 0, 0, 0, NULL},
};

/* --- Python: lifetime --------------------------------------------------- */

void
al_transport_finalize(TransportObject *self)
{
    PyObject *raised = PyErr_GetRaisedException();

    if (PyErr_ResourceWarning((PyObject *)self, 1, "unclosed transport %R",
                              self) < 0)
    {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    self->kind->stop(self);
    transport_release(self);
    if (transport_detach(self) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    PyErr_SetRaisedException(raised);
}

int
al_transport_traverse(PyObject *op, visitproc visit, void *arg)
{
    TransportObject *self = TransportObject_CAST(op);

    Py_VISIT(Py_TYPE(self));
    for (int i = 0; i < AL_TRANSPORT_BASE_SLOTS; i++) {
        Py_VISIT(self->base_slots[i]);
    }
    Py_VISIT(self->dict);
    Py_VISIT((PyObject *)self->loop);
#if AL_FREE_THREADED
    Py_VISIT(self->lock);
#endif
    Py_VISIT(self->context);
    Py_VISIT(self->waiter);
    Py_VISIT(self->server);
    Py_VISIT(self->extra);
    Py_VISIT(self->lost_exc);
    Py_VISIT(self->desc.object);
    return al_protocol_traverse(&self->protocol, visit, arg);
}

int
al_transport_clear(PyObject *op)
{
    TransportObject *self = TransportObject_CAST(op);

    /* Set CLOSED first: clearing may run code that calls our methods. */
    if (self->phase != AL_TRANSPORT_CLOSED) {
        self->phase = AL_TRANSPORT_CLOSED;
        self->lost += self->lost == 0;
    }
    for (int i = 0; i < AL_TRANSPORT_BASE_SLOTS; i++) {
        Py_CLEAR(self->base_slots[i]);
    }
    al_protocol_clear(&self->protocol);
    Py_CLEAR(self->dict);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->context);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->server);
    Py_CLEAR(self->extra);
    Py_CLEAR(self->lost_exc);
    Py_CLEAR(self->desc.object);
    return 0;
}
