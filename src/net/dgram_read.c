/* dgram_read.c - the read side of a datagram transport.
 *
 *     fd readable ---> ready queue ---> al_dgram_read_run()
 *                                          | recvfrom, or recvmmsg
 *                                          v
 *                                         in ---> datagram_received(), each
 *
 * A transport reads once a turn, up to AL_SOCK_BATCH datagrams.  recvmmsg
 * costs a little more than recvfrom.  So while datagrams come one by one,
 * recvfrom reads them, and now and then a read asks for several (a probe).  If
 * it gets more than one, the next reads ask for several, too.  If other
 * descriptors are ready now and then, a read asks for a few only: reading 32
 * datagrams takes 20 microseconds or more, and nothing interrupts it.
 *
 * In asyncio each datagram has a turn of its own.  Here a turn delivers
 * several, but the rest of the batch waits for the next turn as soon as
 *   - datagram_received() has queued an entry, such as the task that it wakes.
 *     That entry runs before the next datagram, as in asyncio.
 *   - the turn's budget is spent (io/budget.h): other connections wait.  The
 *     next turn polls for them first.
 *
 * Invariants
 *   (1) The buffer, which all transports share, is used between the system
 *       call and the copies only, with no call into Python in between.  Even
 *       allocating a container would be one: it may collect garbage.
 *   (2) datagram_received() is called only if al_transport_is_reading(): the
 *       call before it may have paused or closed the transport.  Datagrams
 *       that are left in `in` by a pause come first after resume_reading().
 *   (3) `in` is not empty => the transport is paused, or is_rest_queued, or a
 *       read of it is running.
 *   (4) A transport reads or delivers a rest once in a turn.  So the entries
 *       that the last datagram has queued run before the next datagram.
 */
#include "net/dgram_transport.h"

#include "base/errors.h"
#include "io/budget.h"
#include "sys/sock.h"
#include "sched/ready.h"

/* asyncio's max_size. Only Unix sockets have such datagrams: UDP has at most
 * 64 KiB. */
#define AL_DGRAM_MAX ((size_t)256 * 1024)
#define AL_DGRAM_UDP_MAX ((size_t)64 * 1024)
/* The distance between two datagrams of a batch in the buffer. It is no power
 * of two: otherwise all datagrams would compete for the same few cache
 * lines. */
#define AL_DGRAM_STRIDE (AL_DGRAM_UDP_MAX + 320)
#define AL_DGRAM_BUFFER (AL_DGRAM_STRIDE * AL_SOCK_BATCH)

#define AL_DGRAM_PROBE 8         /* how many datagrams a probe asks for */
#define AL_DGRAM_BESIDE 4        /* the most if others are ready, too */
#define AL_DGRAM_PATIENCE_MAX 16 /* the most reads of one between probes */

/* --- one or several? ---------------------------------------------------- */

/* A read has asked for in_batch datagrams or fewer and got `n`: choose how
 * many the next read asks for. */
static void
dgram_read_adapt(DatagramTransportObject *self, int n)
{
    if (self->in_batch == 1) {
        if (++self->in_lone >= self->in_patience) {
            self->in_batch = AL_DGRAM_PROBE;
        }
        return;
    }
    if (n <= 1) {
        self->in_batch = 1;
        self->in_lone = 0;
        if (self->in_patience < AL_DGRAM_PATIENCE_MAX) {
            self->in_patience *= 2;
        }
        return;
    }
    self->in_patience = 1;
    if (n == self->in_batch && self->in_batch < AL_SOCK_BATCH) {
        self->in_batch *= 2;
    }
    else if (n <= AL_DGRAM_PROBE / 2) {
        self->in_batch = AL_DGRAM_PROBE;
    }
}

/* --- Protocol ----------------------------------------------------------- */

/* Call datagram_received(): 0, or -1 with its exception set. */
static int
dgram_read_deliver(DatagramTransportObject *self, PyObject *data,
                   const al_sockaddr *from)
{
    TransportObject *base = &self->base;

    PyObject *address = al_addr_cache_get(&self->senders, from);
    if (address == NULL) {
        return -1;
    }
    int rc = 0;
    /* Making the address may have collected garbage, and so have ended us. */
    if (AL_LIKELY(base->protocol.object != NULL)) {
        rc = al_protocol_datagram_received(&base->protocol, base->state, data,
                                           address);
    }
    Py_DECREF(address);
    return rc;
}

/* Whether there is a next datagram in `in` that this turn may deliver, too. */
static bool
dgram_read_may_go_on(DatagramTransportObject *self)
{
    al_loop_head *loop = self->base.loop;

    return self->in_count > 0 &&
           al_transport_is_reading(&self->base) && /* by (2) */
           loop->ready.count <= self->in_queued && !loop->is_stopping &&
           al_budget_is_left_beside(loop);
}

/* Deliver the first datagram in `in`, and the others if the turn has time for
 * them. 0, or -1 with an exception set. */
static int
dgram_read_deliver_all(DatagramTransportObject *self)
{
    do {
        al_dgram_in item = self->in[self->in_head];

        self->in_head++;
        self->in_count--;
        int rc = dgram_read_deliver(self, item.data, &item.from);
        Py_DECREF(item.data);
        /* Each call is a step of its own: send the bytes that it left held. */
        if (AL_UNLIKELY(rc < 0 || al_transport_send_held(&self->base) < 0)) {
            return -1;
        }
    } while (dgram_read_may_go_on(self));
    return 0;
}

/* --- reading ------------------------------------------------------------ */

/* The functions that read return 0, or -1 with an exception set, which the
 * caller reports. */
static int
dgram_read_failed(DatagramTransportObject *self, ssize_t n)
{
    if (al_sock_is_again(n)) {
        return 0;
    }
    al_error_set_errno((int)-n);
    return al_dgram_transport_fail(self, AL_DGRAM_READ_FAILED);
}

static int
dgram_read_one(DatagramTransportObject *self)
{
    al_sockaddr from;
    al_datagram datagram = {self->base.loop->datagram_buffer, AL_DGRAM_MAX,
                            &from};

    ssize_t n = al_transport_note_in(
        &self->base, al_sock_recvfrom(self->base.desc.fd, &datagram));
    if (AL_UNLIKELY(n < 0)) {
        return dgram_read_failed(self, n);
    }
    PyObject *data = PyBytes_FromStringAndSize(datagram.data, n); /* by (1) */
    if (data == NULL) {
        return al_dgram_transport_fail(self, AL_DGRAM_READ_FAILED);
    }
    if (self->family != AF_UNIX) { /* Unix datagrams may not fit a batch */
        dgram_read_adapt(self, 1);
    }
    int rc = dgram_read_deliver(self, data, &from);
    Py_DECREF(data);
    return rc;
}

static int
dgram_read_several(DatagramTransportObject *self)
{
    al_datagram datagrams[AL_SOCK_BATCH];
    char *buffer = self->base.loop->datagram_buffer;
    int count = al_budget_is_shared(self->base.loop)
                    ? Py_MIN(self->in_batch, AL_DGRAM_BESIDE)
                    : self->in_batch;

    if (self->in == NULL) {
        self->in = PyMem_New(al_dgram_in, AL_SOCK_BATCH);
        if (self->in == NULL) {
            PyErr_NoMemory();
            return al_dgram_transport_fail(self, AL_DGRAM_READ_FAILED);
        }
    }
    for (int i = 0; i < count; i++) {
        datagrams[i] = (al_datagram){buffer + (size_t)i * AL_DGRAM_STRIDE,
                                     AL_DGRAM_UDP_MAX, &self->in[i].from};
    }
    int n = al_sock_recv_batch(&self->base.state->refused, self->base.desc.fd,
                               datagrams, count);
    dgram_read_adapt(self, n);
    if (AL_UNLIKELY(n < 0)) {
        return dgram_read_failed(self, n);
    }
    self->in_head = self->in_count = 0;
    for (int i = 0; i < n; i++) { /* by (1), copy all before delivering one */
        (void)al_transport_note_in(&self->base, (ssize_t)datagrams[i].size);
        PyObject *data = PyBytes_FromStringAndSize(
            datagrams[i].data, (Py_ssize_t)datagrams[i].size);
        if (data == NULL) {
            return al_dgram_transport_fail(self, AL_DGRAM_READ_FAILED);
        }
        self->in[i].data = data;
        self->in_count++;
    }
    return n == 0 ? 0 : dgram_read_deliver_all(self);
}

/* Read by the socket object: only the socket module knows the addresses of
 * this family. */
static int
dgram_read_by_socket(DatagramTransportObject *self)
{
    TransportObject *base = &self->base;
    PyObject *data, *address;

    PyObject *result =
        PyObject_CallMethod(base->desc.object, "recvfrom", "n", AL_DGRAM_MAX);
    if (result == NULL || !PyArg_ParseTuple(result, "OO", &data, &address)) {
        Py_XDECREF(result);
        if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
            PyErr_ExceptionMatches(PyExc_InterruptedError))
        {
            PyErr_Clear();
            return 0;
        }
        return al_dgram_transport_fail(self, AL_DGRAM_READ_FAILED);
    }
    int rc = 0;
    if (PyBytes_Check(data)) {
        (void)al_transport_note_in(base, PyBytes_GET_SIZE(data));
    }
    if (base->protocol.object != NULL) {
        rc = al_protocol_datagram_received(&base->protocol, base->state, data,
                                           address);
    }
    Py_DECREF(result);
    return rc;
}

static int
dgram_read(DatagramTransportObject *self)
{
    if (self->in_count > 0) {
        return dgram_read_deliver_all(self);
    }
    if (AL_UNLIKELY(!al_transport_is_ours(&self->base))) {
        al_fdwatch_clear_reader(&self->watch); /* of another file by now */
        return dgram_read_failed(self, -EBADF);
    }
    if (AL_UNLIKELY(!self->knows_family)) {
        return dgram_read_by_socket(self);
    }
    return self->in_batch == 1 ? dgram_read_one(self)
                               : dgram_read_several(self);
}

/* al_run_fn: deliver the rest, after the entries that were queued
 * meanwhile. */
static int
dgram_read_run_rest(al_loop_head *loop, PyObject *op)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);

    self->is_rest_queued = false;
    return self->in_count > 0 ? al_dgram_read_run(loop, op) : 0;
}

/* If datagrams are left in `in`, queue an entry for them, by (3). 0, or -1
 * with an exception set. */
static int
dgram_read_queue_rest(DatagramTransportObject *self)
{
    if (self->in_count == 0 || self->is_rest_queued ||
        !al_transport_is_reading(&self->base))
    {
        return 0;
    }
    if (al_ready_push(self->base.loop, dgram_read_run_rest, (PyObject *)self) <
        0)
    {
        return -1;
    }
    self->is_rest_queued = true;
    if (!al_budget_is_left_beside(self->base.loop)) {
        al_loop_note_event(self->base.loop); /* poll first: others wait */
    }
    return 0;
}

#ifdef AL_DEBUG

/* Of one whose reading is not going on. */
static void
dgram_read_check(const DatagramTransportObject *self)
{
    AL_HOLDS(3, self->in_count == 0 || self->is_rest_queued ||
                    !al_transport_is_reading(&self->base));
}

#endif

int
al_dgram_read_run(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);
    TransportObject *base = &self->base;
    int rc = 0;

    AL_CHECK(al_transport_check, base);
    if (!al_transport_is_reading(&self->base) || self->is_rest_queued) {
        return 0; /* by (2), or the rest comes first, by (3) */
    }
    if (self->in_turn == base->loop->turn) { /* by (4) */
        return dgram_read_queue_rest(self);
    }
    self->in_turn = base->loop->turn;
    al_budget_begin(base->loop);
    self->in_queued = base->loop->ready.count;
    do {
        if (al_transport_enter(base) < 0) {
            return al_transport_fatal_error(base, AL_DGRAM_READ_FAILED);
        }
        rc = al_transport_leave(base, dgram_read(self));
        if (AL_UNLIKELY(rc < 0)) {
            /* Report it like the exception of any callback. The transport goes
             * on with the rest. */
            rc = al_transport_report(
                base, PyUnicode_FromString("Exception in callback "
                                           "DatagramTransport._read_ready()"));
        }
    } while (rc == 0 && dgram_read_may_go_on(self));

    PyObject *raised = rc < 0 ? PyErr_GetRaisedException() : NULL;
    if (dgram_read_queue_rest(self) < 0) {
        PyErr_WriteUnraisable(op);
    }
    else {
        AL_CHECK(dgram_read_check, self);
    }
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
    }
    return rc;
}

bool
al_dgram_read_is_flood(const al_entry *entry)
{
    return entry->run == al_dgram_read_run &&
           DatagramTransportObject_CAST(entry->object)->in_batch > 1;
}

int
al_dgram_read_start(TransportObject *base)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(base);

    if (!al_transport_is_reading(base)) {
        return 0;
    }
    if (al_loop_check_closed(base->loop) < 0) {
        return -1;
    }
    if (base->loop->datagram_buffer == NULL) {
        base->loop->datagram_buffer = PyMem_Malloc(AL_DGRAM_BUFFER);
        if (base->loop->datagram_buffer == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    if (dgram_read_queue_rest(self) < 0) {
        return -1;
    }
    if (!al_transport_is_ours(base)) {
        al_error_set_errno(EBADF);
        return al_dgram_transport_fail(self, AL_DGRAM_READ_FAILED);
    }
    return al_fd_transport_watch_reader(base, &self->watch, al_dgram_read_run);
}

void
al_dgram_read_clear(DatagramTransportObject *self)
{
    while (self->in_count > 0) { /* freeing bytes runs no code */
        self->in_count--;
        Py_DECREF(self->in[self->in_head++].data);
    }
}
