/* watchdog.c - notices that a loop is blocked, while it is.
 *
 *     the loop ---> al_pulse: since when has it not looked for events?
 *                      ^
 *                      | without the GIL, as often as a stall may begin
 *     a thread of asyncloop/_stall.py, in wait_begin() and wait_end()
 *
 * The loop does nothing for it: it notes the time of each poll anyway, for its
 * metrics.  The thread sleeps until the earliest moment at which a stall can be
 * as long as is asked for.  Noticing it needs no GIL; the thread takes the GIL
 * when it returns to Python code, to report.
 *
 * Invariant
 *   (1) The alarm is locked from the beginning on, and unlocked once, by the
 *       first stop(). So a thread that sleeps by trying to lock it wakes up. */
#include "io/watchdog.h"

#include "base/call.h"
#include "base/cycles.h"
#include "sched/metrics_sum.h"

/* How long the thread sleeps at least and at most. */
#define WATCHDOG_SHORTEST 0.001
#define WATCHDOG_LONGEST 3600.0

/* During a stall, how often it looks for the end, in seconds. */
#define WATCHDOG_END 0.002

typedef struct {
    PyObject_HEAD
    al_pulse *pulse;          /* owned */
    PyThread_type_lock alarm; /* owned; by (1) */
    uint64_t threshold;       /* in al_cycles() */
    double cycle_length;      /* in seconds */
    uint64_t stall; /* pulse->since of the last stall that was noticed */
    int is_stopped;
} WatchdogObject;

#define WatchdogObject_CAST(op) ((WatchdogObject *)(op))

/* --- without the GIL -------------------------------------------------------- */

/* Since when the loop has not looked; `now`, if it waits or does not run. */
static uint64_t
watchdog_since(const WatchdogObject *self, uint64_t now)
{
    const al_pulse *pulse = self->pulse;

    if (al_stopwatch_runs(al_stopwatch_load(&pulse->idle)) ||
        !al_stopwatch_runs(al_stopwatch_load(&pulse->run)))
    {
        return now;
    }
    uint64_t since = __atomic_load_n(&pulse->since, __ATOMIC_RELAXED);
    return since < now ? since : now;
}

static bool
watchdog_is_over(const WatchdogObject *self)
{
    return __atomic_load_n(&self->is_stopped, __ATOMIC_RELAXED) ||
           __atomic_load_n(&self->pulse->is_over, __ATOMIC_RELAXED);
}

static void
watchdog_sleep(WatchdogObject *self, double seconds)
{
    seconds = Py_MAX(seconds, WATCHDOG_SHORTEST);
    seconds = Py_MIN(seconds, WATCHDOG_LONGEST);
    (void)PyThread_acquire_lock_timed(self->alarm,
                                      (PY_TIMEOUT_T)(seconds * 1e6), 0);
}

/* Sleep until a stall is as long as the threshold. How long it is, in
 * al_cycles(); 0: the watch is over. */
static uint64_t
watchdog_find(WatchdogObject *self)
{
    while (!watchdog_is_over(self)) {
        uint64_t now = al_cycles();
        uint64_t since = watchdog_since(self, now);
        if (now - since >= self->threshold) {
            self->stall = since;
            return now - since;
        }
        watchdog_sleep(self, (double)(self->threshold - (now - since)) *
                                 self->cycle_length);
    }
    return 0;
}

/* Whether the stall goes on that was found last. */
static bool
watchdog_is_on(const WatchdogObject *self, uint64_t now)
{
    return watchdog_since(self, now) == self->stall;
}

/* Sleep until that stall is over, and return how long it was; 0: the watch is
 * over. */
static uint64_t
watchdog_find_end(WatchdogObject *self)
{
    uint64_t now = al_cycles();

    while (watchdog_is_on(self, now)) {
        if (watchdog_is_over(self)) {
            return 0;
        }
        watchdog_sleep(self, WATCHDOG_END);
        now = al_cycles();
    }
    /* The loop has looked then, or a little later once more. */
    uint64_t end = __atomic_load_n(&self->pulse->since, __ATOMIC_RELAXED);
    return Py_MIN(end, now) - self->stall;
}

/* --- Python: methods -------------------------------------------------------- */

static PyObject *
watchdog_wait(WatchdogObject *self, uint64_t (*find)(WatchdogObject *self))
{
    uint64_t cycles;

    Py_BEGIN_ALLOW_THREADS cycles = find(self);
    Py_END_ALLOW_THREADS if (cycles == 0)
    {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)cycles * self->cycle_length);
}

PyDoc_STRVAR(Watchdog_wait_begin_doc,
             "wait_begin($self, /)\n--\n\n"
             "Wait until the loop is blocked. Returns for how many seconds it "
             "is by then,\nNone if the loop is closed or stop() was called.");

static PyObject *
Watchdog_wait_begin(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return watchdog_wait(WatchdogObject_CAST(op), watchdog_find);
}

PyDoc_STRVAR(Watchdog_wait_end_doc,
             "wait_end($self, /)\n--\n\n"
             "Wait until it is no more. Returns for how many seconds it was, "
             "or None as\nwait_begin() does.");

static PyObject *
Watchdog_wait_end(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return watchdog_wait(WatchdogObject_CAST(op), watchdog_find_end);
}

PyDoc_STRVAR(Watchdog_is_on_doc,
             "is_on($self, /)\n--\n\n"
             "Return whether the stall goes on that wait_begin() has found.");

static PyObject *
Watchdog_is_on(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(
        watchdog_is_on(WatchdogObject_CAST(op), al_cycles()));
}

PyDoc_STRVAR(Watchdog_stop_doc,
             "stop($self, /)\n--\n\n"
             "End the watch: the thread that waits returns soon. May be "
             "called again.");

static PyObject *
Watchdog_stop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    WatchdogObject *self = WatchdogObject_CAST(op);

    if (!__atomic_exchange_n(&self->is_stopped, 1, __ATOMIC_RELAXED)) {
        PyThread_release_lock(self->alarm); /* by (1) */
    }
    Py_RETURN_NONE;
}

/* --- lifetime, type ---------------------------------------------------------- */

PyObject *
al_watchdog_new(al_loop_head *loop, double seconds)
{
    PyTypeObject *type = loop->state->WatchdogType;
    WatchdogObject *self = WatchdogObject_CAST(type->tp_alloc(type, 0));

    if (self == NULL) {
        return NULL;
    }
    self->pulse = al_pulse_own(loop->metrics.pulse);
    self->cycle_length = al_metrics_cycle_length(loop->state);
    self->threshold = al_metrics_cycles(loop->state, seconds);
    self->threshold += self->threshold == 0;
    self->alarm = PyThread_allocate_lock();
    if (self->alarm == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    (void)PyThread_acquire_lock(self->alarm, NOWAIT_LOCK);
    return (PyObject *)self;
}

static void
Watchdog_dealloc(PyObject *op)
{
    WatchdogObject *self = WatchdogObject_CAST(op);
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    if (self->alarm != NULL) {
        Py_XDECREF(Watchdog_stop(op, NULL)); /* a lock is freed unlocked */
        PyThread_free_lock(self->alarm);
    }
    al_pulse_disown(self->pulse);
    type->tp_free(op);
    Py_DECREF(type);
}

static int
Watchdog_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static PyMethodDef Watchdog_methods[] = {
    {"wait_begin", Watchdog_wait_begin, METH_NOARGS, Watchdog_wait_begin_doc},
    {"wait_end", Watchdog_wait_end, METH_NOARGS, Watchdog_wait_end_doc},
    {"is_on", Watchdog_is_on, METH_NOARGS, Watchdog_is_on_doc},
    {"stop", Watchdog_stop, METH_NOARGS, Watchdog_stop_doc},
    {NULL, NULL, 0, NULL}};

static PyType_Slot Watchdog_slots[] = {{Py_tp_methods, Watchdog_methods},
                                       {Py_tp_traverse, Watchdog_traverse},
                                       {Py_tp_dealloc, Watchdog_dealloc},
                                       {0, NULL}};

static PyType_Spec Watchdog_spec = {
    .name = "asyncloop._core.Watchdog",
    .basicsize = sizeof(WatchdogObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
              Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = Watchdog_slots,
};

int
al_watchdog_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->WatchdogType = al_state_add_type(module, &Watchdog_spec, NULL);
    return state->WatchdogType == NULL ? -1 : 0;
}
