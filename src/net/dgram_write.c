/* dgram_write.c - the write side of a datagram transport.
 *
 *     sendto(data, address) ---> sendto              usually takes it
 *                                  | EAGAIN
 *                                  v
 *                                 out ---> (fd writable) ---> sendmmsg
 *
 * We convert numeric addresses to the kernel's form.  All others (a host name,
 * a wrong type) go to the sendto() method of the socket object, which resolves
 * them or raises the right exception.
 *
 * Invariants
 *   (1) out is not empty => the writer entry is set, or the loop is closed.
 *   (2) While datagrams are queued, new ones go behind them: all leave in
 *       order.
 *   (3) Nothing is queued once connection_lost() is scheduled: nobody would
 *       send it.
 *   (4) If the watch is not in the loop's table although the loop is open,
 *       another transport has taken over the descriptor, while we were
 *       closing.
 */
#include "base/args.h"
#include "base/errors.h"
#include "net/dgram_transport.h"
#include "sys/sock.h"

/* Places of a new queue; the fewest that a cut leaves (4 KiB). */
#define DGRAM_OUT_FIRST 8
#define DGRAM_OUT_LEAST 32

#define AL_DGRAM_WRITE_FAILED "Fatal write error on datagram transport"

/* How a datagram is sent. */
typedef enum {
    AL_DGRAM_TO_PEER,    /* the socket is connected */
    AL_DGRAM_TO_ADDRESS, /* we know the kernel's form of the address */
    AL_DGRAM_BY_SOCKET,  /* by the socket object's sendto() */
} al_dgram_way;

/* --- the queue ---------------------------------------------------------- */

static void
dgram_out_cut(DatagramTransportObject *self)
{
    al_grow_ring_cut(&self->out, sizeof(al_dgram_out), self->out_count,
                     DGRAM_OUT_LEAST);
}

static size_t
dgram_out_counted(const al_dgram_out *item)
{
    return (size_t)PyBytes_GET_SIZE(item->data) + AL_DATAGRAM_HEADER;
}

#ifdef AL_DEBUG

void
al_dgram_write_check(TransportObject *base)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(base);
    size_t size = 0;

    for (size_t i = 0; i < self->out_count; i++) {
        size += dgram_out_counted(al_dgram_out_at(self, i));
    }
    assert(self->out_size == size);
    AL_HOLDS(1, self->out_count == 0 || self->watch.writer.object != NULL ||
                    base->loop->is_closed || self->watch.loop == NULL);
    AL_HOLDS(3, self->out_count == 0 || base->lost == 0);
}

#endif

/* Queue a datagram; `bytes` is exactly a bytes object. Takes references. 0, or
 * -1 with MemoryError set. */
static int
dgram_out_push(DatagramTransportObject *self, PyObject *bytes,
               al_dgram_way way, PyObject *address, const al_sockaddr *to)
{
    size_t capacity = al_grow_capacity(self->out.capacity, self->out_count + 1,
                                       DGRAM_OUT_FIRST);

    if (capacity > self->out.capacity &&
        al_grow_ring(&self->out, sizeof(al_dgram_out), self->out_count,
                     capacity) < 0)
    {
        PyErr_NoMemory();
        return -1;
    }
    al_dgram_out *item = al_dgram_out_at(self, self->out_count);
    item->data = Py_NewRef(bytes);
    item->address = way == AL_DGRAM_BY_SOCKET ? Py_NewRef(address) : NULL;
    item->to.size = 0;
    if (way == AL_DGRAM_TO_ADDRESS) {
        item->to = *to;
    }
    self->out_count++;
    self->out_size += dgram_out_counted(item);
    return 0;
}

/* Drop the first datagram. May run any code: its address may be any object. */
static void
dgram_out_pop(DatagramTransportObject *self)
{
    al_dgram_out *item = al_dgram_out_at(self, 0);
    PyObject *data = item->data;
    PyObject *address = item->address;

    self->out_size -= dgram_out_counted(item);
    self->out.head = (self->out.head + 1) & (self->out.capacity - 1);
    self->out_count--;
    Py_DECREF(data);
    Py_XDECREF(address);
}

void
al_dgram_write_clear(DatagramTransportObject *self)
{
    while (self->out_count > 0) {
        dgram_out_pop(self);
    }
    dgram_out_cut(self);
}

/* --- sending ------------------------------------------------------------ */

/* How to send to `address`. *to is the kernel's form of it, or NULL; it may
 * point to `storage`. Never fails. */
static al_dgram_way
dgram_write_way(DatagramTransportObject *self, PyObject *address,
                al_sockaddr *storage, const al_sockaddr **to)
{
    *to = NULL;
    if (self->is_connected || (self->is_paired && address == Py_None)) {
        return AL_DGRAM_TO_PEER;
    }
    if (AL_UNLIKELY(!self->knows_family)) {
        return AL_DGRAM_BY_SOCKET;
    }
    *to = al_addr_cache_find(self->senders, address);
    if (*to != NULL) {
        return AL_DGRAM_TO_ADDRESS;
    }
    if (!al_sockaddr_from_python(storage, self->family, address)) {
        return AL_DGRAM_BY_SOCKET;
    }
    *to = storage;
    return AL_DGRAM_TO_ADDRESS;
}

/* Send by the socket object: 0; 1: try again when the descriptor is writable;
 * -1 with an exception set. */
static int
dgram_write_by_socket(DatagramTransportObject *self, PyObject *data,
                      PyObject *address)
{
    /* sendto() may let other threads run, which may end us: own the socket. */
    PyObject *sock = Py_NewRef(self->base.desc.object);
    PyObject *result = PyObject_CallMethodObjArgs(
        sock, self->base.state->names.sendto, data, address, NULL);
    Py_DECREF(sock);
    if (result != NULL) {
        if (PyLong_CheckExact(result)) {
            (void)al_transport_note_out(&self->base, PyLong_AsSsize_t(result));
        }
        Py_DECREF(result);
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
        PyErr_ExceptionMatches(PyExc_InterruptedError))
    {
        PyErr_Clear();
        return 1;
    }
    return -1;
}

/* The same by a system call. */
static int
dgram_write_to(DatagramTransportObject *self, PyObject *data,
               const al_sockaddr *to)
{
    al_datagram datagram = {.address = (al_sockaddr *)to};
    Py_buffer view;
    ssize_t n;

    if (AL_LIKELY(PyBytes_Check(data))) {
        datagram.data = PyBytes_AS_STRING(data);
        datagram.size = (size_t)PyBytes_GET_SIZE(data);
        n = al_sock_sendto(self->base.desc.fd, &datagram);
    }
    else {
        if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
            return -1;
        }
        datagram.data = view.buf;
        datagram.size = (size_t)view.len;
        n = al_sock_sendto(self->base.desc.fd, &datagram);
        PyBuffer_Release(&view);
    }
    if (AL_LIKELY(al_transport_note_out(&self->base, n) >= 0)) {
        return 0;
    }
    if (al_sock_is_again(n)) {
        return 1;
    }
    al_error_set_errno((int)-n);
    return -1;
}

/* --- the descriptor is writable ----------------------------------------- */

/* Send the first datagrams, up to one that needs the socket object. Returns
 * how many were sent; 0: try again when the descriptor is writable; -1 with
 * the OSError of the first datagram set. */
static int
dgram_write_batch(DatagramTransportObject *self)
{
    al_datagram datagrams[AL_SOCK_BATCH];
    int count = 0;

    while (count < AL_SOCK_BATCH && (size_t)count < self->out_count) {
        al_dgram_out *item = al_dgram_out_at(self, (size_t)count);
        if (item->address != NULL) {
            break;
        }
        datagrams[count++] = (al_datagram){
            PyBytes_AS_STRING(item->data),
            (size_t)PyBytes_GET_SIZE(item->data),
            item->to.size == 0 ? NULL : &item->to,
        };
    }
    int n = al_sock_send_batch(&self->base.state->refused, self->base.desc.fd,
                               datagrams, count);
    for (int i = 0; i < n; i++) {
        (void)al_transport_note_out(&self->base, (ssize_t)datagrams[i].size);
    }
    if (n >= 0) {
        return n;
    }
    if (al_sock_is_again(n)) {
        return 0;
    }
    al_error_set_errno(-n);
    return -1;
}

/* Send the first datagram or several; returns what dgram_write_batch()
 * does. */
static int
dgram_write_first(DatagramTransportObject *self)
{
    al_dgram_out *item = al_dgram_out_at(self, 0);

    if (AL_LIKELY(item->address == NULL)) {
        return dgram_write_batch(self);
    }
    PyObject *data = Py_NewRef(item->data);
    PyObject *address = Py_NewRef(item->address);
    int rc = dgram_write_by_socket(self, data, address);
    Py_DECREF(data);
    Py_DECREF(address);
    return rc < 0 ? -1 : !rc;
}

/* Send the queue. After a datagram that failed, the rest is for the next turn,
 * as in asyncio. 1: call resume_writing() if it is due; 0: not now; -1 with an
 * exception set, which the caller reports. */
static int
dgram_write_flush(DatagramTransportObject *self)
{
    while (self->out_count > 0) {
        int n = dgram_write_first(self);
        if (n == 0) {
            break;
        }
        PyObject *raised = n < 0 ? PyErr_GetRaisedException() : NULL;
        /* Code that ran meanwhile may have called abort(), which drops
         * them. */
        for (int i = n < 0 ? 1 : n; i > 0 && self->out_count > 0; i--) {
            dgram_out_pop(self);
        }
        if (raised != NULL) {
            PyErr_SetRaisedException(raised);
            return al_dgram_transport_fail(self, AL_DGRAM_WRITE_FAILED);
        }
    }
    dgram_out_cut(self);
    return 1;
}

/* The descriptor does not name our file any more: drop the queue, and call
 * error_received(). 1, or -1 with its exception set. */
static int
dgram_write_gone(DatagramTransportObject *self)
{
    al_dgram_write_clear(self);
    al_error_set_errno(EBADF);
    return al_dgram_transport_fail(self, AL_DGRAM_WRITE_FAILED) < 0 ? -1 : 1;
}

/* al_run_fn: the descriptor is writable. */
static int
dgram_write_run(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);
    TransportObject *base = &self->base;

    AL_CHECK(al_transport_check, base);
    if (base->lost > 0) {
        return 0; /* queued before an error or abort() */
    }
    if (AL_UNLIKELY(self->watch.loop == NULL)) {
        return al_transport_force_close(base, NULL); /* by (4) */
    }
    int rc = al_transport_enter(base);
    if (rc == 0) {
        rc = al_transport_leave(base, al_transport_is_ours(base)
                                          ? dgram_write_flush(self)
                                          : dgram_write_gone(self));
    }
    if (rc < 0) {
        return al_transport_report(
            base, PyUnicode_FromString("Exception in callback "
                                       "DatagramTransport._sendto_ready()"));
    }
    if (rc == 0 || base->lost > 0) {
        return 0;
    }
    return al_fd_transport_resume_writing(base);
}

/* Set the writer entry before a datagram is queued, by (1). The transport may
 * be lost afterwards. 0, or -1 with an exception set. */
static int
dgram_write_watch(DatagramTransportObject *self)
{
    return al_fd_transport_watch_writer(&self->base, &self->watch,
                                        dgram_write_run);
}

/* --- Python: sendto() --------------------------------------------------- */

/* 0, or -1 with ValueError set. */
static int
dgram_write_check_address(DatagramTransportObject *self, PyObject *address)
{
    if (AL_LIKELY(self->address == NULL || address == Py_None)) {
        return 0;
    }
    int is_same = PyObject_RichCompareBool(address, self->address, Py_EQ);
    if (is_same == 0) {
        PyErr_Format(PyExc_ValueError, "Invalid address: must be None or %S",
                     self->address);
    }
    return is_same > 0 ? 0 : -1;
}

/* Whether a sendto() is ignored because the connection is lost. If so, count
 * it, and warn from AL_TRANSPORT_LOST_WRITES on. As in asyncio, an endpoint
 * without a remote address still sends until connection_lost() was called. */
static bool
dgram_write_is_lost(DatagramTransportObject *self)
{
    TransportObject *base = &self->base;

    if (AL_LIKELY(base->lost == 0 ||
                  (self->address == NULL && base->loop != NULL &&
                   base->desc.phase != AL_DESCRIPTOR_NONE)))
    {
        return false;
    }
    if (base->lost >= AL_TRANSPORT_LOST_WRITES) {
        al_transport_warn(base, "socket.send() raised exception.");
    }
    base->lost++;
    return true;
}

/* Queue a datagram that the kernel does not take now. 0, or -1 with an
 * exception set. */
static int
dgram_write_queue(DatagramTransportObject *self, PyObject *bytes,
                  al_dgram_way way, PyObject *address, const al_sockaddr *to)
{
    TransportObject *base = &self->base;

    if (base->lost > 0) {
        return 0; /* by (3) */
    }
    if (dgram_write_watch(self) < 0) {
        return -1;
    }
    if (AL_UNLIKELY(base->lost > 0)) {
        return 0; /* by (3) */
    }
    if (dgram_out_push(self, bytes, way, address, to) < 0) {
        return -1; /* the writer entry, with nothing to send, is harmless */
    }
    return al_transport_maybe_pause(base);
}

/* Send or queue. 0, or -1 with an exception set. */
static int
dgram_write(DatagramTransportObject *self, PyObject *data, PyObject *address)
{
    TransportObject *base = &self->base;
    al_sockaddr storage;
    const al_sockaddr *to;

    AL_CHECK(al_transport_check, base);
    if (AL_UNLIKELY(!al_transport_is_ours(base))) {
        return dgram_write_gone(self) < 0 ? -1 : 0;
    }
    al_dgram_way way = dgram_write_way(self, address, &storage, &to);
    al_loop_note_event(base->loop);
    if (AL_LIKELY(self->out_count == 0)) { /* by (2) */
        int rc = way == AL_DGRAM_BY_SOCKET
                     ? dgram_write_by_socket(self, data, address)
                     : dgram_write_to(self, data, to);
        if (AL_LIKELY(rc == 0)) {
            return 0;
        }
        if (rc < 0) {
            return al_dgram_transport_fail(self, AL_DGRAM_WRITE_FAILED);
        }
    }
    /* The program may change its buffer later, so copy it.
     * PyBytes_FromObject() may run anything. */
    PyObject *bytes =
        PyBytes_CheckExact(data) ? Py_NewRef(data) : PyBytes_FromObject(data);
    if (bytes == NULL) {
        return -1;
    }
    int rc = dgram_write_queue(self, bytes, way, address, to);
    Py_DECREF(bytes);
    return rc;
}

PyObject *
al_dgram_write_py_sendto(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    static const al_signature signature = {"sendto", AL_ARGS("data", "addr"),
                                           1, 2, 0};
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);
    PyObject *a[2];

    if (AL_LIKELY(nargs == 2 && kwnames == NULL)) {
        a[0] = args[0];
        a[1] = args[1];
    }
    else if (al_args_parse(&signature, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    PyObject *data = a[0];
    PyObject *address = a[1] == NULL ? Py_None : a[1];
    if (!PyBytes_Check(data) &&
        al_transport_check_data(&self->base, data, "a bytes-like object") < 0)
    {
        return NULL;
    }
    if (!AL_SENDS_EMPTY_DATAGRAMS) {
        Py_ssize_t size = PyObject_Size(data);
        if (size < 0) {
            return NULL;
        }
        if (size == 0) {
            Py_RETURN_NONE;
        }
    }
    if (dgram_write_check_address(self, address) < 0) {
        return NULL;
    }
    if (al_transport_send_held(&self->base) < 0) {
        return NULL;
    }
    if (self->address != NULL) {
        address = self->address;
    }
    if (dgram_write_is_lost(self)) {
        Py_RETURN_NONE;
    }
    return al_call_none(dgram_write(self, data, address));
}

AL_LOCKS_KEYWORDS(al_dgram_write_py_sendto, al_transport_lock)
