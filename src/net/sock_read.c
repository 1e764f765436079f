/* sock_read.c - the read side of a socket transport.
 *
 *     fd readable ---> ready queue ---> al_sock_read_run()
 *                                          | one recv
 *                                          v
 *                      al_protocol: data_received(bytes), or
 *                                   the records of a TLS connection, or
 *                                   get_buffer(), buffer_updated(n), or
 *                                   the buffer of an asyncio.StreamReader
 *
 * A transport reads once a turn, so that no connection starves another.  If
 * bytes are left in the socket, the next poll finds it readable again.
 *
 * Small messages go through one buffer that all transports share and that
 * stays in the processor's cache.  The bytes object is exactly as large as the
 * message.  A connection that fills the buffer carries bulk data.  It reads
 * directly into bytes objects of about the size of its reads, which saves a
 * copy; or into the end of its StreamReader's buffer, which saves another one.
 *
 * Invariants
 *   (1) The shared buffer is used between recv and the copy only, with no call
 *       into Python in between.
 *   (2) A protocol method is called only if al_transport_is_reading(): the
 *       transport may have been paused or closed after this read was queued.
 */
#include "base/errors.h"
#include "sys/sock.h"
#include "net/sock_transport.h"

/* Whether user code has ended the transport meanwhile. */
static inline bool
sock_read_is_over(const SocketTransportObject *self)
{
    return self->base.desc.phase == AL_DESCRIPTOR_NONE;
}

/* al_sock_recv(), if the descriptor still names our file. */
static inline ssize_t
sock_read_recv(SocketTransportObject *self, void *data, size_t size)
{
    return al_transport_is_ours(&self->base)
               ? al_transport_note_in(
                     &self->base, al_sock_recv(self->base.desc.fd, data, size))
               : -EBADF;
}

/* --- end of stream and errors ------------------------------------------- */

static int
sock_read_eof(SocketTransportObject *self)
{
    TransportObject *base = &self->base;

    if (base->loop->is_debug) {
        al_transport_debug(base, "%r received EOF");
    }
    int keep_open = al_protocol_eof_received(&base->protocol, base->state);
    if (keep_open < 0) {
        return al_transport_fatal_error(
            base, "Fatal error: protocol.eof_received() call failed.");
    }
    if (keep_open) {
        /* At the end of the stream the socket stays readable: without this,
         * each poll would find it. */
        al_fdwatch_clear_reader(&self->watch);
        return 0;
    }
    return al_sock_transport_close(self);
}

/* Handle a result `n` of recv that is no data. */
static int
sock_read_nothing(SocketTransportObject *self, ssize_t n)
{
    if (n == 0) {
        return sock_read_eof(self);
    }
    return al_sock_is_again(n) ? 0
                               : al_transport_fatal_errno(&self->base, (int)-n,
                                                          AL_SOCK_READ_FAILED);
}

/* data_received() has raised: end the transport. */
static int
sock_read_refused(SocketTransportObject *self)
{
    return al_transport_fatal_error(
        &self->base, "Fatal error: protocol.data_received() call failed.");
}

/* --- Protocol ----------------------------------------------------------- */

/* Receive into the shared buffer. -> the result of recv. If it is > 0, *data
 * is a new reference, or NULL with an exception set if there is no memory. */
static ssize_t
sock_read_shared(SocketTransportObject *self, PyObject **data)
{
    char *buffer = self->base.loop->recv_buffer;

    ssize_t n = sock_read_recv(self, buffer, AL_RECV_BUFFER);
    if (n > 0) {
        *data = PyBytes_FromStringAndSize(buffer, n); /* by (1) */
        if (AL_UNLIKELY((size_t)n == AL_RECV_BUFFER)) {
            al_fd_transport_adapt(&self->read_size, (size_t)n, AL_RECV_BUFFER);
        }
    }
    return n;
}

/* The same, directly into a bytes object. */
static ssize_t
sock_read_straight(SocketTransportObject *self, PyObject **data)
{
    size_t size = self->read_size;

    *data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (*data == NULL) {
        return 1; /* > 0 with *data NULL: an exception is set */
    }
    ssize_t n = sock_read_recv(self, PyBytes_AS_STRING(*data), size);
    if (n <= 0) {
        Py_CLEAR(*data);
        return n;
    }
    al_fd_transport_adapt(&self->read_size, (size_t)n, size);
    if ((size_t)n < size) {
        (void)_PyBytes_Resize(data, n); /* NULL with an exception set */
    }
    return n;
}

static int
sock_read_bytes(SocketTransportObject *self)
{
    TransportObject *base = &self->base;
    PyObject *data = NULL;

    ssize_t n = self->read_size == 0 ? sock_read_shared(self, &data)
                                     : sock_read_straight(self, &data);
    if (n <= 0) {
        return sock_read_nothing(self, n);
    }
    if (data == NULL) {
        return al_transport_fatal_error(base, AL_SOCK_READ_FAILED);
    }
    int rc = al_protocol_tell(&base->protocol,
                              base->state->names.data_received, data);
    Py_DECREF(data);
    return AL_UNLIKELY(rc < 0) ? sock_read_refused(self) : 0;
}

/* --- StreamReader ------------------------------------------------------- */

/* Receive into the shared buffer and feed the reader. -> the result of recv;
 * *rc < 0 with an exception set if feeding fails. */
static ssize_t
sock_read_shared_to(SocketTransportObject *self, al_stream_reader *reader,
                    int *rc)
{
    char *buffer = self->base.loop->recv_buffer;

    ssize_t n = sock_read_recv(self, buffer, AL_RECV_BUFFER);
    if (n > 0) {
        if (AL_UNLIKELY((size_t)n == AL_RECV_BUFFER)) {
            al_fd_transport_adapt(&self->read_size, (size_t)n, AL_RECV_BUFFER);
        }
        *rc = al_stream_reader_feed(reader, self->base.state, buffer,
                                    (size_t)n); /* by (1) */
    }
    return n;
}

/* The same, directly into the reader's buffer. */
static ssize_t
sock_read_straight_to(SocketTransportObject *self, al_stream_reader *reader,
                      int *rc)
{
    size_t size = self->read_size;

    char *end = al_stream_reader_grow(reader, size);
    if (end == NULL) {
        *rc = -1;
        return 1; /* the caller looks at *rc */
    }
    ssize_t n = sock_read_recv(self, end, size);
    if (n > 0) {
        al_fd_transport_adapt(&self->read_size, (size_t)n, size);
    }
    *rc =
        al_stream_reader_fill(reader, self->base.state, n > 0 ? (size_t)n : 0);
    return n;
}

static int
sock_read_stream(SocketTransportObject *self)
{
    TransportObject *base = &self->base;
    al_stream_reader reader;
    ssize_t n = -EAGAIN;
    int rc = 0;

    int found = al_protocol_find_reader(&base->protocol, base->state, &reader);
    if (AL_UNLIKELY(found < 0)) {
        return sock_read_refused(self);
    }
    /* Looking up the reader may have run code that ended us. */
    bool is_on = al_transport_is_reading(&self->base);
    if (AL_UNLIKELY(!found)) {
        return is_on ? sock_read_bytes(self) : 0;
    }
    if (AL_LIKELY(is_on)) {
        n = self->read_size == 0 ? sock_read_shared_to(self, &reader, &rc)
                                 : sock_read_straight_to(self, &reader, &rc);
    }
    al_stream_reader_clear(&reader);
    if (AL_UNLIKELY(rc < 0)) {
        return sock_read_refused(self);
    }
    return AL_UNLIKELY(n <= 0) ? sock_read_nothing(self, n) : 0;
}

/* --- BufferedProtocol --------------------------------------------------- */

/* Receive into the result of get_buffer(). -> the result of recv. If *message
 * is not NULL, an exception is set instead. */
static ssize_t
sock_read_into(SocketTransportObject *self, PyObject *buffer,
               const char **message)
{
    Py_buffer view;

    Py_ssize_t size = PyObject_Size(buffer); /* asyncio asks that first */
    if (size == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "get_buffer() returned an empty buffer");
    }
    if (size <= 0) {
        *message = "Fatal error: protocol.get_buffer() call failed.";
        return 0;
    }
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        PyErr_Format(PyExc_TypeError, /* of sock.recv_into(buffer) */
                     "recv_into() argument 1 must be read-write bytes-like "
                     "object, not %.100s",
                     Py_TYPE(buffer)->tp_name);
        *message = AL_SOCK_READ_FAILED;
        return 0;
    }
    /* The calls above may have run code that ended us. */
    ssize_t n = sock_read_is_over(self)
                    ? -EAGAIN
                    : sock_read_recv(self, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return n;
}

static int
sock_read_buffered(SocketTransportObject *self)
{
    TransportObject *base = &self->base;
    const char *message = NULL;

    PyObject *buffer = al_protocol_get_buffer(&base->protocol, base->state);
    if (buffer == NULL) {
        return al_transport_fatal_error(
            base, "Fatal error: protocol.get_buffer() call failed.");
    }
    ssize_t n = sock_read_into(self, buffer, &message);
    Py_DECREF(buffer);
    if (message != NULL) {
        return al_transport_fatal_error(base, message);
    }
    if (AL_UNLIKELY(sock_read_is_over(self))) {
        return 0; /* freeing the buffer has run code that ended us */
    }
    if (n <= 0) {
        return sock_read_nothing(self, n);
    }
    if (al_protocol_buffer_updated(&base->protocol, base->state, (size_t)n) <
        0)
    {
        return al_transport_fatal_error(
            base, "Fatal error: protocol.buffer_updated() call failed.");
    }
    return 0;
}

/* --- TLS ---------------------------------------------------------------- */

/* Receive into the shared buffer, which the layer above empties. */
static int
sock_read_records(SocketTransportObject *self)
{
    TransportObject *base = &self->base;
    const al_receiver *receiver = base->protocol.receiver;
    PyObject *protocol = Py_NewRef(base->protocol.object);
    const char *message = "Fatal error: protocol.get_buffer() call failed.";
    ssize_t n = -EAGAIN;

    int rc = receiver->expect(protocol);
    if (AL_LIKELY(rc == 0 && !sock_read_is_over(self))) {
        char *buffer = base->loop->recv_buffer;
        n = sock_read_recv(self, buffer, AL_RECV_RECORDS);
        if (AL_LIKELY(n > 0)) {
            message = "Fatal error: protocol.buffer_updated() call failed.";
            rc = receiver->take(protocol, buffer, n);
        }
    }
    Py_DECREF(protocol);
    if (AL_UNLIKELY(rc < 0)) {
        return al_transport_fatal_error(base, message);
    }
    return n > 0 || sock_read_is_over(self) ? 0 : sock_read_nothing(self, n);
}

/* --- reading ------------------------------------------------------------ */

int
al_sock_read_run(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);
    TransportObject *base = &self->base;

    AL_CHECK(al_transport_check, base);
    if (!al_transport_is_reading(&self->base)) {
        return 0; /* by (2) */
    }
    if (al_transport_enter(base) < 0) {
        return al_transport_fatal_error(base, AL_SOCK_READ_FAILED);
    }
    int rc = base->protocol.receiver != NULL ? sock_read_records(self)
             : base->protocol.is_buffered    ? sock_read_buffered(self)
             : base->protocol.is_stream      ? sock_read_stream(self)
                                             : sock_read_bytes(self);
    return al_transport_leave(base, rc);
}

int
al_sock_read_start(TransportObject *base)
{
    SocketTransportObject *self = SocketTransportObject_CAST(base);

    if (!al_transport_is_reading(base)) {
        return 0;
    }
    if (al_loop_check_closed(base->loop) < 0 ||
        al_transport_recv_buffer(base->loop) == NULL)
    {
        return -1;
    }
    return al_transport_is_ours(base)
               ? al_fd_transport_watch_reader(base, &self->watch,
                                              al_sock_read_run)
               : al_transport_fatal_errno(base, EBADF, AL_SOCK_READ_FAILED);
}
