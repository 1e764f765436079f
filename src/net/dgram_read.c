/* dgram_read.c - the read side of a datagram transport.
 *
 *     fd readable ---> ready queue ---> al_dgram_read_run()
 *                                          | recvfrom, or recvmmsg
 *                                          v
 *                                         in ---> datagram_received(), each
 *
 * One read a turn, of up to AL_SOCK_BATCH datagrams.  Asking for many costs a
 * little more than asking for one: as long as they come alone they are read by
 * recvfrom, and every now and then a read asks for several; where it gets more
 * than one, so do the next.  Where others are ready now and then a read asks for
 * a few only: nothing interrupts it, and to get 32 takes 20 microseconds or more.
 *
 * In asyncio each datagram has a turn of its own.  Two things end ours after a
 * datagram; the rest of the batch waits for the next turn:
 *   - datagram_received() has queued something, such as the task it wakes: that
 *     runs before the next datagram comes, and may get each of them;
 *   - the turn's budget is spent (io/budget.h): the protocol takes its time, and
 *     other connections wait.  The next turn polls for them first.
 *
 * Invariants
 *   (1) The buffer, which all transports share, is used between the system
 *       call and the copies only, with no call into Python in between: not
 *       even the allocation of a container, which may collect garbage.
 *   (2) datagram_received() is not called unless al_transport_is_reading(): the
 *       one before it may have paused or closed the transport. What is left
 *       in `in` when it is paused comes first when it is resumed.
 *   (3) `in` is not empty => the transport is paused, or is_rest_queued, or its
 *       reading is going on.
 *   (4) Each transport reads, or hands over a rest, once in a turn: what the
 *       last datagram has queued runs before the next one.
 */
#include "net/dgram_transport.h"

#include "base/errors.h"
#include "io/budget.h"
#include "sys/sock.h"
#include "sched/ready.h"

/* asyncio's max_size, which is for Unix sockets: UDP ends at 64 KiB. */
#define AL_DGRAM_MAX ((size_t)256 * 1024)
#define AL_DGRAM_UDP_MAX ((size_t)64 * 1024)
/* From one datagram of a batch to the next: not a power of two, or they would
 * all want the same few lines of the cache. */
#define AL_DGRAM_STRIDE (AL_DGRAM_UDP_MAX + 320)
#define AL_DGRAM_BUFFER (AL_DGRAM_STRIDE * AL_SOCK_BATCH)

#define AL_DGRAM_PROBE 8         /* how many the first read of several wants */
#define AL_DGRAM_BESIDE 4        /* at most, where others are ready, too */
#define AL_DGRAM_PATIENCE_MAX 16 /* reads of one for each probe in vain */

/* --- one or several? ---------------------------------------------------- */

/* Learn from a read that asked for in_batch, or fewer, and got `n`. */
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

/* 0, or -1 with what datagram_received() raised set. */
static int
dgram_read_hand_over(DatagramTransportObject *self, PyObject *data,
                     const al_sockaddr *from)
{
    TransportObject *base = &self->base;

    PyObject *address = al_addr_cache_get(&self->senders, from);
    if (address == NULL) {
        return -1;
    }
    int rc = 0;
    if (AL_LIKELY(base->protocol.object != NULL)) { /* it may have collected */
        rc = al_protocol_datagram_received(&base->protocol, base->state, data,
                                           address);
    }
    Py_DECREF(address);
    return rc;
}

/* Whether the next datagram in `in`, if any, is for this turn, too. */
static bool
dgram_read_may_go_on(DatagramTransportObject *self)
{
    al_loop_head *loop = self->base.loop;

    return self->in_count > 0 &&
           al_transport_is_reading(&self->base) && /* by (2) */
           loop->ready.count <= self->in_queued && !loop->is_stopping &&
           al_budget_is_left_beside(loop);
}

/* Hand over the first datagram in `in`, and the others if this turn has time
 * for them. 0, or -1 with an exception set. */
static int
dgram_read_hand_over_all(DatagramTransportObject *self)
{
    do {
        al_dgram_in item = self->in[self->in_head];

        self->in_head++;
        self->in_count--;
        int rc = dgram_read_hand_over(self, item.data, &item.from);
        Py_DECREF(item.data);
        /* Each is a callback of its own: its writes wait for no other. */
        if (AL_UNLIKELY(rc < 0 || al_transport_send_held(&self->base) < 0)) {
            return -1;
        }
    } while (dgram_read_may_go_on(self));
    return 0;
}

/* --- reading ------------------------------------------------------------ */

/* The three ways to read: 0, or -1 with an exception to be reported or raised
 * set. */
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
    al_datagram datagram = {self->base.state->datagram_buffer, AL_DGRAM_MAX,
                            &from};

    ssize_t n = al_sock_recvfrom(self->base.desc.fd, &datagram);
    if (AL_UNLIKELY(n < 0)) {
        return dgram_read_failed(self, n);
    }
    PyObject *data = PyBytes_FromStringAndSize(datagram.data, n); /* by (1) */
    if (data == NULL) {
        return al_dgram_transport_fail(self, AL_DGRAM_READ_FAILED);
    }
    if (self->family != AF_UNIX) { /* whose datagrams may be too large */
        dgram_read_adapt(self, 1);
    }
    int rc = dgram_read_hand_over(self, data, &from);
    Py_DECREF(data);
    return rc;
}

static int
dgram_read_several(DatagramTransportObject *self)
{
    al_datagram datagrams[AL_SOCK_BATCH];
    char *buffer = self->base.state->datagram_buffer;
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
    for (int i = 0; i < n; i++) { /* by (1), all of them before the first */
        PyObject *data = PyBytes_FromStringAndSize(
            datagrams[i].data, (Py_ssize_t)datagrams[i].size);
        if (data == NULL) {
            return al_dgram_transport_fail(self, AL_DGRAM_READ_FAILED);
        }
        self->in[i].data = data;
        self->in_count++;
    }
    return n == 0 ? 0 : dgram_read_hand_over_all(self);
}

/* Of a family whose addresses only the socket module knows. */
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
        return dgram_read_hand_over_all(self);
    }
    if (AL_UNLIKELY(!al_transport_is_ours(&self->base))) {
        al_fdwatch_clear_reader(&self->watch); /* its events are another's */
        return dgram_read_failed(self, -EBADF);
    }
    if (AL_UNLIKELY(!self->is_plain)) {
        return dgram_read_by_socket(self);
    }
    return self->in_batch == 1 ? dgram_read_one(self)
                               : dgram_read_several(self);
}

/* al_run_fn: hand over the rest, behind what was queued meanwhile. */
static int
dgram_read_run_rest(al_loop_head *loop, PyObject *op)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);

    self->is_rest_queued = false;
    return self->in_count > 0 ? al_dgram_read_run(loop, op) : 0;
}

/* Make (3) hold. 0, or -1 with an exception set. */
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
        al_loop_note_event(self->base.loop); /* poll before it: others wait */
    }
    return 0;
}

int
al_dgram_read_run(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    DatagramTransportObject *self = DatagramTransportObject_CAST(op);
    TransportObject *base = &self->base;
    int rc = 0;

    if (!al_transport_is_reading(&self->base) || self->is_rest_queued) {
        return 0; /* by (2), paused or closed after this was queued; by (3) */
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
            /* As any callback's: the transport goes on, the rest follows. */
            rc = al_transport_report(
                base, PyUnicode_FromString("Exception in callback "
                                           "DatagramTransport._read_ready()"));
        }
    } while (rc == 0 && dgram_read_may_go_on(self));

    PyObject *raised = rc < 0 ? PyErr_GetRaisedException() : NULL;
    if (dgram_read_queue_rest(self) < 0) {
        PyErr_WriteUnraisable(op);
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
    if (base->state->datagram_buffer == NULL) {
        base->state->datagram_buffer = PyMem_Malloc(AL_DGRAM_BUFFER);
        if (base->state->datagram_buffer == NULL) {
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
    while (self->in_count > 0) { /* bytes: lets no code run */
        self->in_count--;
        Py_DECREF(self->in[self->in_head++].data);
    }
}
