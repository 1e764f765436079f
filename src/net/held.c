/* held.c - small writes that wait for the end of the step that made them.
 *
 *     write(head) ---> held --- write(body) ---> held --- the step returns
 *                                                            | one sendmsg
 *                                                            v
 *                                                          the peer
 *
 * An HTTP server writes the head and the body of an answer in one step of a
 * task, or in one callback. Each write() would cost a system call, which is a
 * tenth to a third of all that a request costs.  So a loop holds the writes of
 * one transport, at most one at a time, and sends them in one piece.
 *
 * A write is held if all of this is true:
 *
 *     | it must be so                             | or else
 *     |-------------------------------------------|----------------------------
 *     | the last step that wrote to this          | a single write would wait
 *     |   transport has written several times,    |   for nothing
 *     |   and 32 before it                        | little could be gained
 *     | nothing is queued before it, and the      | who waits for the descriptor
 *     |   descriptor is not watched for writing   |   would send it anyway
 *     | a step of this loop runs, in this thread  | nobody would send it
 *     | only the loop has the descriptor          | the program's own send(), or
 *     |   (PRIVATE, net/descriptor.h)             |   a child, would overtake it
 *     | it is small: 16 KiB, and not more than    | the protocol would have to
 *     |   the high-water mark, with the rest      |   be paused
 *     | steps of this transport do not take long  | bytes wait for 200 us at most
 *     | Loop(hold_writes=True), the default       | the program does not want it
 *
 * Held bytes are sent (al_loop_send_held()) as soon as
 *
 *     - the step returns (sched/ready.c), before what it had is let go of; an
 *       eager task's first step is one, in the middle of another;
 *     - more is held than is small, or it has waited for 200 us when the next
 *       write comes. Nothing interrupts a step that runs long without another
 *       write: such a transport is not held again for some time;
 *     - the loop is about to do anything else that others can see: it writes to
 *       or closes another transport, sends a datagram, calls a sock_* method,
 *       starts, signals or forks a process, hands a job to an executor, wakes
 *       another loop or runs in a step of it, starts or stops a server, binds
 *       a socket, sets an option of one, calls the exception handler;
 *     - the program asks the transport what it has left to send, whether it is
 *       closing, or for its socket.
 *
 * What remains visible is in docs/differences.md.
 *
 * Invariants
 *   (1) loop->held.object != NULL => a step of the loop runs, the transport's
 *       queue is not empty, and its writer entry is not set.
 *   (2) state->holders has the loops with loop->held.object != NULL. */
#include "net/held.h"

#include "io/cycles.h"
#include "net/sock_transport.h"

#define HELD_MAX ((size_t)16 * 1024)
#define HELD_CHUNKS 1000 /* fewer than one sendmsg() takes */

/* In al_cycles_budget(): 60 us on a processor of 5 GHz, 187 us at 1.6 GHz. */
#define HELD_BUDGETS 3

/* Steps with several writes that go unheld at first: a connection that does not
 * make more than these saves next to nothing. */
#define HELD_TRIAL 32

/* The same after one that took long: few the first time, as it may have been
 * another process's fault, twice as many each time after that, and one less for
 * each step that was short. */
#define HELD_LEAST_PATIENCE 16
#define HELD_MOST_PATIENCE 16384

void
al_held_init(al_habit *habit)
{
    habit->sits_out = HELD_TRIAL;
}

void
al_held_note(SocketTransportObject *self)
{
    al_habit *habit = &self->habit;
    uint32_t step = self->base.loop->steps;

    habit->in_parts = habit->step == step;
    habit->step = step;
}

/* Whether more writes are likely to follow in this step. */
static inline bool
held_expects_more(SocketTransportObject *self)
{
    al_habit *habit = &self->habit;
    bool was_in_parts = habit->in_parts;

    al_held_note(self);
    if (habit->in_parts) {
        return false; /* this is the second already, and the first is gone */
    }
    if (was_in_parts && habit->sits_out > 0) {
        habit->sits_out--;
        return false;
    }
    return was_in_parts;
}

bool
al_held_decide(SocketTransportObject *self, size_t size)
{
    const al_loop_head *loop = self->base.loop;

    return held_expects_more(self) && loop->holds_writes && loop->is_in_turn &&
           loop->thread_id == PyThread_get_thread_ident() &&
           self->base.desc.phase == AL_DESCRIPTOR_PRIVATE &&
           self->watch.writer.object == NULL && size <= HELD_MAX &&
           size <= self->base.flow.high;
}

static bool
held_is_late(const al_loop_head *loop)
{
    return al_cycles() - loop->held_since > HELD_BUDGETS * al_cycles_budget();
}

bool
al_held_is_full(const SocketTransportObject *self)
{
    size_t size = self->outgoing.size;

    return size > HELD_MAX || size > self->base.flow.high ||
           self->outgoing.count >= HELD_CHUNKS ||
           held_is_late(self->base.loop);
}

void
al_held_begin(SocketTransportObject *self, al_run_fn send)
{
    al_loop_head *loop = self->base.loop;

    assert(loop->held.object == NULL && self->outgoing.count > 0);
    loop->held = (al_entry){send, Py_NewRef((PyObject *)self)};
    loop->held_since = al_cycles();
    al_list_append(&loop->state->holders, &loop->holder);
}

/* What was held is sent, in time or late. */
static inline void
held_learn(al_habit *habit, bool is_late)
{
    if (AL_UNLIKELY(is_late)) {
        habit->sits_out = Py_MAX(habit->patience, HELD_LEAST_PATIENCE);
        habit->patience = Py_MIN(habit->sits_out * 2, HELD_MOST_PATIENCE);
    }
    else if (habit->patience > 0) {
        habit->patience--;
    }
}

SocketTransportObject *
al_held_end(al_loop_head *loop)
{
    SocketTransportObject *self =
        SocketTransportObject_CAST(loop->held.object);

    loop->held.object = NULL; /* the reference is the caller's now */
    al_list_remove(&loop->holder);
    held_learn(&self->habit, held_is_late(loop));
    return self;
}
