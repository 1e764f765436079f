/* pipe_write.c - the write end of a pipe: WritePipeTransport.
 *
 *     write(data) ---> pwritev2(2)                usually takes all bytes
 *                        | the bytes that the kernel did not take
 *                        v
 *                     outgoing ---> (fd writable) ---> pwritev2(2)
 *
 * If a write might block, see sys/nowait.c.
 *
 * When the read end is closed, the descriptor of a pipe or a socket becomes
 * readable.  We watch for that, so we notice the end without writing.  The
 * write end has no other half, so write_eof() does the same as close().
 *
 * Invariants
 *   (1) outgoing is not empty => our writer entry is set, or the connection is
 *       lost, or the loop is closed.
 *   (2) While bytes are queued, new bytes go behind them: all leave in order.
 */
#include "base/args.h"
#include "base/chunks.h"
#include "base/errors.h"
#include "sys/nowait.h"
#include "net/pipe_transport.h"

#include <errno.h>
#include <sys/uio.h>

#define AL_PIPE_IOV 64 /* a pipe usually has room for 16 pages */

#define PIPE_WRITE_FAILED "Fatal write error on pipe transport"

typedef struct {
    PipeTransportObject common;
    al_chunks outgoing;   /* the queue: not taken by the kernel yet */
    unsigned lost_writes; /* counts an error, and the writes after the end */
} WritePipeTransportObject;

#define WritePipeTransportObject_CAST(op) ((WritePipeTransportObject *)(op))

/* --- what transport.c asks of us ---------------------------------------- */

/* Watch for the end of the reader while the transport is open or has bytes to
 * send. */
static int
pipe_write_start_reading(TransportObject *base)
{
    WritePipeTransportObject *self = WritePipeTransportObject_CAST(base);
    bool is_in_use =
        al_transport_is_open(base) ||
        (al_transport_is_draining(base) && self->outgoing.count > 0);

    return self->common.on_read != NULL && is_in_use
               ? al_pipe_watch_reader(&self->common)
               : 0;
}

static int
pipe_write_drained(TransportObject *base)
{
    WritePipeTransportObject *self = WritePipeTransportObject_CAST(base);

    al_pipe_unwatch_writer(&self->common);
    if (al_transport_is_draining(base)) {
        al_pipe_unwatch_reader(base);
    }
    return 0;
}

static void
pipe_write_stop(TransportObject *base)
{
    WritePipeTransportObject *self = WritePipeTransportObject_CAST(base);

    al_pipe_unwatch_reader(&self->common.base);
    al_pipe_unwatch_writer(&self->common);
    al_chunks_clear(&self->outgoing);
}

#ifdef AL_DEBUG

static void
pipe_write_check(TransportObject *base)
{
    al_pipe_check(PipeTransportObject_CAST(base));
    al_chunks_check(&WritePipeTransportObject_CAST(base)->outgoing);
}

#endif

static const al_transport_kind pipe_write_kind = {
    .name = "WritePipeTransport",
    .read_failed = PIPE_WRITE_FAILED,
    .start_reading = pipe_write_start_reading,
    .stop_reading = al_pipe_unwatch_reader,
    .pending_at = offsetof(WritePipeTransportObject, outgoing.size),
    .queued_at = offsetof(WritePipeTransportObject, outgoing.count),
    .drained = pipe_write_drained,
    .stop = pipe_write_stop,
    .release = al_pipe_release,
#ifdef AL_DEBUG
    .check = pipe_write_check,
#endif
};

/* --- writing ------------------------------------------------------------ */

/* End the transport because of the exception that is set.
 * 0, or -1 with an exception set that the caller returns. */
static int
pipe_write_fail(WritePipeTransportObject *self)
{
    if (al_error_is_fatal()) {
        return -1;
    }
    self->lost_writes++;
    return al_transport_fatal_error(&self->common.base, PIPE_WRITE_FAILED);
}

/* The same with the OSError of `errnum`. EBADF: the descriptor does not name
 * our file any more. */
static int
pipe_write_fail_errno(WritePipeTransportObject *self, int errnum)
{
    al_error_set_errno(errnum);
    return pipe_write_fail(self);
}

/* Write the first chunk of the queue to a file that is set to blocking. -> the
 * result of write(2), or -errno. */
static ssize_t
pipe_write_first(WritePipeTransportObject *self)
{
    al_chunks *queue = &self->outgoing;
    al_chunk first = queue->items[queue->head];

    Py_INCREF(first.bytes); /* another thread may abort us meanwhile */
    ssize_t n = al_nowait_write_nogil(self->common.base.desc.fd, first.data,
                                      first.size);
    if (n > 0 && queue->count > 0 &&
        queue->items[queue->head].data == first.data)
    {
        al_chunks_consume(queue, (size_t)n);
    }
    Py_DECREF(first.bytes);
    return n;
}

/* Write with the GIL held. -> the result of write(2), or -errno. */
static ssize_t
pipe_write_call(WritePipeTransportObject *self, struct iovec *iov, int count)
{
    ssize_t n = writev(self->common.base.desc.fd, iov, count);

    return n < 0 ? -errno : n;
}

/* Write without waiting. False if the file refuses RWF_NOWAIT; else *n is the
 * result of write(2), or -errno. */
static inline bool
pipe_write_nowait(WritePipeTransportObject *self, struct iovec *iov, int count,
                  ssize_t *n)
{
    if (AL_UNLIKELY(self->common.must_ask)) {
        return false;
    }
    *n = al_nowait_writev(self->common.base.desc.fd, iov, count);
    self->common.must_ask = al_nowait_is_refused(*n);
    return !self->common.must_ask;
}

/* Write from the queue once. -> the result of write(2), or -errno. */
static ssize_t
pipe_write_some(WritePipeTransportObject *self)
{
    struct iovec iov[AL_PIPE_IOV];
    ssize_t n;

    int count = al_chunks_iovec(&self->outgoing, iov, AL_PIPE_IOV);
    if (!pipe_write_nowait(self, iov, count, &n)) {
        if (al_nowait_is_blocking(self->common.base.desc.fd)) {
            return pipe_write_first(self);
        }
        n = pipe_write_call(self, iov, count);
    }
    if (n > 0) {
        al_chunks_consume(&self->outgoing, (size_t)n);
    }
    return n;
}

/* Write as many of the bytes as the kernel takes now. -> the result of
 * write(2), or -errno. */
static ssize_t
pipe_write_now(WritePipeTransportObject *self, const char *data, size_t size)
{
    struct iovec iov = {(char *)data, size};
    ssize_t n;

    if (AL_LIKELY(pipe_write_nowait(self, &iov, 1, &n))) {
        return n;
    }
    int fd = self->common.base.desc.fd;
    return al_nowait_is_blocking(fd) ? al_nowait_write_nogil(fd, data, size)
                                     : pipe_write_call(self, &iov, 1);
}

/* al_run_fn: the descriptor is writable. */
static int
pipe_write_run(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    WritePipeTransportObject *self = WritePipeTransportObject_CAST(op);

    AL_CHECK(al_transport_check, &self->common.base);
    /* This was queued before an error or abort(), or the program has replaced
     * our entry by add_writer(). */
    if (self->common.base.lost > 0 || self->outgoing.count == 0 ||
        !al_pipe_is_writing(&self->common))
    {
        return 0;
    }
    if (!al_transport_is_ours(&self->common.base)) {
        return pipe_write_fail_errno(self, EBADF);
    }
    ssize_t n =
        al_transport_note_out(&self->common.base, pipe_write_some(self));
    if (n < 0) {
        return al_sock_is_again(n) ? 0 : pipe_write_fail_errno(self, (int)-n);
    }
    return self->outgoing.count > 0
               ? 0
               : al_fd_transport_resume_writing(&self->common.base);
}

/* al_run_fn: the peer has closed its end. (The peer of a socket may also have
 * sent data; asyncio treats that in the same way.) */
static int
pipe_write_run_closed(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    WritePipeTransportObject *self = WritePipeTransportObject_CAST(op);
    TransportObject *base = &self->common.base;
    PyObject *exc = NULL;

    if (base->lost > 0 || !al_pipe_is_reading(&self->common)) {
        return 0; /* queued before the end, or the entry was replaced */
    }
    if (!al_transport_is_ours(base)) {
        return pipe_write_fail_errno(self, EBADF);
    }
    if (base->loop->is_debug) {
        al_transport_info(base, "%r was closed by peer");
    }
    if (self->outgoing.count > 0) {
        exc = PyObject_CallNoArgs(PyExc_BrokenPipeError);
        if (exc == NULL) {
            return -1;
        }
    }
    int rc = al_transport_force_close(base, exc);
    Py_XDECREF(exc);
    return rc;
}

/* Whether the transport is closing or lost. If so, count this write, which is
 * ignored, and warn from AL_TRANSPORT_LOST_WRITES on. */
static int
pipe_write_is_lost(WritePipeTransportObject *self)
{
    TransportObject *base = &self->common.base;

    if (AL_LIKELY(al_transport_is_open(base))) {
        return 0;
    }
    if (self->lost_writes >= AL_TRANSPORT_LOST_WRITES) {
        al_transport_warn(base, "pipe closed by peer or "
                                "os.write(pipe, data) raised exception.");
    }
    self->lost_writes++;
    return 1;
}

/* Write or queue `size` bytes at `data`, which are the object `bytes` if that
 * is not NULL. 0, or -1 with an exception set. */
static int
pipe_write(WritePipeTransportObject *self, PyObject *bytes, const char *data,
           size_t size)
{
    size_t sent = 0;

    AL_CHECK(al_transport_check, &self->common.base);
    if (al_transport_send_held(&self->common.base) < 0) {
        return -1;
    }
    if (size == 0 || pipe_write_is_lost(self)) {
        return 0;
    }
    if (!al_transport_is_ours(&self->common.base)) {
        return pipe_write_fail_errno(self, EBADF);
    }
    al_loop_note_event(self->common.base.loop);
    if (self->outgoing.count == 0) { /* by (2) */
        ssize_t n = al_transport_note_out(&self->common.base,
                                          pipe_write_now(self, data, size));
        if (AL_LIKELY(n == (ssize_t)size)) {
            return 0;
        }
        if (n < 0 && !al_sock_is_again(n)) {
            return pipe_write_fail_errno(self, (int)-n);
        }
        if (!al_transport_is_open(&self->common.base)) {
            return 0; /* another thread has ended us */
        }
        sent = n < 0 ? 0 : (size_t)n;
        if (al_pipe_watch_writer(&self->common, pipe_write_run) < 0) {
            /* The rest of the bytes cannot be sent: end the transport. */
            return PyErr_ExceptionMatches(PyExc_OSError) &&
                           pipe_write_fail(self) == 0
                       ? al_transport_raise_lost(&self->common.base)
                       : -1;
        }
    }
    int rc = bytes != NULL ? al_chunks_push(&self->outgoing, bytes, sent)
                           : al_chunks_push_copy(&self->outgoing, data + sent,
                                                 size - sent);
    if (rc < 0) {
        return -1; /* the writer entry, with nothing to send, is harmless */
    }
    return al_transport_maybe_pause(&self->common.base);
}

/* --- start and close ---------------------------------------------------- */

/* Whether the descriptor becomes readable when, and only when, the read end is
 * closed. */
static bool
pipe_write_shows_end(const struct stat *status)
{
    if (S_ISSOCK(status->st_mode)) {
        return true;
    }
#if defined(_AIX)
    return false;
#elif defined(__APPLE__) || defined(__sun)
    /* A named FIFO is readable as long as there is unread data in it, and not
     * when its read end is closed. */
    return S_ISFIFO(status->st_mode) && status->st_nlink == 0;
#else
    return S_ISFIFO(status->st_mode);
#endif
}

/* al_fd_transport_init */
static int
pipe_write_init(TransportObject *base, al_loop_head *loop, const void *parts)
{
    PipeTransportObject *self = PipeTransportObject_CAST(base);
    struct stat status;

    int rc = al_pipe_init(self, &pipe_write_kind, loop, parts,
                          "Pipe transport is only for pipes, sockets and "
                          "character devices",
                          &status);
    if (rc == 0 && pipe_write_shows_end(&status)) {
        self->on_read = pipe_write_run_closed;
    }
    return rc;
}

PyObject *
al_pipe_write_new(al_loop_head *loop, const al_pipe_parts *parts)
{
    return al_fd_transport_new(loop->state->WritePipeTransportType, loop,
                               pipe_write_init, parts, parts->waiter);
}

/* 0, or -1 with RuntimeError set (closed loop). */
static int
pipe_write_close(WritePipeTransportObject *self)
{
    TransportObject *base = &self->common.base;

    if (al_transport_send_held(base) < 0) {
        return -1;
    }
    if (!al_transport_is_open(base)) {
        return 0;
    }
    if (self->outgoing.count > 0 && !al_transport_is_ours(base)) {
        return pipe_write_fail_errno(self, EBADF);
    }
    base->phase = AL_TRANSPORT_CLOSING;
    if (self->outgoing.count > 0) {
        return 0; /* pipe_write_run() ends us when the queue is written */
    }
    al_pipe_unwatch_reader(&self->common.base);
    return base->lost > 0 ? 0 : al_transport_lose(base, NULL);
}

/* --- Python: methods ---------------------------------------------------- */

PyDoc_STRVAR(
    WritePipeTransport_write_doc,
    "write($self, /, data)\n--\n\n"
    "Write bytes, a bytearray or a memoryview, without blocking: what "
    "the kernel does\nnot take now is queued. Raises AssertionError "
    "for other types. After write_eof()\nor close() it is ignored.");

static PyObject *
WritePipeTransport_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    static const al_signature signature = {"write", AL_ARGS("data"), 1, 1, 0};
    WritePipeTransportObject *self = WritePipeTransportObject_CAST(op);
    Py_buffer view;
    Py_ssize_t length;
    int rc;
    PyObject *data = al_args_one(&signature, args, nargs, kwnames);

    if (data == NULL) {
        return NULL;
    }
    if (PyBytes_Check(data)) {
        rc = pipe_write(self, data, PyBytes_AS_STRING(data),
                        (size_t)PyBytes_GET_SIZE(data));
    }
    else if (!PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyObject *text = PyObject_Repr(data); /* asyncio asserts the type */
        if (text != NULL) {
            PyErr_SetObject(PyExc_AssertionError, text);
            Py_DECREF(text);
        }
        return NULL;
    }
    else if ((length = PyObject_Size(data)) <= 0) {
        rc = (int)length; /* < 0: a memoryview that was released */
    }
    else if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        /* Not contiguous: asyncio's os.write() raises, and the transport
         * ends. */
        rc = pipe_write_is_lost(self) ? (PyErr_Clear(), 0)
                                      : pipe_write_fail(self);
    }
    else {
        rc = pipe_write(self, NULL, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
    }
    return al_call_none(rc);
}

PyDoc_STRVAR(WritePipeTransport_write_eof_doc,
             "write_eof($self, /)\n--\n\n"
             "Close the pipe when all is written; connection_lost(None) "
             "follows.");
PyDoc_STRVAR(WritePipeTransport_close_doc,
             "close($self, /)\n--\n\n"
             "Write what is queued, then close the pipe; "
             "connection_lost(None) follows.");

static PyObject *
WritePipeTransport_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(pipe_write_close(WritePipeTransportObject_CAST(op)));
}

static PyObject *
WritePipeTransport__read_ready(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(pipe_write_run_closed(NULL, op));
}

AL_LOCKS_KEYWORDS(WritePipeTransport_write, al_transport_lock)
AL_LOCKS(WritePipeTransport_close, al_transport_lock)
AL_LOCKS(WritePipeTransport__read_ready, al_transport_lock)

static PyMethodDef WritePipeTransport_methods[] = {
    {"write", AL_KEYWORDS(AL_LOCKED(WritePipeTransport_write)),
     WritePipeTransport_write_doc},
    {"write_eof", AL_LOCKED(WritePipeTransport_close), METH_NOARGS,
     WritePipeTransport_write_eof_doc},
    AL_FD_TRANSPORT_EOF_METHOD,
    {"close", AL_LOCKED(WritePipeTransport_close), METH_NOARGS,
     WritePipeTransport_close_doc},
    AL_FD_TRANSPORT_METHODS,
    AL_FD_TRANSPORT_WRITE_METHODS,
    {"_read_ready", AL_LOCKED(WritePipeTransport__read_ready), METH_NOARGS,
     NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
WritePipeTransport_repr(PyObject *op)
{
    WritePipeTransportObject *self = WritePipeTransportObject_CAST(op);
    PyObject *text;

    PyObject *head = al_pipe_repr_head(&self->common);
    if (head == NULL) {
        return NULL;
    }
    const char *state = al_pipe_repr_unknown(&self->common);
    if (state != NULL) {
        text = PyUnicode_FromFormat("%U %s>", head, state);
    }
    else {
        text = PyUnicode_FromFormat(
            "%U %s bufsize=%zu>", head,
            al_pipe_is_writing(&self->common) ? "polling" : "idle",
            self->outgoing.size);
    }
    Py_DECREF(head);
    return text;
}

AL_LOCKS_REPR(WritePipeTransport_repr, al_transport_lock)

/* --- Python: lifetime --------------------------------------------------- */

static int
WritePipeTransport_clear(PyObject *op)
{
    al_chunks_clear(&WritePipeTransportObject_CAST(op)->outgoing);
    return al_transport_clear(op);
}

/* --- type --------------------------------------------------------------- */

PyDoc_STRVAR(WritePipeTransport_doc,
             "The write end of a pipe, a socket or a character device as an "
             "asyncio.WriteTransport.");

static const PyType_Slot WritePipeTransport_slots[] = {
    {Py_tp_doc, (void *)WritePipeTransport_doc},
    {Py_tp_methods, WritePipeTransport_methods},
    {Py_tp_members, al_pipe_members},
    {Py_tp_repr, AL_LOCKED(WritePipeTransport_repr)},
    {Py_tp_traverse, al_transport_traverse}, /* the loop visits our entries */
    {Py_tp_clear, WritePipeTransport_clear},
    {0, NULL},
};

int
al_pipe_write_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    return al_fd_transport_add_type(
        module, "asyncloop._core.WritePipeTransport",
        sizeof(WritePipeTransportObject), WritePipeTransport_slots,
        state->imports.asyncio_FlowControlMixin,
        &state->WritePipeTransportType);
}
