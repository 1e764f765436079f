/* listener.c - a listening socket that makes transports.
 *
 *     fd readable ---> ready queue ---> accept4, several times
 *                                          | each: protocol_factory()
 *                                          v
 *                                   SocketTransport
 *
 * A connection needs no Python socket object and no task.  That is so with
 * TLS, too: there the factory wraps the user's protocol.
 *
 * If connections come one by one, a second accept4 would be in vain each time.
 * So a turn accepts as many connections as came together before.  While that
 * does not drain the kernel's queue, the next turn accepts twice as many.  A
 * long turn accepts all.  Factories may take long while other connections
 * wait: so accepting ends when the turn's budget is spent (io/budget.h).
 *
 * If the process is out of descriptors or memory, the socket stays readable
 * and each poll would find it.  So accepting pauses for a second.
 *
 * Invariants
 *   (1) Accepting <=> the loop's watch of fd has this listener as its reader.
 *       The watch owns the listener; during the pause above a timer owns it.
 *   (2) The descriptor is used only while it accepts: code that stops serving
 *       closes it, and the number may name another socket at once.  So it is
 *       not released before.
 */
#include "net/listener.h"

#include "base/errors.h"
#include "io/budget.h"
#include "io/fdwatch.h"
#include "sys/nowait.h"
#include "net/claim.h"
#include "sys/sock.h"
#include "net/sock_transport.h"
#include "sched/report.h"

#define AL_ACCEPT_RETRY_DELAY 1 /* seconds */

/* Whether the listener is accepting, by (1). */
static bool
listener_is_accepting(ListenerObject *self)
{
    al_fdwatch *watch = al_fdwatch_find(self->loop, self->desc.fd);

    return watch != NULL && watch->reader.object == (PyObject *)self;
}

#ifdef AL_DEBUG

static void
listener_check(ListenerObject *self)
{
    AL_HOLDS(2, !listener_is_accepting(self) ||
                    self->desc.phase != AL_DESCRIPTOR_NONE);
}

#endif

/* Stop accepting; call it only while it does. May run any code. */
static void
listener_unwatch(ListenerObject *self)
{
    al_fdwatch_clear_reader(al_fdwatch_find(self->loop, self->desc.fd));
}

/* --- errors ------------------------------------------------------------- */

/* Report the exception that is set, together with the listening socket.
 * 0, or -1 with an exception set that ends the run. */
static int
listener_report(ListenerObject *self, const char *message)
{
    al_state *state = self->loop->state;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *sock =
        PyObject_CallOneArg(state->imports.TransportSocket, self->desc.object);
    if (sock == NULL) {
        PyErr_Clear();
    }
    al_report_item items[] = {{state->names.socket, sock}, {NULL, NULL}};
    PyErr_SetRaisedException(exc);
    int rc = al_report_exception((PyObject *)self->loop, state,
                                 PyUnicode_FromString(message), items);
    Py_XDECREF(sock);
    return rc;
}

static int
listener_is_out_of_resource(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS ||
           errnum == ENOMEM;
}

/* Stop, and start again in a second. 0, or -1 with an exception set. */
static int
listener_back_off(ListenerObject *self)
{
    PyObject *loop = (PyObject *)self->loop;

    if (listener_report(self, "socket.accept() out of system resource") < 0) {
        return -1;
    }
    if (!listener_is_accepting(self)) {
        return 0; /* the exception handler has stopped us */
    }
    PyObject *resume = PyObject_GetAttrString((PyObject *)self, "_resume");
    PyObject *delay = PyLong_FromLong(AL_ACCEPT_RETRY_DELAY);
    PyObject *handle = NULL;
    if (resume != NULL && delay != NULL) {
        handle = PyObject_CallMethodObjArgs(
            loop, self->loop->state->names.call_later, delay, resume, NULL);
    }
    Py_XDECREF(delay);
    Py_XDECREF(resume);
    if (handle == NULL) {
        return -1;
    }
    Py_DECREF(handle);
    if (listener_is_accepting(self)) { /* call_later() may be overridden */
        listener_unwatch(self);
    }
    return 0;
}

/* accept4 failed: 0, or -1 with an exception set. */
static int
listener_fail(ListenerObject *self, int errnum)
{
    al_error_set_errno(errnum);
    return listener_is_out_of_resource(errnum)
               ? listener_back_off(self)
               : listener_report(self, "Accept failed on a socket");
}

/* The program has closed the listening socket without telling us: stop.
 * 0, or -1 with an exception set. */
static int
listener_note_closed(ListenerObject *self)
{
    listener_unwatch(self);
    if (al_descriptor_release(&self->desc, self->loop->state) < 0) {
        PyErr_WriteUnraisable(self->desc.object);
    }
    return listener_fail(self, EBADF);
}

/* --- connections -------------------------------------------------------- */

/* In debug mode. */
static void
listener_log(ListenerObject *self, PyObject *transport)
{
    PyObject *address =
        PyObject_CallMethod(transport, "get_extra_info", "s", "peername");

    al_transport_log(
        TransportObject_CAST(transport), "debug",
        Py_BuildValue("(sONO)", "%r got a new connection from %r: %r",
                      al_or_none(self->server), address, transport),
        NULL);
}

/* Making the transport has failed: close the connection. As in asyncio, the
 * error is reported in debug mode only. 0, or -1 with an exception set that
 * ends the run. */
static int
listener_drop(ListenerObject *self, int fd, PyObject *protocol)
{
    al_state *state = self->loop->state;

    al_nowait_close(fd);
    if (al_error_is_fatal()) {
        return -1;
    }
    if (!self->loop->is_debug) {
        PyErr_Clear();
        return 0;
    }
    al_report_item items[] = {{state->names.protocol, protocol}, {NULL, NULL}};
    return al_report_exception(
        (PyObject *)self->loop, state,
        PyUnicode_FromString(
            "Error on transport creation for incoming connection"),
        items);
}

/* Make protocol and transport, in `context`. 0, or -1 with an exception set;
 * then the caller still owns the descriptor. */
static int
listener_make_transport(ListenerObject *self, int fd,
                        const al_sockaddr *peername, PyObject *context,
                        PyObject **protocol)
{
    *protocol = PyObject_CallNoArgs(self->factory);
    if (*protocol == NULL) {
        return -1;
    }
    al_sock_transport_parts parts = {
        .fd = fd,
        .family = self->family,
        .type = self->type,
        .proto = self->proto,
        .peername = peername,
        .protocol = *protocol,
        .server = self->server,
        .context = context,
    };
    PyObject *transport = al_sock_transport_new(self->loop, &parts);
    if (transport == NULL) {
        return -1;
    }
    if (self->loop->is_debug) {
        listener_log(self, transport);
    }
    Py_DECREF(transport); /* the ready queue owns it */
    return 0;
}

/* Take over an accepted descriptor: 0, or -1 with an exception set
 * that ends the run. */
static int
listener_welcome(ListenerObject *self, int fd, const al_sockaddr *peername)
{
    PyObject *protocol = NULL;

    PyObject *context = PyContext_Copy(self->context);
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return listener_drop(self, fd, NULL);
    }
    int rc = listener_make_transport(self, fd, peername, context, &protocol);
    PyObject *raised = PyErr_GetRaisedException();
    if (PyContext_Exit(context) < 0) {
        PyErr_WriteUnraisable(context);
    }
    if (rc < 0) {
        PyErr_SetRaisedException(raised);
        rc = listener_drop(self, fd, protocol);
    }
    Py_XDECREF(protocol);
    Py_DECREF(context);
    return rc;
}

/* Accept one connection: returns what al_sock_accept() does. */
static inline int
listener_accept(ListenerObject *self, al_sockaddr *peername)
{
    al_refusals *refused = &self->loop->state->refused;
    int fd = self->desc.fd;

    return AL_UNLIKELY(al_nowait_is_blocking(fd))
               ? al_nowait_accept_nogil(refused, fd, peername)
               : al_sock_accept(refused, fd, peername);
}

/* al_run_fn: connections are waiting. */
static int
listener_run(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    ListenerObject *self = ListenerObject_CAST(op);
    /* The kernel queues one connection more than `backlog`. */
    int most = self->loop->looks_within ? self->backlog + 1 : self->expected;

    AL_CHECK(listener_check, self);
    al_budget_begin(self->loop);
    /* Each factory call may stop us: by (2). */
    for (int i = 0; i < most && listener_is_accepting(self); i++) {
        al_sockaddr peername;
        if (!al_descriptor_is_ours(&self->desc, self->loop->state)) {
            return listener_note_closed(self);
        }
        int fd = listener_accept(self, &peername);
        AL_TALLY(self->loop->metrics.accepted, fd >= 0);
        if (fd == -ECONNABORTED) {
            continue; /* the peer gave up while it was waiting */
        }
        if (fd < 0) {
            self->expected = Py_MAX(i, 1); /* this many came together */
            return al_sock_is_again(fd) ? 0 : listener_fail(self, -fd);
        }
        /* Each factory call is a step of its own: send the bytes that it
         * held. */
        if (listener_welcome(self, fd, &peername) < 0 ||
            al_loop_send_held(self->loop) < 0)
        {
            return -1;
        }
        if (!al_budget_is_left(self->loop)) {
            return 0; /* the next turn accepts the others */
        }
    }
    self->expected = Py_MIN(self->expected * 2, self->backlog + 1);
    return 0;
}

/* --- start and stop ----------------------------------------------------- */

int
al_listener_fileno(al_state *state, PyObject *sock)
{
    long fd;

    if (al_call_number(PyObject_CallMethodNoArgs(sock, state->names.fileno),
                       &fd) < 0)
    {
        return -1;
    }
    if (fd < 0 || fd > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %ld", fd);
        return -1;
    }
    return (int)fd;
}

static int
listener_number(PyObject *sock, const char *name, int *number)
{
    long value;

    int rc = al_call_number(PyObject_GetAttrString(sock, name), &value);
    *number = (int)value;
    return rc;
}

/* Start accepting, by (1): 0, or -1 with an exception set. */
static int
listener_watch(ListenerObject *self)
{
    if (al_loop_check_closed(self->loop) < 0 ||
        al_claim_check_free(self->loop, self->desc.fd, self->desc.object) < 0)
    {
        return -1;
    }
    al_fdwatch *watch =
        al_fdwatch_get(self->loop, self->desc.fd, self->desc.object);
    if (watch == NULL) {
        return -1;
    }
    return al_fdwatch_set_reader(watch, listener_run, (PyObject *)self);
}

int
al_listener_start(al_loop_head *loop, const al_listener_parts *parts)
{
    PyTypeObject *type = loop->state->ListenerType;

    ListenerObject *self = ListenerObject_CAST(type->tp_alloc(type, 0));
    if (self == NULL) {
        return -1;
    }
    self->loop = al_loop_head_CAST(Py_NewRef((PyObject *)loop));
    self->factory = Py_NewRef(parts->factory);
    self->server = parts->server == Py_None ? NULL : Py_XNewRef(parts->server);
    self->backlog = parts->backlog;
    self->expected = 1;
    self->context = parts->context == NULL || parts->context == Py_None
                        ? PyContext_CopyCurrent()
                        : Py_NewRef(parts->context);
    int fd = self->context == NULL
                 ? -1
                 : al_listener_fileno(loop->state, parts->sock);
    int rc = -1;
    if (fd >= 0) {
        al_descriptor_take(&self->desc, fd, parts->sock);
    }
    if (fd >= 0 &&
        listener_number(parts->sock, "family", &self->family) == 0 &&
        listener_number(parts->sock, "type", &self->type) == 0 &&
        listener_number(parts->sock, "proto", &self->proto) == 0)
    {
        rc = listener_watch(self);
    }
    Py_DECREF(self); /* the watch owns it */
    return rc;
}

/* The listener of a socket object with the number `fd` (-1 if it is closed).
 * -> new reference, or NULL without an exception: it is not accepting. */
static ListenerObject *
listener_find(al_loop_head *loop, PyObject *sock, int fd)
{
    al_fdwatch *watch = fd >= 0 ? al_fdwatch_find(loop, fd)
                                : al_fdwatch_find_object(loop, sock);
    PyObject *reader = watch == NULL ? NULL : watch->reader.object;

    /* The number may name another file by now, and the watch be of that
     * file. */
    if (reader == NULL || !Py_IS_TYPE(reader, loop->state->ListenerType) ||
        ListenerObject_CAST(reader)->desc.object != sock)
    {
        return NULL;
    }
    return ListenerObject_CAST(Py_NewRef(reader));
}

int
al_listener_stop(al_loop_head *loop, PyObject *sock)
{
    al_state *state = loop->state;

    int fd = al_listener_fileno(state, sock);
    if (fd < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        PyErr_Clear(); /* the program has closed it already */
    }
    ListenerObject *self = listener_find(loop, sock, fd);
    if (self != NULL) {
        AL_CHECK(listener_check, self);
        listener_unwatch(self);
        int rc = al_descriptor_release(&self->desc, state);
        AL_CHECK(listener_check, self);
        Py_DECREF(self);
        return rc;
    }
    PyObject *result = PyObject_CallMethodNoArgs(sock, state->names.close);
    return al_call_finish(result);
}

/* --- Python ------------------------------------------------------------- */

/* The timer's callback: accept again. If the program has stopped serving, it
 * has closed the socket. */
static PyObject *
Listener__resume(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ListenerObject *self = ListenerObject_CAST(op);

    if (self->desc.object == NULL) {
        Py_RETURN_NONE; /* cleared by the garbage collector */
    }
    int fd = al_listener_fileno(self->loop->state, self->desc.object);
    if (fd < 0 && PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    if (fd < 0 || (al_descriptor_is_ours(&self->desc, self->loop->state) &&
                   listener_watch(self) < 0))
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
Listener_traverse(PyObject *op, visitproc visit, void *arg)
{
    ListenerObject *self = ListenerObject_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->loop);
    Py_VISIT(self->factory);
    Py_VISIT(self->desc.object);
    Py_VISIT(self->server);
    Py_VISIT(self->context);
    return 0;
}

static int
Listener_clear(PyObject *op)
{
    ListenerObject *self = ListenerObject_CAST(op);

    /* Keep the loop: the methods need it. Its own tp_clear drops us. */
    Py_CLEAR(self->factory);
    Py_CLEAR(self->desc.object);
    Py_CLEAR(self->server);
    Py_CLEAR(self->context);
    return 0;
}

static void
Listener_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject *loop = (PyObject *)ListenerObject_CAST(op)->loop;

    PyObject_GC_UnTrack(op);
    (void)Listener_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    Py_XDECREF(loop);
}

/* --- type --------------------------------------------------------------- */

static inline PyObject *
listener_lock(PyObject *op)
{
    return (PyObject *)ListenerObject_CAST(op)->loop;
}

AL_LOCKS(Listener__resume, listener_lock)

static PyMethodDef Listener_methods[] = {
    {"_resume", AL_LOCKED(Listener__resume), METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Listener_slots[] = {
    {Py_tp_methods, Listener_methods},
    {Py_tp_traverse, Listener_traverse},
    {Py_tp_clear, Listener_clear},
    {Py_tp_dealloc, Listener_dealloc},
    {0, NULL},
};

static PyType_Spec Listener_spec = {
    .name = "asyncloop._core.Listener",
    .basicsize = sizeof(ListenerObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
              Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = Listener_slots,
};

int
al_listener_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->ListenerType = al_state_add_type(module, &Listener_spec, NULL);
    return state->ListenerType == NULL ? -1 : 0;
}
