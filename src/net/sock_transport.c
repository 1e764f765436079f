/* sock_transport.c - TCP and Unix stream transports: type, start and close.
 *
 *     a connected socket ---> al_sock_transport_new() ---> fd_transport.c
 *                                                              |
 *                                                sock_read.c, sock_write.c
 *
 * An accepted connection has a descriptor only.  The socket object is made at
 * the first get_extra_info("socket"); from then on it closes the descriptor.
 *
 * Invariant
 *   (1) The watch leaves the loop's table before the descriptor is closed.
 */
#include "net/sock_transport.h"

#include "net/claim.h"
#include "sys/sock.h"

#include <errno.h>

/* --- what transport.c asks of us ---------------------------------------- */

static void
sock_transport_stop_reading(TransportObject *base)
{
    al_fdwatch_clear_reader(&((SocketTransportObject *)base)->watch);
}

static void
sock_transport_stop(TransportObject *base)
{
    SocketTransportObject *self = (SocketTransportObject *)base;

    al_fdwatch_end(&self->watch);
    al_chunks_clear(&self->outgoing);
}

static void
sock_transport_release(TransportObject *base)
{
    SocketTransportObject *self = (SocketTransportObject *)base;

    al_fdwatch_close(&self->watch); /* by (1) */
    al_sock_sendfile_end(self);
}

static void
sock_transport_free(TransportObject *base)
{
    PyMem_Free(((SocketTransportObject *)base)->sockname);
    PyMem_Free(((SocketTransportObject *)base)->peername);
}

/* Make the socket object of an accepted connection. After the end of the
 * transport it is a closed socket, as in asyncio. 0, or -1 with an exception
 * set. */
static int
sock_transport_make_sock(SocketTransportObject *self)
{
    PyObject *type = self->base.state->imports.socket_socket;
    al_descriptor *desc = &self->base.desc;
    bool is_open = desc->phase != AL_DESCRIPTOR_NONE;

    if (desc->object != NULL) {
        return 0;
    }
    PyObject *sock =
        is_open ? PyObject_CallFunction(type, "iiii", self->family, self->type,
                                        self->proto, desc->fd)
                : PyObject_CallFunction(type, "iii", self->family, self->type,
                                        self->proto);
    if (sock == NULL) {
        return -1;
    }
    /* The socket's __init__() is Python code. Meanwhile other code may have
     * made the object, too, or ended us, so that the number may be another
     * file's. */
    if (desc->object != NULL || (desc->phase != AL_DESCRIPTOR_NONE) != is_open)
    {
        PyObject *gone =
            PyObject_CallMethod(sock, is_open ? "detach" : "close", NULL);
        Py_DECREF(sock);
        if (gone == NULL) {
            return -1;
        }
        Py_DECREF(gone);
        return sock_transport_make_sock(self);
    }
    desc->object = sock; /* it closes the descriptor from now on */
    PyObject *result =
        is_open ? PyObject_CallMethod(sock, "setblocking", "O", Py_False)
                : PyObject_CallMethod(sock, "close", NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whether the socket object has to be asked for its addresses: we do not know
 * the address family, or the object is of a subclass of socket.socket. */
static bool
sock_transport_must_ask(SocketTransportObject *self,
                        const al_sockaddr *address)
{
    PyTypeObject *type =
        (PyTypeObject *)self->base.state->imports.socket_socket;
    PyObject *sock = self->base.desc.object;

    return (sock != NULL && !Py_IS_TYPE(sock, type)) ||
           (address != NULL && address->size > 0 &&
            !al_sockaddr_knows(address->any.sa.sa_family));
}

static PyObject *
sock_transport_make_extra(TransportObject *base, PyObject *name)
{
    SocketTransportObject *self = (SocketTransportObject *)base;
    al_state *state = base->state;
    al_sockaddr *address;
    const char *method;

    if (!PyUnicode_Check(name)) {
        return NULL;
    }
    if (PyUnicode_Compare(name, state->names.socket) == 0) {
        if (sock_transport_make_sock(self) < 0) {
            return NULL;
        }
        return al_claim_show_socket(base);
    }
    if (PyUnicode_Compare(name, state->names.sockname) == 0) {
        address = self->sockname;
        method = "getsockname";
    }
    else if (PyUnicode_Compare(name, state->names.peername) == 0) {
        address = self->peername;
        method = "getpeername";
    }
    else {
        return NULL;
    }
    if (sock_transport_must_ask(self, address)) {
        return sock_transport_make_sock(self) < 0
                   ? NULL
                   : al_transport_ask_socket(base->desc.object, method);
    }
    return address == NULL ? Py_NewRef(Py_None)
                           : al_sockaddr_to_python(address);
}

static const al_transport_kind sock_transport_kind = {
    .name = "SocketTransport",
    .read_failed = AL_SOCK_READ_FAILED,
    .start_reading = al_sock_read_start,
    .stop_reading = sock_transport_stop_reading,
    .pending_at = offsetof(SocketTransportObject, outgoing.size),
    .queued_at = offsetof(SocketTransportObject, outgoing.count),
    .drained = al_sock_write_drained,
    .stop = sock_transport_stop,
    .release = sock_transport_release,
    .free = sock_transport_free,
    .make_extra = sock_transport_make_extra,
    .write_bytes = al_sock_write_bytes,
    .fills_at_once = true,
    .is_connection = true,
#ifdef AL_DEBUG
    .check = al_sock_write_check,
#endif
};

/* --- start -------------------------------------------------------------- */

/* Store the addresses of both ends, and disable Nagle's algorithm. 0, or -1
 * with MemoryError set. */
static int
sock_transport_look(SocketTransportObject *self, const al_sockaddr *peername)
{
    al_sockaddr address;

    int fd = self->base.desc.fd;

    if (al_sock_name(fd, &address) == 0) {
        int family = address.any.sa.sa_family;
        if (family == AF_INET || family == AF_INET6) {
            al_sock_set_nodelay(fd);
        }
        self->sockname = al_sockaddr_copy(&address);
        if (self->sockname == NULL) {
            return -1;
        }
    }
    if (peername == NULL && al_sock_peer(fd, &address) == 0) {
        peername = &address;
    }
    if (peername != NULL) {
        self->peername = al_sockaddr_copy(peername);
        if (self->peername == NULL) {
            return -1;
        }
    }
    return 0;
}

/* al_fd_transport_init */
static int
sock_transport_init(TransportObject *base, al_loop_head *loop,
                    const void *given)
{
    SocketTransportObject *self = SocketTransportObject_CAST(base);
    const al_sock_transport_parts *parts = given;

    al_descriptor_take(&base->desc, parts->fd, parts->sock);
    self->family = parts->family;
    self->type = parts->type;
    self->proto = parts->proto;
    al_held_init(&self->habit);
    if (al_loop_check_closed(loop) < 0 ||
        al_claim_number(loop, parts->fd, parts->sock == NULL) < 0 ||
        al_fdwatch_open(&self->watch, loop, parts->fd, (PyObject *)self) < 0 ||
        al_transport_init(base, &sock_transport_kind, loop, parts->protocol,
                          parts->extra, parts->context) < 0 ||
        al_protocol_expect(&base->protocol, loop->state) < 0 ||
        sock_transport_look(self, parts->peername) < 0 ||
        al_transport_attach(base, parts->server) < 0)
    {
        return -1;
    }
    if (sock_transport_must_ask(self, NULL) &&
        al_transport_learn_addresses(base) < 0)
    {
        return -1;
    }
    return 0;
}

PyObject *
al_sock_transport_new(al_loop_head *loop, const al_sock_transport_parts *parts)
{
    return al_fd_transport_new(loop->state->SocketTransportType, loop,
                               sock_transport_init, parts, parts->waiter);
}

/* --- close -------------------------------------------------------------- */

int
al_sock_transport_close(SocketTransportObject *self)
{
    TransportObject *base = &self->base;

    AL_CHECK(al_transport_check, base);
    if (!al_transport_is_open(base)) {
        return 0;
    }
    if (al_transport_send_held(base) < 0) {
        return -1;
    }
    if (!al_transport_is_open(base)) {
        return 0; /* sending the held bytes has ended us */
    }
    if (self->outgoing.count > 0 && !al_transport_is_ours(base)) {
        return al_transport_fatal_errno(base, EBADF, AL_SOCK_WRITE_FAILED);
    }
    base->phase = AL_TRANSPORT_CLOSING;
    if (self->outgoing.count > 0) {
        al_fdwatch_clear_reader(&self->watch);
        return 0; /* sock_write_run() ends us when the queue is sent */
    }
    al_fdwatch_end(&self->watch); /* may run anything */
    return base->lost > 0 ? 0 : al_transport_lose(base, NULL);
}

/* --- Python: methods ---------------------------------------------------- */

PyDoc_STRVAR(SocketTransport_close_doc,
             "close($self, /)\n--\n\n"
             "Send what is queued, then end the connection: no more data is "
             "received,\nconnection_lost(None) follows.");

static PyObject *
SocketTransport_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(
        al_sock_transport_close(SocketTransportObject_CAST(op)));
}

PyDoc_STRVAR(SocketTransport_write_doc,
             "write($self, /, data)\n--\n\n"
             "Send bytes, a bytearray or a memoryview, without blocking: what "
             "the kernel does\nnot take now is queued. Small writes of one "
             "step of a task or one callback may\nleave together when it "
             "returns. Raises TypeError for other types, RuntimeError\nafter "
             "write_eof().");
PyDoc_STRVAR(SocketTransport_writelines_doc,
             "writelines($self, /, list_of_data)\n--\n\n"
             "Send all bytes-like objects of an iterable, in one system call "
             "if the kernel takes\nthem. Raises TypeError for other items, "
             "RuntimeError after write_eof().");
PyDoc_STRVAR(SocketTransport_write_eof_doc,
             "write_eof($self, /)\n--\n\n"
             "Close the sending half when all is sent; data may still be "
             "received.");
AL_LOCKS(SocketTransport_close, al_transport_lock)

static PyMethodDef SocketTransport_methods[] = {
    {"write", AL_KEYWORDS(AL_LOCKED(al_sock_write_py_write)),
     SocketTransport_write_doc},
    {"writelines", AL_KEYWORDS(AL_LOCKED(al_sock_write_py_writelines)),
     SocketTransport_writelines_doc},
    {"write_eof", AL_LOCKED(al_sock_write_py_write_eof), METH_NOARGS,
     SocketTransport_write_eof_doc},
    AL_FD_TRANSPORT_EOF_METHOD,
    {"close", AL_LOCKED(SocketTransport_close), METH_NOARGS,
     SocketTransport_close_doc},
    AL_FD_TRANSPORT_METHODS,
    AL_FD_TRANSPORT_READ_METHODS,
    AL_FD_TRANSPORT_WRITE_METHODS,
    {"_show_number", AL_LOCKED(al_claim_py_show_number), METH_NOARGS, NULL},
    {"_trust_number", AL_LOCKED(al_claim_py_trust_number), METH_NOARGS, NULL},
    {"_own_number", AL_LOCKED(al_claim_py_own_number), METH_NOARGS, NULL},
    {"_make_empty_waiter", AL_LOCKED(al_sock_sendfile_py_make_empty_waiter),
     METH_NOARGS, NULL},
    {"_lend", AL_LOCKED(al_sock_sendfile_py_lend), METH_O, NULL},
    {"_reset_empty_waiter", AL_LOCKED(al_sock_sendfile_py_reset_empty_waiter),
     METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
SocketTransport_repr(PyObject *op)
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);

    return al_fd_transport_repr(
        &self->base, &self->watch,
        al_held_is_of(self->base.loop, self) ? 0 : self->outgoing.size);
}

AL_LOCKS_REPR(SocketTransport_repr, al_transport_lock)

/* --- Python: lifetime --------------------------------------------------- */

static int
SocketTransport_traverse(PyObject *op, visitproc visit, void *arg)
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);

    /* The loop visits the entries of the watch. Queued bytes objects refer to
     * nothing. */
    Py_VISIT(self->sendfile);
    return al_transport_traverse(op, visit, arg);
}

static int
SocketTransport_clear(PyObject *op)
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);

    al_fdwatch_close(&self->watch);
    al_chunks_clear(&self->outgoing);
    Py_CLEAR(self->sendfile);
    return al_transport_clear(op);
}

/* --- type --------------------------------------------------------------- */

PyDoc_STRVAR(SocketTransport_doc,
             "A connected TCP or Unix socket as an asyncio.Transport.");

static const PyType_Slot SocketTransport_slots[] = {
    {Py_tp_doc, (void *)SocketTransport_doc},
    {Py_tp_methods, SocketTransport_methods},
    {Py_tp_members, al_transport_members},
    {Py_tp_repr, AL_LOCKED(SocketTransport_repr)},
    {Py_tp_traverse, SocketTransport_traverse},
    {Py_tp_clear, SocketTransport_clear},
    {0, NULL},
};

int
al_sock_transport_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    return al_fd_transport_add_type(
        module, "asyncloop._core.SocketTransport",
        sizeof(SocketTransportObject), SocketTransport_slots,
        state->imports.asyncio_FlowControlMixin, &state->SocketTransportType);
}
