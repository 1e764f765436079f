/* held.c - holds small writes until the end of the step that made them.
 *
 *     write(head) ---> held --- write(body) ---> held --- the step returns
 *                                                            | one sendmsg
 *                                                            v
 *                                                          the peer
 *
 * An HTTP server writes the head and the body of an answer in one step of a
 * task, or in one callback.  Each write() would cost a system call, which is a
 * tenth to a third of all that a request costs.  So a loop holds the writes of
 * one transport, at most one at a time, and sends them by one system call.
 *
 * A write is held if all of this is true:
 *
 *     | condition                                 | because otherwise
 *     |-------------------------------------------|---------------------------
 *     | the last step that wrote to this          | a single write would wait
 *     |   transport has written several times     |   for nothing
 *     | 32 such steps were on trial before, and   | bytes could wait for more
 *     |   took no longer than 200 us              |   than 200 us
 *     | nothing is queued before it, and the      | the writer entry sends the
 *     |   descriptor is not watched for writing   |   bytes anyway
 *     | a step of this loop runs, in this thread  | nobody would send them
 *     | only the loop has the descriptor          | the program's own send(),
 *     |   (PRIVATE, net/descriptor.h)             |   or a child, could overtake
 *     | all held bytes are at most 16 KiB, and    | the protocol would have to
 *     |   at most the high-water mark             |   be paused
 *     | Loop(hold_writes=True), the default       | the program does not want it
 *
 * A step on trial sends each write at once.  It only measures how long its
 * bytes would have been held.
 *
 * Held bytes are sent (al_loop_send_held()) as soon as
 *
 *     - the step returns (sched/turn.c), before its entry is freed; the first
 *       step of an eager task is such a step within another one;
 *     - the next write makes the held bytes too many, or comes after 200 us.
 *       Nothing interrupts a step that runs long without another write: such a
 *       transport goes on trial again, each time for longer;
 *     - the loop is about to do anything else that the outside sees: it
 *       writes to or closes another transport, sends a datagram, calls a
 *       sock_* method, starts, signals or forks a process, hands a job to an
 *       executor, wakes another loop or runs in a step of it, starts or stops
 *       a server, binds a socket, sets an option of one, calls the exception
 *       handler;
 *     - the program asks the transport for its write buffer size, whether it
 *       is closing, or for its socket.
 *
 * A loop's attribute _held_most has the 200 us in units of al_cycles().  A
 * busy machine interrupts tests, so they set it to say which of their steps
 * are long.
 *
 * docs/differences.md says what a program can notice of this.
 *
 * Invariants
 *   (1) loop->held.object != NULL => a step of the loop runs, and either it is
 *       on trial, or the transport's queue is not empty and its writer entry
 *       not set. */
#include "net/held.h"

#include "base/cycles.h"

#define HELD_MAX ((size_t)16 * 1024)
#define HELD_CHUNKS 1000 /* fewer than one sendmsg() takes */

/* In al_cycles_budget(): 60 us on a processor of 5 GHz, 187 us at 1.6 GHz. */
#define HELD_BUDGETS 3

/* How many steps with several writes are on trial before the first one is
 * held. After a held step that took long there are more trials: twice as many
 * each time, and one less for each held step that was short. */
#define HELD_TRIALS 32
#define HELD_MOST_TRIALS 16384

#ifdef AL_DEBUG

static void
held_check(const al_loop_head *loop)
{
    TransportObject *transport = TransportObject_CAST(loop->held.object);
    bool is_held = transport != NULL;

    AL_HOLDS(1, !is_held || loop->is_in_turn);
    AL_HOLDS(1, !is_held || loop->held_is_trial ||
                    al_transport_queued(transport) > 0);
}

#endif

void
al_held_init(al_habit *habit)
{
    habit->trials = HELD_TRIALS;
}

void
al_held_init_loop(al_loop_head *loop)
{
    loop->held_most = HELD_BUDGETS * al_cycles_budget();
}

void
al_held_note(const TransportObject *self, al_habit *habit)
{
    uint32_t step = self->loop->steps;

    habit->in_parts = habit->step == step;
    habit->step = step;
}

/* Whether more writes are likely to follow in this step. */
static inline bool
held_expects_more(const TransportObject *self, al_habit *habit)
{
    bool was_in_parts = habit->in_parts;

    al_held_note(self, habit);
    /* If this is the step's second write, its first one is already sent. */
    return was_in_parts && !habit->in_parts;
}

/* Make the loop call `run` as soon as held bytes have to be sent. */
static void
held_begin(TransportObject *self, al_habit *habit, al_run_fn run,
           bool is_trial)
{
    al_loop_head *loop = self->loop;

    assert(loop->held.object == NULL);
    loop->held = (al_entry){run, Py_NewRef((PyObject *)self)};
    loop->held_habit = habit;
    loop->held_is_trial = is_trial;
    loop->held_since = al_cycles();
    AL_CHECK(held_check, loop);
}

/* al_run_fn of a trial: now held bytes would be sent. */
static int
held_run_trial(al_loop_head *loop, PyObject *Py_UNUSED(op))
{
    Py_DECREF(al_held_end(loop));
    return 0;
}

bool
al_held_decide(TransportObject *self, al_habit *habit, size_t size,
               bool is_watched)
{
    const al_loop_head *loop = self->loop;

    if (!held_expects_more(self, habit) || !loop->holds_writes ||
        !loop->is_in_turn || loop->thread_id != PyThread_get_thread_ident() ||
        self->desc.phase != AL_DESCRIPTOR_PRIVATE || is_watched ||
        size > HELD_MAX || size > self->flow.high)
    {
        return false;
    }
    if (habit->trials > 0) {
        held_begin(self, habit, held_run_trial, true);
        return false;
    }
    return true;
}

/* Whether the bytes have been held for too long. */
static bool
held_is_overdue(const al_loop_head *loop)
{
    return al_cycles() - loop->held_since > loop->held_most;
}

bool
al_held_is_full(const TransportObject *self, const al_chunks *queue)
{
    return queue->size > HELD_MAX || queue->size > self->flow.high ||
           queue->count >= HELD_CHUNKS || held_is_overdue(self->loop);
}

void
al_held_begin(TransportObject *self, al_habit *habit, al_run_fn send)
{
    held_begin(self, habit, send, false);
}

/* A held step or a trial is over: count the trials that have to follow. */
static inline void
held_learn(al_habit *habit, bool was_overdue)
{
    if (AL_UNLIKELY(was_overdue)) {
        habit->trials = Py_MAX(habit->more_trials, HELD_TRIALS);
        habit->more_trials = Py_MIN(habit->trials * 2, HELD_MOST_TRIALS);
    }
    else if (habit->trials > 0) {
        habit->trials--;
    }
    else if (habit->more_trials > 0) {
        habit->more_trials--;
    }
}

PyObject *
al_held_end(al_loop_head *loop)
{
    PyObject *op = loop->held.object;

    AL_CHECK(held_check, loop);
    loop->held.object = NULL; /* the reference is the caller's now */
    loop->held_is_trial = false;
    held_learn(loop->held_habit, held_is_overdue(loop));
    return op;
}
