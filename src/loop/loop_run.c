/* loop_run.c - one turn of the loop, and running turn after turn.
 *
 *     1  poll: may it be skipped? must it block?    io/: fds, wake-ups
 *              ready descriptors enter the ready queue
 *     2 timers that are due enter the ready queue 3 run the entries that are
 *     queued now, but none that they add; after each
 *        step, send the bytes that it left held (net/held.h)
 *
 * No user code runs inside a poll: it only fills the queue.  The GIL is
 * released around a poll that blocks.  Before a non-blocking poll, call an
 * empty Python function every few milliseconds, so that signals and GIL
 * requests are handled: a loop whose callbacks are all in C would never handle
 * them.
 *
 * A poll costs more than a short turn.  So while the loop is busy and polls
 * find nothing, some are skipped: a few turns, a few microseconds, so that I/O
 * never starves.  After a poll that found something, the next polls are not
 * skipped.  Neither are they after this loop has sent, closed or begun to
 * watch something: the peer may be in this process.  One exception: the turn
 * right after a poll that found something has no poll, unless handling that
 * took long.  In that turn the tasks run that the poll woke.  So they answer
 * together, and their peers are woken together.
 *
 * A flood of datagrams is ready in every poll, and the kernel lists it before
 * descriptors that became ready just now.  So its entries go last among those
 * of a poll.
 *
 * If a turn takes milliseconds, a descriptor that becomes ready would wait for
 * the rest of the turn, and then for all entries that the turn has queued.  So
 * after a long turn the next one polls between its entries, too.  What such a
 * poll finds is queued behind the entries that are there by then.
 *
 * Invariant
 *   (1) head.is_blocked <=> the loop is in a poll without the GIL, and no
 *       thread has woken it yet (io/wakeup.h). It is set and cleared with the
 *       GIL held, so a thread that pushes an entry reads the right value. */
#include "loop/loop.h"

#include "base/call.h"
#include "base/cycles.h"
#include "io/fdwatch.h"
#include "io/reactor.h"
#include "net/dgram_transport.h"
#include "net/held.h"
#include "sched/context.h"
#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/timers.h"
#include "sched/turn.h"

/* How many polls in a row must find nothing before one is skipped; the most
 * polls that are skipped in a row. */
#define LOOP_IDLE_POLLS 16
#define LOOP_MOST_SKIPPED 15

/* The turn after a poll that found something polls, too, if more than this
 * many al_cycles_budget() have passed since that poll. */
#define LOOP_ANSWER_BUDGETS 8

/* The most polls in a row that keep the GIL because they need not wait: other
 * threads want the GIL, too. */
#define LOOP_MOST_AT_ONCE 32

/* A turn is long if it takes more than LOOP_LONG_BUDGETS al_cycles_budget(),
 * some milliseconds. The next turn then polls once in LOOP_LOOK_BUDGETS. */
#define LOOP_LONG_BUDGETS 64
#define LOOP_LOOK_BUDGETS 16

/* If thousands of descriptors are ready, it polls less often: these polls take
 * at most this part of the time. */
#define LOOP_LOOK_PART 16

/* After a poll that found more than one entry, flooded sockets have a smaller
 * budget for this many polls (io/budget.h). */
#define LOOP_MIXED_POLLS 64

/* A loop that never waits yields once in this many al_cycles_budget(): some
 * milliseconds, like the interpreter's switch interval. */
#define LOOP_YIELD_BUDGETS 128

int
al_loop_check_open(LoopObject *self)
{
    if (self->head.reactor != NULL) {
        return 0;
    }
    return al_loop_check_closed(&self->head) < 0
               ? -1
               : al_loop_check_init(&self->head);
}

#ifdef AL_DEBUG

/* In a turn, but outside of its polls. */
static void
loop_check(const LoopObject *self)
{
    /* Another thread may run it, and may be in a poll now. */
    if (self->head.thread_id == 0 ||
        self->head.thread_id == PyThread_get_thread_ident())
    {
        AL_HOLDS(1, !self->head.is_blocked);
    }
}

#endif

/* --- the poll ------------------------------------------------------------ */

/* Queue the entries that other threads have left: 0, or -1 with MemoryError
 * set. */
static inline int
loop_collect(al_loop_head *head)
{
#if AL_FREE_THREADED
    return AL_UNLIKELY(al_inbox_has_entries(head)) ? al_inbox_collect(head)
                                                   : 0;
#else
    (void)head; /* they have queued them */
    return 0;
#endif
}

/* Queue the entries of ready descriptors, without waiting: 0, or -1 with
 * OSError set. */
static inline int
loop_look_now(al_loop_head *head)
{
    al_fdwatch_flush(head);
    return al_reactor_look(head);
}

int
al_loop_look_now(LoopObject *self)
{
    return loop_look_now(&self->head);
}

int
al_loop_collect(LoopObject *self)
{
    return loop_collect(&self->head);
}

static inline bool
loop_may_skip_poll(LoopObject *self)
{
    if (self->head.events != self->events_polled) {
        return false;
    }
    uint64_t elapsed = al_cycles() - self->last_poll;
    if (self->has_found) {
        self->has_found = false;
        return elapsed <= LOOP_ANSWER_BUDGETS * al_cycles_budget();
    }
    if (self->turns_skipped >= self->turns_to_skip ||
        elapsed > al_cycles_budget())
    {
        return false;
    }
    self->turns_skipped++;
    return true;
}

/* A poll is over, which began at `begin`: decide how many turns may go without
 * one. */
static inline void
loop_plan_polls(LoopObject *self, bool waited, uint64_t begin)
{
    bool anything = waited || self->head.events != self->events_polled;

    self->events_polled = self->head.events;
    self->turns_skipped = 0;
    self->last_poll = al_cycles();
    al_metrics_end_look(&self->head.metrics, begin, self->last_poll);
    if (anything) {
        self->idle_polls = 0;
        self->turns_to_skip = 0;
    }
    else if (self->idle_polls < LOOP_IDLE_POLLS) {
        self->idle_polls++;
    }
    else {
        self->turns_to_skip =
            Py_MIN(2 * self->turns_to_skip + 1, LOOP_MOST_SKIPPED);
    }
}

/* If the last wait ended at once, look first: a look costs less than half of a
 * wait. 1 if it has found something; 0: wait; -1 with OSError set. */
static int
loop_poll_at_once(LoopObject *self)
{
    uint32_t events = self->head.events;

    if (self->polls_at_once == 0) {
        return 0;
    }
    self->polls_at_once--;
    return loop_look_now(&self->head) < 0 ? -1 : self->head.events != events;
}

/* Set `until` to the time on the monotonic clock until which a poll may wait;
 * HUGE_VAL: for ever; 0: it must not wait. 0, or -1 with an exception set. */
static int
loop_find_wait(LoopObject *self, double *until)
{
    al_loop_head *head = &self->head;

    *until = 0;
    if (head->ready.count > 0 || head->is_stopping) {
        return 0;
    }
    if (al_timers_wait(head, until) < 0) {
        return -1;
    }
    if (head->ready.count > 0 || head->is_stopping) {
        *until = 0; /* an overridden time() may have queued or stopped */
    }
    return al_loop_check_open(self); /* or closed the loop, in _run_once() */
}

/* Before other threads run: leave the current task, and drop contexts that
 * nobody uses. 0, or -1 with an exception set. */
static int
loop_leave(LoopObject *self)
{
    if (al_loop_leave_task(&self->head) < 0) {
        return -1;
    }
    Py_CLEAR(self->head.yielded);
    al_context_drop_unused(&self->head);
    return 0;
}

int
al_loop_wait(LoopObject *self, double until)
{
    al_loop_head *head = &self->head;

    al_queue_cut(&head->ready, head->ready.count);
    al_fdwatch_flush(head);
    uint64_t begin = al_cycles();
    int rc = al_reactor_wait(head, until); /* (1) */
    self->last_yield = al_cycles();
    self->polls_at_once = self->last_yield - begin < al_cycles_budget() / 8
                              ? LOOP_MOST_AT_ONCE
                              : 0;
    /* The entries that have ended the wait run in this turn. */
    return rc < 0 || loop_collect(head) < 0 ? -1 : PyErr_CheckSignals();
}

/* Poll and wait, unless there is something to do by now: 0, or -1. */
static int
loop_poll_blocking(LoopObject *self)
{
    double until;

    /* Another thread may call current_task(loop): it has to be None. */
    if (loop_leave(self) < 0 || PyErr_CheckSignals() < 0) {
        return -1;
    }
    /* Signal handlers, or finalisers of what loop_leave() has dropped, may
     * have called call_later() or stop(). So find out now how long to wait:
     * from here to the poll no such code runs. */
    if (loop_find_wait(self, &until) < 0) {
        return -1;
    }
    return until <= 0 ? 0 : al_loop_wait(self, until);
}

/* Let signal handlers and other threads run: call an empty Python function, at
 * whose beginning the interpreter handles signals and GIL requests. (Releasing
 * and taking the GIL here would starve waiters: a waiter asks for the GIL only
 * after a full switch interval without a hand-over, and each release restarts
 * its wait.)
 * 0, or -1 with an exception set. */
static int
loop_yield(LoopObject *self)
{
    self->last_yield = al_cycles();
    if (loop_leave(self) < 0) {
        return -1;
    }
    PyObject *none = PyObject_CallNoArgs(self->head.state->imports.checkpoint);
    Py_XDECREF(none);
    return none == NULL ? -1 : al_loop_check_open(self);
}

/* Decide whether this turn polls within: it does if the last one was long. */
static inline void
loop_plan_looks(LoopObject *self, uint64_t now)
{
    al_loop_head *head = &self->head;
    bool was_long = AL_UNLIKELY(now - self->last_poll >
                                LOOP_LONG_BUDGETS * al_cycles_budget()) &&
                    head->reactor->set->kind->is_in_order;

    head->looks_within = was_long || self->looks_within;
    self->looks_within = was_long;
}

/* Between two entries of a turn, if it is time: queue ready descriptors and
 * due timers behind the entries that are there. 0, or -1 with an exception
 * set. */
static int
loop_look(al_loop_head *head)
{
    LoopObject *self = (LoopObject *)head;
    uint64_t begin = al_cycles();

    if (begin - self->last_look <= self->look_after || head->is_stopping ||
        head->is_closed)
    {
        return 0;
    }
    al_metrics_note_look(&head->metrics, begin);
    if (loop_look_now(head) < 0) {
        return -1;
    }
    self->last_look = al_cycles();
    al_metrics_end_look(&head->metrics, begin, self->last_look);
    self->look_after = Py_MAX(LOOP_LOOK_BUDGETS * al_cycles_budget(),
                              LOOP_LOOK_PART * (self->last_look - begin));
    return head->timers.count > 0 ? al_timers_collect(head, al_handle_run) : 0;
}

/* 0, or -1 with an exception set. */
static int
loop_poll(LoopObject *self)
{
    al_loop_head *head = &self->head;
    uint32_t events = head->events;
    uint64_t now = al_cycles();
    double until;
    int rc = 0;

    /* A loop that runs cannot be closed; but _run_until_stopped() may have been
     * called without _begin_run(). */
    if (al_loop_check_open(self) < 0) {
        return -1;
    }
    loop_plan_looks(self, now);
    al_metrics_note_look(&head->metrics, now);
    if (now - self->last_yield > LOOP_YIELD_BUDGETS * al_cycles_budget()) {
        if (loop_yield(self) < 0) {
            return -1;
        }
        now = al_cycles(); /* other threads have run */
    }
    if (al_loop_look_at_poll(self, now) < 0 ||
        loop_find_wait(self, &until) < 0)
    {
        return -1;
    }
    size_t before = head->ready.count;

    if (until <= 0) {
        rc = loop_look_now(head);
    }
    else {
        rc = loop_poll_at_once(self);
        rc = rc == 0 ? loop_poll_blocking(self) : Py_MIN(rc, 0);
    }
    self->has_found = head->events != events;
    if (head->ready.count > before + 1) {
        head->mixed_polls = LOOP_MIXED_POLLS;
        if (!head->looks_within) { /* else the watches know their numbers */
            al_queue_put_last(&head->ready, before, al_dgram_read_is_flood);
        }
    }
    else if (head->mixed_polls > 0) {
        head->mixed_polls--;
    }
    loop_plan_polls(self, until > 0, now);
    return rc;
}

/* --- turns --------------------------------------------------------------- */

/* Run one turn of asyncio's own, or of what the program has put in its place.
 * 0, or -1 with an exception set. */
static int
loop_turn_patched(LoopObject *self, PyObject *object)
{
    PyObject *stack[] = {object, (PyObject *)self};
    bool is_method = object == (PyObject *)self;

    /* Its steps are callables, which enter and leave their tasks themselves. */
    if (al_loop_leave_task(&self->head) < 0) {
        return -1;
    }
    if (self->ready != NULL && al_loop_hand_on(self, true) < 0) {
        return -1;
    }
    PyObject *result = PyObject_VectorcallMethod(
        self->head.state->names._run_once, stack, is_method ? 1 : 2, NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* The next turn of a run begins, and the class of the loop has changed, or
 * something else has: look. 1: run loop_turn(); 0: a patched turn was run; -1
 * with an exception set. */
static int
loop_turn_after_look(LoopObject *self)
{
    if (al_loop_look(self) < 0) {
        return -1;
    }
    if (self->patches & AL_PATCHES_RUN_ONCE) {
        return loop_turn_patched(self, (PyObject *)self);
    }
    return self->head.is_patched
               ? loop_turn_patched(self,
                                   self->head.state->imports.BaseEventLoop)
               : 1;
}

/* Run one turn: 0, or -1 with an exception set, of a step or of the loop
 * itself, that ends the run. */
static inline int
loop_turn(LoopObject *self)
{
    al_loop_head *head = &self->head;

    AL_CHECK(loop_check, self);
    if (loop_collect(head) < 0) {
        return -1;
    }
    if ((head->ready.count == 0 || !loop_may_skip_poll(self)) &&
        loop_poll(self) < 0)
    {
        return -1;
    }
    if (head->timers.count > 0 && al_timers_collect(head, al_handle_run) < 0) {
        return -1;
    }
    if (AL_UNLIKELY(self->looks_within)) {
        self->last_look = self->last_poll;
        self->look_after = LOOP_LOOK_BUDGETS * al_cycles_budget();
        return al_turn_run_long(head, loop_look);
    }
    return al_turn_run(head);
}

/* A step of a task may have called us. Such a task takes care of current_task
 * itself, so only put it aside. */
int
al_loop_begin_run(LoopObject *self, al_loop_run *run)
{
    if (al_loop_check_open(self) < 0 ||
        al_ready_send_held_here(self->head.state) < 0 ||
        al_ready_begin_run(&self->head, &run->run) < 0)
    {
        return -1;
    }
    run->task = self->head.current_task;
    self->head.current_task = NULL; /* moved */
    run->is_outermost = al_metrics_begin_run(&self->head.metrics);
    self->turns_to_skip = 0;
    self->has_found = false;
    self->last_poll = al_cycles(); /* the time before was not a turn's */
    return 0;
}

int
al_loop_end_run(LoopObject *self, int rc, al_loop_run *run)
{
    PyObject *raised = PyErr_GetRaisedException();

    if (al_loop_leave_task(&self->head) < 0) {
        if (raised == NULL) {
            raised = PyErr_GetRaisedException();
            rc = -1;
        }
        PyErr_Clear();
    }
    al_context_drop_unused(&self->head);
    al_queue_cut(&self->head.ready, self->head.ready.count);
    Py_CLEAR(self->head.yielded);
    Py_XSETREF(self->head.current_task, run->task);
    if (run->is_outermost) {
        al_metrics_end_run(&self->head.metrics);
    }
    al_ready_end_run(&run->run);
    PyErr_SetRaisedException(raised);
    return rc;
}

PyDoc_STRVAR(Loop__begin_run_doc,
             "_begin_run($self, /)\n--\n\n"
             "Set _thread_id to this thread, if the loop does not run.\n\n"
             "Raises RuntimeError if it does: of two threads that begin, one "
             "runs it.");

static PyObject *
Loop__begin_run(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = LoopObject_CAST(op);

    if (self->head.thread_id != 0 || al_loop_runs_elsewhere(&self->head)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "This event loop is already running");
        return NULL;
    }
    AL_STORE(self->head.thread_id, PyThread_get_thread_ident());
    al_loop_update_direct(&self->head);
    if (al_loop_look_for_run(self) < 0) {
        AL_STORE(self->head.thread_id, 0); /* it does not run */
        al_loop_update_direct(&self->head);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Loop__run_until_stopped(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = LoopObject_CAST(op);
    al_loop_run run;
    int rc = 0;

    if (al_loop_begin_run(self, &run) < 0) {
        return NULL;
    }
    self->idle_polls = 0;
    do {
        rc = al_loop_must_look(self) ? loop_turn_after_look(self) : 1;
        if (AL_LIKELY(rc > 0)) {
            rc = loop_turn(self);
        }
    } while (rc == 0 && !AL_LOAD(self->head.is_stopping));
    if (al_loop_end_run(self, rc, &run) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__run_once_doc,
             "_run_once($self, /)\n--\n\n"
             "Run one turn: poll, queue what is due, run what was queued.");

static PyObject *
Loop__run_once(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = LoopObject_CAST(op);
    al_loop_run run;

    if (al_loop_begin_run(self, &run) < 0) {
        return NULL;
    }
    int rc = al_loop_must_look(self) ? al_loop_look(self) : 0;
    if (rc == 0) {
        rc = self->head.is_patched
                 ? loop_turn_patched(self,
                                     self->head.state->imports.BaseEventLoop)
                 : loop_turn(self);
    }
    if (al_loop_end_run(self, rc, &run) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop_stop_doc, "stop($self, /)\n--\n\n"
                            "Stop running the event loop.\n\n"
                            "What is queued already still runs in this turn.");

static PyObject *
Loop_stop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    AL_STORE(LoopObject_CAST(op)->head.is_stopping, true);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop_is_running_doc, "is_running($self, /)\n--\n\n"
                                  "Return True if the event loop is running.");

static PyObject *
Loop_is_running(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(AL_LOAD(LoopObject_CAST(op)->head.thread_id) != 0);
}

PyDoc_STRVAR(Loop_is_closed_doc, "is_closed($self, /)\n--\n\n"
                                 "Return True if the event loop was closed.");

static PyObject *
Loop_is_closed(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(AL_LOAD(LoopObject_CAST(op)->head.is_closed));
}

/* 0, or -1 with RuntimeError set. */
static int
loop_check_not_running(LoopObject *self)
{
    if (self->head.thread_id != 0 || al_loop_runs_elsewhere(&self->head)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot close a running event loop");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(Loop__check_not_running_doc,
             "_check_not_running($self, /)\n--\n\n"
             "Raise RuntimeError if the loop runs, also in _run_once() of "
             "another thread.");

static PyObject *
Loop__check_not_running(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_call_none(loop_check_not_running(LoopObject_CAST(op)));
}

PyDoc_STRVAR(Loop__release_doc,
             "_release($self, /)\n--\n\n"
             "Drop what is queued, timed and watched, and the reactor.\n\n"
             "The last act of close(). Raises RuntimeError while running.");

static PyObject *
Loop__release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = LoopObject_CAST(op);

    if (loop_check_not_running(self) < 0) {
        return NULL;
    }
    al_loop_release(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__before_fork_doc,
             "_before_fork($self, /)\n--\n\n"
             "Send held bytes now: a child process would send them, too.");

static PyObject *
Loop__before_fork(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *head = &LoopObject_CAST(op)->head;

    if (head->held.object == NULL) {
        Py_RETURN_NONE;
    }
    /* If another thread forks, call_soon() raises in debug mode, and a
     * connection that fails now would never be lost: so bypass it. */
    head->is_direct = true;
    int rc = al_loop_send_held(head);
    al_loop_update_direct(head);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__send_held_doc,
             "_send_held($self, /)\n--\n\n"
             "Send the bytes that the loops of this thread hold, before an "
             "action that the\noutside sees.");

static PyObject *
Loop__send_held(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (al_ready_send_held_here(al_loop_head_CAST(op)->state) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__after_fork_doc,
             "_after_fork($self, /)\n--\n\n"
             "In a child process: drop the parent's epoll set and pipe; the "
             "next poll makes\nnew ones.");

static PyObject *
Loop__after_fork(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *head = al_loop_head_CAST(op);

#if AL_FREE_THREADED
    al_inbox_forked(head);
#endif
    if (head->thread_id != PyThread_get_thread_ident()) {
        al_metrics_stop(&head->metrics);
    }
    if (head->reactor != NULL) {
        al_reactor_forked(head);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__acquire_signal_fd_doc,
             "_acquire_signal_fd($self, /)\n--\n\n"
             "Return the descriptor for signal.set_wakeup_fd(); the numbers "
             "go to _handle_signals().\n\n"
             "It stays open until _release_signal_fd(). Raises OSError.");

static PyObject *
Loop__acquire_signal_fd(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = LoopObject_CAST(op);

    if (al_loop_check_open(self) < 0) {
        return NULL;
    }
    al_wakeup *wakeup = &self->head.reactor->wakeup;
    /* In a child process a poll makes the pipe. */
    if (wakeup->sender < 0 && loop_look_now(&self->head) < 0) {
        return NULL;
    }
    wakeup->has_signals = true;
    return PyLong_FromLong(wakeup->sender);
}

PyDoc_STRVAR(Loop__release_signal_fd_doc,
             "_release_signal_fd($self, /)\n--\n\n"
             "Say that CPython does not write to that descriptor any more.");

static PyObject *
Loop__release_signal_fd(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *head = al_loop_head_CAST(op);

    if (head->reactor != NULL) {
        head->reactor->wakeup.has_signals = false;
    }
    Py_RETURN_NONE;
}

/* --- the end ------------------------------------------------------------- */

void
al_loop_release(LoopObject *self)
{
    al_loop_head *head = &self->head;

    AL_STORE(head->is_closed, true);
    if (head->metrics.pulse != NULL) { /* else it was not made */
        __atomic_store_n(&head->metrics.pulse->is_over, true,
                         __ATOMIC_RELAXED);
    }
    al_loop_update_direct(head);
    /* Each of these calls may run finalisers, which find a closed loop. A loop
     * that is closed already may still have got a handle: making the handle
     * may have run the finaliser that closed the loop. */
    if (head->held.object != NULL) {
        Py_DECREF(al_held_end(head)); /* a step has closed the loop */
    }
    al_ready_clear(head, &head->ready);
    al_timers_clear(head);
    al_loop_drop_queues(self);
    if (head->kept_tasks != NULL) { /* emptied, not dropped: other threads may
                                     * be in create_task() */
        (void)PySet_Clear(head->kept_tasks);
    }
    al_fdwatch_close_all(head);
    al_ready_clear(head, &head->ready); /* finalisers may have pushed */
#if AL_FREE_THREADED
    al_inbox_clear(head);
#endif
    Py_CLEAR(head->current_task);
    Py_CLEAR(head->yielded);
    Py_CLEAR(head->snapshot);
    Py_CLEAR(head->scratch);
    if (head->reactor != NULL) { /* none of them released us */
        al_reactor_close(head);
    }
}

AL_LOCKS(Loop__begin_run, al_loop_lock)
AL_LOCKS(Loop__run_until_stopped, al_loop_lock)
AL_LOCKS(Loop__run_once, al_loop_lock)
AL_LOCKS(Loop__check_not_running, al_loop_lock)
AL_LOCKS(Loop__release, al_loop_lock)
AL_LOCKS(Loop__before_fork, al_loop_lock)
AL_LOCKS(Loop__send_held, al_loop_lock)
AL_LOCKS(Loop__acquire_signal_fd, al_loop_lock)
AL_LOCKS(Loop__release_signal_fd, al_loop_lock)

PyMethodDef al_loop_run_methods[] = {
    {"_begin_run", AL_LOCKED(Loop__begin_run), METH_NOARGS,
     Loop__begin_run_doc},
    {"_run_until_stopped", AL_LOCKED(Loop__run_until_stopped), METH_NOARGS,
     NULL},
    {"_run_once", AL_LOCKED(Loop__run_once), METH_NOARGS, Loop__run_once_doc},
    {"stop", Loop_stop, METH_NOARGS, Loop_stop_doc},
    {"is_running", Loop_is_running, METH_NOARGS, Loop_is_running_doc},
    {"is_closed", Loop_is_closed, METH_NOARGS, Loop_is_closed_doc},
    {"_check_not_running", AL_LOCKED(Loop__check_not_running), METH_NOARGS,
     Loop__check_not_running_doc},
    {"_release", AL_LOCKED(Loop__release), METH_NOARGS, Loop__release_doc},
    {"_before_fork", AL_LOCKED(Loop__before_fork), METH_NOARGS,
     Loop__before_fork_doc},
    {"_send_held", AL_LOCKED(Loop__send_held), METH_NOARGS,
     Loop__send_held_doc},
    {"_after_fork", Loop__after_fork, METH_NOARGS, Loop__after_fork_doc},
    {"_acquire_signal_fd", AL_LOCKED(Loop__acquire_signal_fd), METH_NOARGS,
     Loop__acquire_signal_fd_doc},
    {"_release_signal_fd", AL_LOCKED(Loop__release_signal_fd), METH_NOARGS,
     Loop__release_signal_fd_doc},
    {NULL, NULL, 0, NULL}};
