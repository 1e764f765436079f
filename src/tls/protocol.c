/* protocol.c - asyncio's SSLProtocol; the methods that move bytes are in C.
 *
 *     transport below
 *        | get_buffer(), buffer_updated(n)        ^ write(), writelines()
 *        v                                        |
 *     read.c                                   write.c
 *        |                                        ^
 *        v                                        |
 *     the user's protocol                      SSLTransport (transport.c)
 *
 * The state machine (handshake, goodbye, timeouts, logging) is the running
 * Python's asyncio.sslproto.SSLProtocol.  A Python class derives from this
 * type and from it, in this order.  Its code reads and sets our fields as
 * attributes.
 *
 * Invariants
 *   (1) The buffer that all transports of a loop share is used between the
 *       system call and al_tls_engine_feed() or al_tls_engine_keep() only.  In between no
 *       Python code may run: another transport would receive into the
 *       buffer.  So no method is looked up; and before Python 3.12 no tracked
 *       object is made, because that may collect garbage.
 *   (2) last_buffer is AL_TLS_BUFFER_SHARED => the engine is bound;
 *       AL_TLS_BUFFER_OWN => there is a `buffer`.
 */
#include "tls/protocol.h"

#include "net/fd_transport.h"
#include "net/protocol.h"

#define AL_TLS_FOREIGN_BUFFER ((Py_ssize_t)64 * 1024)

#ifdef AL_DEBUG

void
al_tls_check(const SSLProtocolObject *self)
{
    AL_HOLDS(2, self->last_buffer != AL_TLS_BUFFER_SHARED ||
                    al_tls_engine_is_bound(&self->engine));
    AL_HOLDS(2,
             self->last_buffer != AL_TLS_BUFFER_OWN || self->buffer != NULL);
    al_tls_engine_check(&self->engine);
    al_tls_check_unsent(self);
}

#endif

int
al_tls_call(SSLProtocolObject *self, PyObject *name)
{
    PyObject *result = PyObject_CallMethodNoArgs((PyObject *)self, name);
    return al_call_finish(result);
}

int
al_tls_fatal_error(SSLProtocolObject *self)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(exc); /* logging reads sys.exc_info() */
    PyObject *result =
        PyObject_CallMethod((PyObject *)self, "_fatal_error", "Os", exc,
                            "Fatal error on SSL protocol");
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    Py_DECREF(exc);
    return al_call_finish(result);
}

bool
al_tls_is_below(Py_ssize_t size, PyObject *limit)
{
    if (limit == NULL || !PyLong_CheckExact(limit)) {
        return false;
    }
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(limit, &overflow);
    return overflow > 0 || (long long)size < value;
}

int
al_tls_check_init(SSLProtocolObject *self)
{
    if (AL_LIKELY(self->sslobj != NULL && self->incoming != NULL &&
                  self->outgoing != NULL))
    {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, "SSLProtocol is not initialized");
    return -1;
}

PyObject *
al_tls_backlog(SSLProtocolObject *self)
{
    if (self->write_backlog == NULL) {
        self->write_backlog =
            PyObject_CallNoArgs(al_tls_state(self)->imports.deque);
    }
    return self->write_backlog;
}

bool
al_tls_has_backlog(SSLProtocolObject *self)
{
    if (self->write_backlog == NULL) {
        return false;
    }
    /* Do not test its number of bytes: objects without a length count 0. */
    Py_ssize_t size = PyObject_Size(self->write_backlog);
    if (size < 0) {
        PyErr_Clear();
    }
    return size != 0;
}

int
al_tls_bind(SSLProtocolObject *self)
{
    if (AL_LIKELY(al_tls_engine_is_bound(&self->engine))) {
        return 0;
    }
    if (al_tls_check_init(self) < 0) {
        return -1;
    }
    int rc = al_tls_engine_bind(&self->engine, al_tls_state(self),
                                self->sslobj, self->incoming, self->outgoing);
    if (rc < 0) {
        al_tls_engine_clear(&self->engine);
    }
    return rc;
}

/* --- Python: methods ---------------------------------------------------- */

/* The buffer that the transport below shares with others. -> borrowed; NULL:
 * there is none, or MemoryError is set. */
static char *
tls_shared_buffer(SSLProtocolObject *self)
{
    const al_transport_kind *kind = al_fd_transport_kind(self->transport);

    return AL_LIKELY(kind != NULL && kind->fills_at_once) /* by (1) */
               ? al_fd_transport_recv_buffer(self->transport)
               : NULL;
}

static PyObject *
SSLProtocol_get_buffer(PyObject *op, PyObject *Py_UNUSED(hint))
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);
    char *shared = tls_shared_buffer(self);

    AL_CHECK(al_tls_check, self);
    if (AL_LIKELY(shared != NULL)) {
        if (al_tls_bind(self) < 0) { /* now, by (1) */
            return NULL;
        }
        self->last_buffer = AL_TLS_BUFFER_SHARED;
        return PyMemoryView_FromMemory(shared, AL_RECV_RECORDS, PyBUF_WRITE);
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (self->buffer == NULL) {
        self->buffer =
            PyByteArray_FromStringAndSize(NULL, AL_TLS_FOREIGN_BUFFER);
        if (self->buffer == NULL) {
            return NULL;
        }
    }
    self->last_buffer = AL_TLS_BUFFER_OWN;
    return PyMemoryView_FromObject(self->buffer);
}

/* asyncio's _do_handshake(): 0, or -1 with an exception set. */
static int
tls_do_handshake(SSLProtocolObject *self)
{
    al_state *state = al_tls_state(self);

    if (al_tls_bind(self) < 0) {
        return -1;
    }
    if (self->server_side == Py_True && !self->engine.has_begun) {
        return 0; /* the client sends first: OpenSSL would raise */
    }
    PyObject *exc = NULL;
    int rc = al_tls_engine_handshake(&self->engine);
    if (rc == 0) {
        return al_tls_flush(self);
    }
    if (rc < 0) {
        if (!PyErr_ExceptionMatches(state->tls_error)) {
            return -1;
        }
        exc = PyErr_GetRaisedException();
    }
    PyObject *result = PyObject_CallMethodOneArg(
        (PyObject *)self, state->names._on_handshake_complete,
        al_or_none(exc));
    Py_XDECREF(exc);
    return al_call_finish(result);
}

/* Handle the received bytes, as asyncio's buffer_updated() does. */
static int
tls_go_on(SSLProtocolObject *self)
{
    al_state *state = al_tls_state(self);

    if (AL_LIKELY(self->state == state->tls_wrapped)) {
        return al_tls_read(self);
    }
    if (self->state == state->tls_do_handshake) {
        return tls_do_handshake(self);
    }
    if (self->state == state->tls_flushing) {
        return al_tls_call(self, state->names._do_flush);
    }
    if (self->state == state->tls_shutdown) {
        return al_tls_call(self, state->names._do_shutdown);
    }
    return 0;
}

/* The buffer that get_buffer() has returned last, and its size. -> NULL
 * without an exception, and a size of 0: it was not called, or it was the
 * buffer of a transport that is gone. */
static char *
tls_last_buffer(SSLProtocolObject *self, Py_ssize_t *room)
{
    char *shared;

    switch (self->last_buffer) {
    case AL_TLS_BUFFER_SHARED:
        shared = tls_shared_buffer(self);
        PyErr_Clear();
        *room = shared == NULL ? 0 : AL_RECV_RECORDS;
        return shared;
    case AL_TLS_BUFFER_OWN:
        *room = PyByteArray_GET_SIZE(self->buffer);
        return PyByteArray_AS_STRING(self->buffer);
    case AL_TLS_BUFFER_NONE:
        break;
    }
    *room = 0;
    return NULL;
}

/* Whether al_tls_read() is going to be called, and decrypts before anything
 * else: then the engine need not copy the bytes. */
static inline bool
tls_reads_at_once(SSLProtocolObject *self)
{
    return self->state == al_tls_state(self)->tls_wrapped &&
           !self->app_reading_paused && !self->app_is_buffered;
}

/* Put bytes of the peer into the incoming BIO. Before connection_made() has
 * begun the handshake there is no engine; it will find the bytes in the BIO.
 * 0, or -1 with an exception set. */
static int
tls_feed(SSLProtocolObject *self, char *bytes, Py_ssize_t size)
{
    if (AL_UNLIKELY(self->sslobj == Py_None && self->incoming != NULL)) {
        PyObject *n =
            PyObject_CallMethod(self->incoming, "write", "y#", bytes, size);
        Py_XDECREF(n);
        return n == NULL ? -1 : 0;
    }
    if (al_tls_bind(self) < 0) {
        return -1;
    }
    return size == 0 ? 0
                     : al_tls_engine_feed(&self->engine, bytes, size,
                                          tls_reads_at_once(self));
}

/* Handle `size` bytes of the peer, as buffer_updated() does. */
static int
tls_receive(SSLProtocolObject *self, char *data, Py_ssize_t size)
{
    return tls_feed(self, data, size) < 0 ? -1 : tls_go_on(self);
}

static PyObject *
SSLProtocol_buffer_updated(PyObject *op, PyObject *arg)
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);
    Py_ssize_t room;

    AL_CHECK(al_tls_check, self);
    Py_ssize_t size = PyLong_AsSsize_t(arg);
    if (size == -1 && PyErr_Occurred()) {
        return NULL;
    }
    char *buffer = tls_last_buffer(self, &room);
    if (size < 0 || size > room) {
        PyErr_SetString(PyExc_ValueError, "more than the buffer has room for");
        return NULL;
    }
    return al_call_none(tls_receive(self, buffer, size));
}

static PyObject *
SSLProtocol__do_handshake(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(tls_do_handshake(SSLProtocolObject_CAST(op)));
}

/* Go on to the next state, which is the usual case. For others call asyncio's
 * own method, which raises if the change is not allowed. */
static PyObject *
SSLProtocol__set_state(PyObject *op, PyObject *next)
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);
    al_state *state = al_tls_state(self);
    PyObject *const order[] = {state->tls_unwrapped, state->tls_do_handshake,
                               state->tls_wrapped, state->tls_flushing,
                               state->tls_shutdown};
    bool is_allowed = next == state->tls_unwrapped;

    for (size_t i = 1; i < Py_ARRAY_LENGTH(order) && !is_allowed; i++) {
        is_allowed = self->state == order[i - 1] && next == order[i];
    }
    if (is_allowed) {
        Py_XSETREF(self->state, Py_NewRef(next));
        Py_RETURN_NONE;
    }
    return PyObject_CallMethod(state->imports.asyncio_SSLProtocol,
                               "_set_state", "OO", op, next);
}

static PyObject *
SSLProtocol__do_read(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);

    AL_CHECK(al_tls_check, self);
    return al_call_none(al_tls_read(self));
}

static PyObject *
SSLProtocol__process_outgoing(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(al_tls_flush(SSLProtocolObject_CAST(op)));
}

PyDoc_STRVAR(SSLProtocol__drop_written_doc,
             "_drop_written($self, /)\n--\n\n"
             "Drop the ciphertext that was not sent.");

static PyObject *
SSLProtocol__drop_written(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);

    self->unsent_size = 0;
    Py_CLEAR(self->unsent);
    return al_tls_engine_is_bound(&self->engine)
               ? al_call_none(
                     al_call_finish(al_tls_engine_drain(&self->engine)))
               : Py_NewRef(Py_None);
}

static PyObject *
SSLProtocol__get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);

    if (al_tls_check_init(self) < 0) {
        return NULL;
    }
    PyObject *number = PyObject_GetAttrString(self->outgoing, "pending");
    if (number == NULL) {
        return NULL;
    }
    Py_ssize_t in_bio = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    if (in_bio == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return PyLong_FromSsize_t(al_tls_waiting(self) + in_bio +
                              al_tls_engine_outgoing(&self->engine));
}

/* Count complete records only. The beginning of a record stays in the BIO
 * here, while in asyncio OpenSSL takes it out. If it counted, reading might be
 * paused before the record's end has come. */
static PyObject *
SSLProtocol__get_read_buffer_size(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);

    if (al_tls_bind(self) < 0) {
        return NULL;
    }
    Py_ssize_t size = al_tls_engine_complete(&self->engine);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

/* What a method of a protocol locks: itself. */
static inline PyObject *
tls_lock(PyObject *op)
{
    return op;
}

AL_LOCKS(SSLProtocol_get_buffer, tls_lock)
AL_LOCKS(SSLProtocol_buffer_updated, tls_lock)
AL_LOCKS(SSLProtocol__do_handshake, tls_lock)
AL_LOCKS(SSLProtocol__set_state, tls_lock)
AL_LOCKS(SSLProtocol__do_read, tls_lock)
AL_LOCKS(SSLProtocol__process_outgoing, tls_lock)
AL_LOCKS(SSLProtocol__get_write_buffer_size, tls_lock)
AL_LOCKS(SSLProtocol__get_read_buffer_size, tls_lock)
AL_LOCKS(SSLProtocol__drop_written, tls_lock)

static PyMethodDef SSLProtocol_methods[] = {
    {"get_buffer", AL_LOCKED(SSLProtocol_get_buffer), METH_O, NULL},
    {"buffer_updated", AL_LOCKED(SSLProtocol_buffer_updated), METH_O, NULL},
    {"_do_handshake", AL_LOCKED(SSLProtocol__do_handshake), METH_NOARGS, NULL},
    {"_set_state", AL_LOCKED(SSLProtocol__set_state), METH_O, NULL},
    {"_do_read", AL_LOCKED(SSLProtocol__do_read), METH_NOARGS, NULL},
    {"_process_outgoing", AL_LOCKED(SSLProtocol__process_outgoing),
     METH_NOARGS, NULL},
    {"_get_write_buffer_size", AL_LOCKED(SSLProtocol__get_write_buffer_size),
     METH_NOARGS, NULL},
    {"_get_read_buffer_size", AL_LOCKED(SSLProtocol__get_read_buffer_size),
     METH_NOARGS, NULL},
    {"_drop_written", AL_LOCKED(SSLProtocol__drop_written), METH_NOARGS,
     SSLProtocol__drop_written_doc},
    {NULL, NULL, 0, NULL},
};

#define AL_TLS_MEMBER(name, type, field)                                      \
    {name, type, offsetof(SSLProtocolObject, field), 0, NULL}

static PyMemberDef SSLProtocol_members[] = {
    AL_TLS_MEMBER("_state", T_OBJECT, state),
    AL_TLS_MEMBER("_sslobj", T_OBJECT, sslobj),
    AL_TLS_MEMBER("_incoming", T_OBJECT, incoming),
    AL_TLS_MEMBER("_outgoing", T_OBJECT, outgoing),
    AL_TLS_MEMBER("_transport", T_OBJECT, transport),
    AL_TLS_MEMBER("_app_protocol", T_OBJECT, app_protocol),
    AL_TLS_MEMBER("_outgoing_high_water", T_OBJECT, outgoing_high),
    AL_TLS_MEMBER("_incoming_high_water", T_OBJECT, incoming_high),
    AL_TLS_MEMBER("_write_buffer_size", T_PYSSIZET, backlog_size),
    AL_TLS_MEMBER("_server_side", T_OBJECT, server_side),
    AL_TLS_MEMBER("_app_protocol_is_buffer", T_BOOL, app_is_buffered),
    AL_TLS_MEMBER("_app_reading_paused", T_BOOL, app_reading_paused),
    AL_TLS_MEMBER("_app_writing_paused", T_BOOL, app_writing_paused),
    AL_TLS_MEMBER("_ssl_reading_paused", T_BOOL, down_reading_paused),
    AL_TLS_MEMBER("_ssl_writing_paused", T_BOOL, down_writing_paused),
    {NULL, 0, 0, 0, NULL},
};

static PyObject *
SSLProtocol_get_write_backlog(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_XNewRef(al_tls_backlog(SSLProtocolObject_CAST(op)));
}

/* Do not keep an empty deque: it needs as much memory as the whole object, and
 * few connections need it. */
static int
SSLProtocol_set_write_backlog(PyObject *op, PyObject *value,
                              void *Py_UNUSED(closure))
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);
    Py_ssize_t size = value == NULL ? 0 : PyObject_Size(value);

    if (size < 0) {
        return -1;
    }
    Py_XSETREF(self->write_backlog, size == 0 ? NULL : Py_NewRef(value));
    return 0;
}

static PyGetSetDef SSLProtocol_getset[] = {
    {"_write_backlog", SSLProtocol_get_write_backlog,
     SSLProtocol_set_write_backlog, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- what a socket's transport calls in the place of methods --------------- */

static int
tls_expect(PyObject *op)
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);

    AL_CHECK(al_tls_check, self);
    if (AL_LIKELY(al_tls_engine_is_bound(&self->engine))) {
        return 0;
    }
    int rc;
    AL_LOCK(op);
    rc = al_tls_bind(self); /* now, by (1) */
    AL_UNLOCK();
    return rc;
}

static int
tls_take(PyObject *op, char *data, Py_ssize_t size)
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);
    int rc;

    AL_LOCK(op);
    rc = tls_receive(self, data, size);
    AL_UNLOCK();
    return rc;
}

static const al_receiver tls_receiver = {
    .buffer_updated = AL_LOCKED(SSLProtocol_buffer_updated),
    .expect = tls_expect,
    .take = tls_take,
};

/* --- type --------------------------------------------------------------- */

static PyObject *
SSLProtocol_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                PyObject *Py_UNUSED(kwargs))
{
    al_state *state = al_state_from_type(type);
    PyObject *op = state == NULL ? NULL : type->tp_alloc(type, 0);
    if (op != NULL) {
        AL_COUNT(state->SSLProtocolType, type != state->SSLProtocolType);
        SSLProtocolObject_CAST(op)->module_state = al_state_own(state);
    }
    return op;
}

static int
SSLProtocol_traverse(PyObject *op, visitproc visit, void *arg)
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->unsent);
    Py_VISIT(self->buffer);
    Py_VISIT(self->state);
    Py_VISIT(self->sslobj);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    Py_VISIT(self->transport);
    Py_VISIT(self->app_protocol);
    Py_VISIT(self->write_backlog);
    Py_VISIT(self->outgoing_high);
    Py_VISIT(self->incoming_high);
    Py_VISIT(self->server_side);
    return al_tls_engine_traverse(&self->engine, visit, arg);
}

static int
SSLProtocol_clear(PyObject *op)
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);

    self->unsent_size = 0;
    Py_CLEAR(self->unsent);
    self->last_buffer = AL_TLS_BUFFER_NONE;
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->state);
    Py_CLEAR(self->sslobj);
    Py_CLEAR(self->incoming);
    Py_CLEAR(self->outgoing);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->app_protocol);
    Py_CLEAR(self->write_backlog);
    Py_CLEAR(self->outgoing_high);
    Py_CLEAR(self->incoming_high);
    Py_CLEAR(self->server_side);
    al_tls_engine_clear(&self->engine);
    return 0;
}

static void
SSLProtocol_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = al_tls_state(SSLProtocolObject_CAST(op));

    PyObject_GC_UnTrack(op);
    (void)SSLProtocol_clear(op);
    AL_COUNT(state->SSLProtocolType, -(type != state->SSLProtocolType));
    type->tp_free(op);
    Py_DECREF(type);
    al_state_disown(state);
}

PyDoc_STRVAR(
    SSLProtocol_doc,
    "The base class for asyncio.sslproto.SSLProtocol with its methods "
    "that move bytes.");

static PyType_Slot SSLProtocol_slots[] = {
    {Py_tp_doc, (void *)SSLProtocol_doc},
    {Py_tp_new, SSLProtocol_new},
    {Py_tp_methods, SSLProtocol_methods},
    {Py_tp_members, SSLProtocol_members},
    {Py_tp_getset, SSLProtocol_getset},
    {Py_tp_traverse, SSLProtocol_traverse},
    {Py_tp_clear, SSLProtocol_clear},
    {Py_tp_dealloc, SSLProtocol_dealloc},
    {0, NULL},
};

static PyType_Spec SSLProtocol_spec = {
    .name = "asyncloop._core.SSLProtocol",
    .basicsize = sizeof(SSLProtocolObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = SSLProtocol_slots,
};

int
al_tls_protocol_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);
    const struct {
        PyObject **place;
        const char *name;
    } states[] = {
        {&state->tls_unwrapped, "UNWRAPPED"},
        {&state->tls_do_handshake, "DO_HANDSHAKE"},
        {&state->tls_wrapped, "WRAPPED"},
        {&state->tls_flushing, "FLUSHING"},
        {&state->tls_shutdown, "SHUTDOWN"},
    };

    for (size_t i = 0; i < Py_ARRAY_LENGTH(states); i++) {
        *states[i].place = PyObject_GetAttrString(
            state->imports.asyncio_SSLProtocolState, states[i].name);
        if (*states[i].place == NULL) {
            return -1;
        }
    }
    state->SSLProtocolType =
        al_state_add_type(module, &SSLProtocol_spec, NULL);
    state->tls_receiver = &tls_receiver;
    return state->SSLProtocolType == NULL ? -1 : 0;
}
