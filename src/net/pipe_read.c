/* pipe_read.c - the read end of a pipe: ReadPipeTransport.
 *
 *     fd readable ---> ready queue ---> pipe_read_run()
 *                                          | one read
 *                                          v
 *                      al_protocol: data_received(bytes)
 *                      at the end:  eof_received(), connection_lost(None)
 *
 * It reads as sock_read.c does: small messages through the shared buffer.  A
 * pipe that fills the buffer reads directly into bytes objects.
 *
 * Invariant
 *   (1) A protocol method is called only if al_transport_is_reading(): the
 *       transport may have been paused or closed after this read was queued.
 */
#include "base/errors.h"
#include "sys/nowait.h"
#include "net/pipe_transport.h"

#include <errno.h>
#include <unistd.h>

#define PIPE_READ_FAILED "Fatal read error on pipe transport"

typedef struct {
    PipeTransportObject common;
    /* The size of the next read, directly into a bytes object; 0: read into
     * the shared buffer. */
    size_t read_size;
} ReadPipeTransportObject;

#define ReadPipeTransportObject_CAST(op) ((ReadPipeTransportObject *)(op))

/* --- what transport.c asks of us ---------------------------------------- */

static int
pipe_read_start(TransportObject *base)
{
    return al_transport_is_reading(base)
               ? al_pipe_watch_reader(PipeTransportObject_CAST(base))
               : 0;
}

#ifdef AL_DEBUG

static void
pipe_read_check(TransportObject *base)
{
    al_pipe_check(PipeTransportObject_CAST(base));
}

#endif

static const al_transport_kind pipe_read_kind = {
    .name = "ReadPipeTransport",
    .read_failed = PIPE_READ_FAILED,
    .start_reading = pipe_read_start,
    .stop_reading = al_pipe_unwatch_reader,
    .stop = al_pipe_unwatch_reader,
    .release = al_pipe_release,
#ifdef AL_DEBUG
    .check = pipe_read_check,
#endif
};

/* --- end of stream and errors ------------------------------------------- */

/* al_run_fn: call eof_received(); connection_lost() follows. */
static int
pipe_read_run_eof(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    TransportObject *base = TransportObject_CAST(op);

    if (base->protocol.object == NULL) {
        return 0; /* the loop was closed and the transport finalised */
    }
    PyObject *protocol = Py_NewRef(base->protocol.object);
    int rc = al_transport_enter(base);
    if (rc == 0) {
        rc = al_protocol_eof_received(&base->protocol, base->state);
        rc = al_transport_leave(base, rc < 0 ? -1 : 0);
    }
    if (rc < 0) {
        rc =
            al_transport_report_callback(base, protocol, "eof_received", NULL);
    }
    Py_DECREF(protocol);
    return rc;
}

static int
pipe_read_eof(ReadPipeTransportObject *self)
{
    TransportObject *base = &self->common.base;

    if (base->loop->is_debug) {
        al_transport_info(base, "%r was closed by peer");
    }
    base->phase = AL_TRANSPORT_CLOSING;
    al_pipe_unwatch_reader(&self->common.base);
    if (base->lost > 0) {
        return 0; /* a logging handler or a finaliser has ended us */
    }
    return al_transport_call_soon(base, pipe_read_run_eof, "_eof_received") < 0
               ? -1
               : al_transport_lose(base, NULL);
}

/* End the transport with the OSError of `errnum`. EIO is normal: a read from a
 * terminal fails so when its other end is closed. Other errors are reported.
 * 0, or -1 with an exception set that the caller returns. */
static int
pipe_read_fail(ReadPipeTransportObject *self, int errnum)
{
    TransportObject *base = &self->common.base;

    al_error_set_errno(errnum);
    if (errnum == EIO) {
        return al_transport_fatal_error(base, PIPE_READ_FAILED);
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyErr_SetRaisedException(Py_NewRef(exc));
    int rc = al_transport_report(base, PyUnicode_FromString(PIPE_READ_FAILED));
    if (rc == 0) {
        rc = al_transport_force_close(base, exc);
    }
    Py_DECREF(exc);
    return rc;
}

/* --- reading ------------------------------------------------------------ */

/* Read with the GIL held. -> the result of read(), or -errno. */
static ssize_t
pipe_read_call(ReadPipeTransportObject *self, char *data, size_t size)
{
    int fd = self->common.base.desc.fd;
    ssize_t n;

    if (AL_LIKELY(!self->common.must_ask)) {
        n = al_nowait_read(fd, data, size);
        if (AL_LIKELY(!al_nowait_is_refused(n))) {
            return n;
        }
        self->common.must_ask = true;
        return -EAGAIN; /* the next turn asks first */
    }
    n = read(fd, data, size);
    return n < 0 ? -errno : n;
}

/* Read once. -> the result of read(), or -errno. If it is > 0, *data is a new
 * reference, or NULL with an exception set if there is no memory. */
static ssize_t
pipe_read_some(ReadPipeTransportObject *self, PyObject **data)
{
    int fd = self->common.base.desc.fd;
    /* If so, the read releases the GIL, and other threads may use the shared
     * buffer meanwhile. */
    bool is_blocking = self->common.must_ask && al_nowait_is_blocking(fd);
    size_t size = self->read_size > 0 ? self->read_size : AL_RECV_BUFFER;
    PyObject *straight = NULL;
    char *buffer = self->common.base.loop->recv_buffer;

    *data = NULL;
    if (self->read_size > 0 || is_blocking) {
        straight = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (straight == NULL) {
            return 1; /* > 0 with *data NULL: an exception is set */
        }
        buffer = PyBytes_AS_STRING(straight);
    }
    ssize_t n = is_blocking ? al_nowait_read_nogil(fd, buffer, size)
                            : pipe_read_call(self, buffer, size);
    if (n <= 0) {
        Py_XDECREF(straight);
        return n;
    }
    (void)al_transport_note_in(&self->common.base, n);
    al_fd_transport_adapt(&self->read_size, (size_t)n, size);
    if (straight == NULL) {
        *data = PyBytes_FromStringAndSize(buffer, n);
    }
    else if ((size_t)n == size || _PyBytes_Resize(&straight, n) == 0) {
        *data = straight;
    }
    return n;
}

/* al_run_fn: the descriptor is readable. */
static int
pipe_read_run(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    ReadPipeTransportObject *self = ReadPipeTransportObject_CAST(op);
    TransportObject *base = &self->common.base;
    PyObject *data;

    AL_CHECK(al_transport_check, base);
    /* By (1); or the program has replaced our entry by add_reader(). */
    if (!al_transport_is_reading(base) || !al_pipe_is_reading(&self->common)) {
        return 0;
    }
    if (!al_transport_is_ours(base)) {
        return pipe_read_fail(self, EBADF);
    }
    ssize_t n = pipe_read_some(self, &data);
    if (n < 0) {
        return al_sock_is_again(n) ? 0 : pipe_read_fail(self, (int)-n);
    }
    if (!al_transport_is_open(base) && !PyErr_Occurred()) {
        Py_XDECREF(data); /* another thread has ended us */
        return 0;
    }
    if (n == 0) {
        return pipe_read_eof(self);
    }
    int rc = data == NULL ? -1 : al_transport_enter(base);
    if (rc == 0) {
        rc = al_transport_leave(
            base, al_protocol_tell(&base->protocol,
                                   base->state->names.data_received, data));
    }
    Py_XDECREF(data);
    /* As in asyncio, an exception of data_received() does not end a pipe. */
    return rc == 0
               ? 0
               : al_transport_report_callback(base, op, "_read_ready", NULL);
}

/* --- start -------------------------------------------------------------- */

/* al_fd_transport_init */
static int
pipe_read_init(TransportObject *base, al_loop_head *loop, const void *parts)
{
    PipeTransportObject *self = PipeTransportObject_CAST(base);
    struct stat status;

    self->on_read = pipe_read_run;
    return al_transport_recv_buffer(loop) == NULL
               ? -1
               : al_pipe_init(self, &pipe_read_kind, loop, parts,
                              "Pipe transport is for pipes/sockets only.",
                              &status);
}

PyObject *
al_pipe_read_new(al_loop_head *loop, const al_pipe_parts *parts)
{
    return al_fd_transport_new(loop->state->ReadPipeTransportType, loop,
                               pipe_read_init, parts, parts->waiter);
}

/* --- Python: methods ---------------------------------------------------- */

PyDoc_STRVAR(ReadPipeTransport_close_doc,
             "close($self, /)\n--\n\n"
             "Close the pipe: no more data is received, connection_lost(None) "
             "follows.");

static PyObject *
ReadPipeTransport_close(PyObject *op, PyObject *ignored)
{
    if (!al_transport_is_open(TransportObject_CAST(op))) {
        Py_RETURN_NONE;
    }
    return AL_LOCKED(al_transport_py_abort)(op, ignored);
}

static PyObject *
ReadPipeTransport__read_ready(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(pipe_read_run(NULL, op));
}

static PyObject *
ReadPipeTransport__eof_received(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(pipe_read_run_eof(NULL, op));
}

AL_LOCKS(ReadPipeTransport_close, al_transport_lock)
AL_LOCKS(ReadPipeTransport__read_ready, al_transport_lock)
AL_LOCKS(ReadPipeTransport__eof_received, al_transport_lock)

static PyMethodDef ReadPipeTransport_methods[] = {
    {"close", AL_LOCKED(ReadPipeTransport_close), METH_NOARGS,
     ReadPipeTransport_close_doc},
    AL_FD_TRANSPORT_METHODS,
    AL_FD_TRANSPORT_READ_METHODS,
    /* Not for users: for reports, and for a call_soon() that is overridden. */
    {"_read_ready", AL_LOCKED(ReadPipeTransport__read_ready), METH_NOARGS,
     NULL},
    {"_eof_received", AL_LOCKED(ReadPipeTransport__eof_received), METH_NOARGS,
     NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
ReadPipeTransport_repr(PyObject *op)
{
    PipeTransportObject *self = PipeTransportObject_CAST(op);
    const char *state = al_pipe_repr_unknown(self);

    if (state == NULL) {
        state = al_pipe_is_reading(self) ? "polling" : "idle";
    }
    PyObject *head = al_pipe_repr_head(self);
    if (head == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat("%U %s>", head, state);
    Py_DECREF(head);
    return text;
}

AL_LOCKS_REPR(ReadPipeTransport_repr, al_transport_lock)

/* --- type --------------------------------------------------------------- */

PyDoc_STRVAR(ReadPipeTransport_doc,
             "The read end of a pipe, a socket or a character device as an "
             "asyncio.ReadTransport.");

static const PyType_Slot ReadPipeTransport_slots[] = {
    {Py_tp_doc, (void *)ReadPipeTransport_doc},
    {Py_tp_methods, ReadPipeTransport_methods},
    {Py_tp_members, al_pipe_members},
    {Py_tp_repr, AL_LOCKED(ReadPipeTransport_repr)},
    {Py_tp_traverse, al_transport_traverse}, /* the loop visits our entry */
    {Py_tp_clear, al_transport_clear},
    {0, NULL},
};

int
al_pipe_read_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    return al_fd_transport_add_type(
        module, "asyncloop._core.ReadPipeTransport",
        sizeof(ReadPipeTransportObject), ReadPipeTransport_slots,
        state->imports.asyncio_ReadTransport, &state->ReadPipeTransportType);
}
