/* dgram_transport.c - UDP and Unix datagram transports: type, start and close.
 *
 *     a datagram socket ---> al_dgram_transport_new() ---> fd_transport.c
 *                                                              |
 *                                              dgram_read.c, dgram_write.c
 *
 * Making an endpoint need not be fast.  So we ask the socket object for its
 * family and addresses: it knows every address family.
 *
 * Invariant
 *   (1) The watch is out of the loop's table before the descriptor is closed.
 */
#include "net/dgram_transport.h"

#include "net/claim.h"

/* --- what transport.c asks of us ---------------------------------------- */

static void
dgram_transport_stop_reading(TransportObject *base)
{
    al_fdwatch_clear_reader(&((DatagramTransportObject *)base)->watch);
}

static int
dgram_transport_drained(TransportObject *base)
{
    al_fdwatch_clear_writer(&((DatagramTransportObject *)base)->watch);
    return 0;
}

static void
dgram_transport_stop(TransportObject *base)
{
    DatagramTransportObject *self = (DatagramTransportObject *)base;

    al_fdwatch_end(&self->watch);
    al_dgram_read_clear(self);
    al_dgram_write_clear(self);
}

static void
dgram_transport_release(TransportObject *base)
{
    DatagramTransportObject *self = (DatagramTransportObject *)base;

    al_fdwatch_close(&self->watch); /* by (1) */
    al_dgram_write_clear(self);
}

static void
dgram_transport_free(TransportObject *base)
{
    DatagramTransportObject *self = (DatagramTransportObject *)base;

    PyMem_Free(self->in);
    PyMem_Free(self->out.items);
    al_addr_cache_free(self->senders);
}

static const al_transport_kind dgram_transport_kind = {
    .name = "DatagramTransport",
    .read_failed = AL_DGRAM_READ_FAILED,
    .start_reading = al_dgram_read_start,
    .stop_reading = dgram_transport_stop_reading,
    .pending_at = offsetof(DatagramTransportObject, out_size),
    .queued_at = offsetof(DatagramTransportObject, out_count),
    .drained = dgram_transport_drained,
    .stop = dgram_transport_stop,
    .release = dgram_transport_release,
    .free = dgram_transport_free,
#ifdef AL_DEBUG
    .check = al_dgram_write_check,
#endif
};

int
al_dgram_transport_fail(DatagramTransportObject *self, const char *message)
{
    TransportObject *base = &self->base;

    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return al_transport_fatal_error(base, message);
    }
    PyObject *exc = PyErr_GetRaisedException();
    int rc = 0;
    /* A method of the socket may have ended us. */
    if (base->protocol.object != NULL) {
        rc = al_protocol_error_received(&base->protocol, base->state, exc);
    }
    Py_DECREF(exc);
    return rc;
}

/* --- start -------------------------------------------------------------- */

/* Call a method of the socket and put the result into the extra information.
 * -> borrowed, or NULL with an exception set. */
static PyObject *
dgram_transport_ask(DatagramTransportObject *self, PyObject *name,
                    const char *method)
{
    PyObject *extra = self->base.extra;

    PyObject *value = al_transport_ask_socket(self->base.desc.object, method);
    if (value == NULL) {
        return NULL;
    }
    int rc = PyDict_SetItem(extra, name, value);
    Py_DECREF(value);
    return rc < 0 ? NULL : value; /* the dict owns it */
}

/* Fill the extra information, and find out whether the socket has a peer: 0,
 * or -1 with an exception set. */
static int
dgram_transport_look(DatagramTransportObject *self)
{
    TransportObject *base = &self->base;
    al_state *state = base->state;

    if (base->extra == NULL && (base->extra = PyDict_New()) == NULL) {
        return -1;
    }
    PyObject *shown = al_claim_show_socket(base);
    if (shown == NULL) {
        return -1;
    }
    int rc = PyDict_SetItem(base->extra, state->names.socket, shown);
    Py_DECREF(shown);
    if (rc < 0 || dgram_transport_ask(self, state->names.sockname,
                                      "getsockname") == NULL)
    {
        return -1;
    }
    PyObject *peer =
        PyDict_GetItemWithError(base->extra, state->names.peername);
    if (peer == NULL && !PyErr_Occurred()) {
        peer = dgram_transport_ask(self, state->names.peername, "getpeername");
    }
    if (peer == NULL) {
        return -1;
    }
    /* asyncio tests the truth of the peer name. For a Unix socket pair it is
     * '': asyncio fails to send to that peer, we do not. */
    Py_INCREF(peer);
    int is_connected = PyObject_IsTrue(peer);
    self->is_paired = peer != Py_None;
    Py_DECREF(peer);
    self->is_connected = is_connected > 0;
    return is_connected < 0 ? -1 : 0;
}

/* Learn the socket's family: 0, or -1 with an exception set. */
static int
dgram_transport_learn_family(DatagramTransportObject *self)
{
    long family;

    int rc = al_call_number(PyObject_GetAttr(self->base.desc.object,
                                             self->base.state->names.family),
                            &family);
    self->family = (int)family;
    self->knows_family = al_sockaddr_knows(self->family);
    return rc;
}

/* al_fd_transport_init */
static int
dgram_transport_init(TransportObject *base, al_loop_head *loop,
                     const void *given)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(base);
    const al_dgram_transport_parts *parts = given;

    al_descriptor_take(&base->desc, parts->fd, parts->sock);
    self->in_batch = self->in_patience = 1;
    if (al_loop_check_closed(loop) < 0 ||
        al_claim_number(loop, parts->fd, false) < 0 ||
        al_fdwatch_open(&self->watch, loop, parts->fd, (PyObject *)self) < 0 ||
        al_transport_init(base, &dgram_transport_kind, loop, parts->protocol,
                          parts->extra, NULL) < 0 ||
        al_protocol_expect(&base->protocol, loop->state) < 0 ||
        dgram_transport_learn_family(self) < 0 ||
        dgram_transport_look(self) < 0)
    {
        return -1;
    }
    if (parts->address != NULL) {
        /* Test its truth, as asyncio does. */
        int is_given = PyObject_IsTrue(parts->address);
        if (is_given < 0) {
            return -1;
        }
        if (is_given) {
            self->address = Py_NewRef(parts->address);
        }
    }
    return 0;
}

PyObject *
al_dgram_transport_new(al_loop_head *loop,
                       const al_dgram_transport_parts *parts)
{
    return al_fd_transport_new(loop->state->DatagramTransportType, loop,
                               dgram_transport_init, parts, parts->waiter);
}

/* --- Python: methods ---------------------------------------------------- */

PyDoc_STRVAR(DatagramTransport_sendto_doc,
             "sendto($self, /, data, addr=None)\n--\n\n"
             "Send bytes, a bytearray or a memoryview as one datagram to "
             "`addr`, or to the remote\naddress of the endpoint; what the "
             "kernel does not take now is queued. An OSError\ngoes to "
             "error_received(). Raises TypeError for other data, ValueError "
             "for an addr\nthat is not the endpoint's remote address.");
PyDoc_STRVAR(DatagramTransport_close_doc,
             "close($self, /)\n--\n\n"
             "Send what is queued, then close the socket: nothing more is "
             "received,\nconnection_lost(None) follows.");

static PyObject *
DatagramTransport_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);
    TransportObject *base = &self->base;

    if (al_transport_send_held(base) < 0) {
        return NULL;
    }
    if (!al_transport_is_open(base)) {
        Py_RETURN_NONE;
    }
    if (self->out_count > 0 && !al_transport_is_ours(base)) {
        al_dgram_write_clear(self); /* nobody would send it */
    }
    base->phase = AL_TRANSPORT_CLOSING;
    al_dgram_read_clear(self);
    if (self->out_count > 0) {
        al_fdwatch_clear_reader(&self->watch);
        Py_RETURN_NONE; /* dgram_write_run() ends us when the queue is sent */
    }
    al_fdwatch_end(&self->watch);
    if (base->lost == 0 && al_transport_lose(base, NULL) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
DatagramTransport__read_ready(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(al_dgram_read_run(NULL, op));
}

AL_LOCKS(DatagramTransport_close, al_transport_lock)
AL_LOCKS(DatagramTransport__read_ready, al_transport_lock)

static PyMethodDef DatagramTransport_methods[] = {
    {"sendto", AL_KEYWORDS(AL_LOCKED(al_dgram_write_py_sendto)),
     DatagramTransport_sendto_doc},
    {"close", AL_LOCKED(DatagramTransport_close), METH_NOARGS,
     DatagramTransport_close_doc},
    AL_FD_TRANSPORT_METHODS,
    AL_FD_TRANSPORT_READ_METHODS,
    AL_FD_TRANSPORT_WRITE_METHODS,
    /* Not for users: claim.h, and a call_soon() that is overridden. */
    {"_show_number", AL_LOCKED(al_claim_py_show_number), METH_NOARGS, NULL},
    {"_trust_number", AL_LOCKED(al_claim_py_trust_number), METH_NOARGS, NULL},
    {"_read_ready", AL_LOCKED(DatagramTransport__read_ready), METH_NOARGS,
     NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
DatagramTransport_repr(PyObject *op)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);

    return al_fd_transport_repr(&self->base, &self->watch, self->out_size);
}

AL_LOCKS_REPR(DatagramTransport_repr, al_transport_lock)

/* --- Python: lifetime --------------------------------------------------- */

static int
DatagramTransport_traverse(PyObject *op, visitproc visit, void *arg)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);

    /* The loop visits the entries of the watch. Received bytes objects and
     * their addresses refer to nothing. */
    Py_VISIT(self->address);
    for (size_t i = 0; i < self->out_count; i++) {
        Py_VISIT(al_dgram_out_at(self, i)->address);
    }
    return al_transport_traverse(op, visit, arg);
}

static int
DatagramTransport_clear(PyObject *op)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);

    al_fdwatch_close(&self->watch);
    al_dgram_read_clear(self);
    al_dgram_write_clear(self);
    Py_CLEAR(self->address);
    return al_transport_clear(op);
}

/* --- type --------------------------------------------------------------- */

PyDoc_STRVAR(DatagramTransport_doc,
             "A UDP or Unix datagram socket as an asyncio.DatagramTransport.");

static const PyType_Slot DatagramTransport_slots[] = {
    {Py_tp_doc, (void *)DatagramTransport_doc},
    {Py_tp_methods, DatagramTransport_methods},
    {Py_tp_members, al_transport_members},
    {Py_tp_repr, AL_LOCKED(DatagramTransport_repr)},
    {Py_tp_traverse, DatagramTransport_traverse},
    {Py_tp_clear, DatagramTransport_clear},
    {0, NULL},
};

int
al_dgram_transport_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    PyObject *bases = PyTuple_Pack(2, state->imports.asyncio_FlowControlMixin,
                                   state->imports.asyncio_DatagramTransport);
    if (bases == NULL) {
        return -1;
    }
    int rc = al_fd_transport_add_type(
        module, "asyncloop._core.DatagramTransport",
        sizeof(DatagramTransportObject), DatagramTransport_slots, bases,
        &state->DatagramTransportType);
    Py_DECREF(bases);
    return rc;
}
