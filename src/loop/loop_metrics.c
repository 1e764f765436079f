/* loop_metrics.c - shows what loops have counted and measured.
 *
 *     al_metrics_sum ---> (numbers ..., delays) ---> asyncloop/_metrics.py */
#include "loop/loop.h"

#include "base/call.h"
#include "io/watchdog.h"
#include "loop/loop_metrics.h"
#include "sched/metrics_sum.h"
#include "sched/profile.h"

/* A tuple item for each number of al_metrics_sum up to the delays, in that
 * order: times in seconds, the others as they are. -> new reference, or NULL. */
static PyObject *
metrics_item(const al_metrics_sum *sum, size_t i, double length)
{
    uint64_t number = ((const uint64_t *)sum)[i];
    size_t offset = i * sizeof(uint64_t);
    bool is_time = offset == offsetof(al_metrics_sum, run) ||
                   offset == offsetof(al_metrics_sum, idle) ||
                   offset == offsetof(al_metrics_sum, poll);

    return is_time ? PyFloat_FromDouble((double)number * length)
                   : PyLong_FromUnsignedLongLong(number);
}

/* -> new tuple: the numbers; then the longest delay in seconds, the seconds of
 * each bucket as a bytes object of doubles, and the length of a cycle. */
static PyObject *
metrics_show(const al_metrics_sum *sum, al_state *state)
{
    const size_t numbers = offsetof(al_metrics_sum, delays) / sizeof(uint64_t);
    double length = al_metrics_cycle_length(state);
    PyObject *result = PyTuple_New((Py_ssize_t)numbers + 3);
    PyObject *seconds = PyBytes_FromStringAndSize(
        NULL, (Py_ssize_t)(AL_DELAYS_BUCKETS * sizeof(double)));

    if (result == NULL || seconds == NULL) {
        Py_XDECREF(result);
        Py_XDECREF(seconds);
        return NULL;
    }
    for (size_t i = 0; i < AL_DELAYS_BUCKETS; i++) {
        double bucket = (double)sum->delays.buckets[i] * length;
        memcpy(PyBytes_AS_STRING(seconds) + i * sizeof(double), &bucket,
               sizeof(double));
    }
    PyTuple_SET_ITEM(result, (Py_ssize_t)numbers + 2,
                     PyFloat_FromDouble(length));
    PyTuple_SET_ITEM(result, (Py_ssize_t)numbers + 1, seconds);
    PyTuple_SET_ITEM(result, (Py_ssize_t)numbers,
                     PyFloat_FromDouble((double)sum->delays.longest * length));
    for (size_t i = 0; i < numbers; i++) {
        PyTuple_SET_ITEM(result, (Py_ssize_t)i, metrics_item(sum, i, length));
    }
    if (PyErr_Occurred()) {
        Py_CLEAR(result);
    }
    return result;
}

PyDoc_STRVAR(Loop__figures_doc, "_figures($self, /)\n--\n\n"
                                "Return what metrics() shows, as a tuple.");

/* Not locked: a loop that is blocked shows its figures, too. */
static PyObject *
Loop__figures(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const al_loop_head *head = al_loop_head_CAST(op);
    al_metrics_sum sum = {0};

    al_metrics_add_loop(&sum, head);
    return metrics_show(&sum, head->state);
}

PyDoc_STRVAR(Loop__note_report_doc,
             "_note_report($self, /)\n--\n\n"
             "Count an error that the exception handler gets, and send held "
             "bytes before.");

static PyObject *
Loop__note_report(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *head = al_loop_head_CAST(op);

    AL_TALLY_SHARED(head->metrics.reports, 1);
    if (al_ready_send_held_here(head->state) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__note_sent_doc, "_note_sent($self, count, /)\n--\n\n"
                                  "Count bytes that Python code has sent.");

static PyObject *
Loop__note_sent(PyObject *op, PyObject *count)
{
    Py_ssize_t n = PyLong_AsSsize_t(count);

    if (n == -1 && PyErr_Occurred()) {
        return NULL;
    }
    AL_TALLY(al_loop_head_CAST(op)->metrics.bytes_out, (uint64_t)Py_MAX(n, 0));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__note_handshake_doc, "_note_handshake($self, /)\n--\n\n"
                                       "Count a TLS handshake.");

static PyObject *
Loop__note_handshake(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    AL_TALLY(al_loop_head_CAST(op)->metrics.handshakes, 1);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    Loop_set_slow_callback_log_doc,
    "set_slow_callback_log($self, seconds, /)\n--\n\n"
    "Log each callback and each step of a task that takes so long or longer, "
    "as debug\nmode does, also outside of debug mode. None: none, which is "
    "the default.\n\n"
    "Raises TypeError if `seconds` is no number, ValueError if it is "
    "negative or NaN.");

static PyObject *
Loop_set_slow_callback_log(PyObject *op, PyObject *arg)
{
    al_loop_head *head = al_loop_head_CAST(op);
    uint64_t limit = AL_SLOW_NEVER;

    if (arg != Py_None) {
        double seconds = PyFloat_AsDouble(arg);
        if (seconds == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
        if (!(seconds >= 0)) {
            PyErr_Format(PyExc_ValueError, "seconds must not be negative: %R",
                         arg);
            return NULL;
        }
        limit = al_metrics_cycles(head->state, seconds);
    }
    head->slow_cycles = limit;
    al_profile_update(head);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__watchdog_doc,
             "_watchdog($self, seconds, /)\n--\n\n"
             "Return a Watchdog that notices when the loop is blocked for so "
             "long.");

static PyObject *
Loop__watchdog(PyObject *op, PyObject *arg)
{
    al_loop_head *head = al_loop_head_CAST(op);
    double seconds = PyFloat_AsDouble(arg);

    if (seconds == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    return al_loop_check_closed(head) < 0 ? NULL
                                          : al_watchdog_new(head, seconds);
}

PyDoc_STRVAR(Loop__begin_profile_doc,
             "_begin_profile($self, /)\n--\n\n"
             "Measure each step from now on. Returns a pair of dicts for "
             "_read_profile():\nof tasks, and of others.");

static PyObject *
Loop__begin_profile(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_profile_begin(al_loop_head_CAST(op));
}

PyDoc_STRVAR(Loop__end_profile_doc,
             "_end_profile($self, profile, /)\n--\n\n"
             "Do not measure for this pair any more. May be called twice.");

static PyObject *
Loop__end_profile(PyObject *op, PyObject *profile)
{
    return al_call_none(al_profile_end(al_loop_head_CAST(op), profile));
}

PyDoc_STRVAR(Loop__read_profile_doc,
             "_read_profile($self, dict, /)\n--\n\n"
             "Return {name: (count, seconds, seconds of the longest)} of such "
             "a dict.");

/* Not locked. */
static PyObject *
Loop__read_profile(PyObject *op, PyObject *dict)
{
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "a dict of a profile is needed");
        return NULL;
    }
    return al_profile_read(al_loop_head_CAST(op)->state, dict);
}

AL_LOCKS(Loop_set_slow_callback_log, al_loop_lock)
AL_LOCKS(Loop__begin_profile, al_loop_lock)
AL_LOCKS(Loop__end_profile, al_loop_lock)
AL_LOCKS(Loop__note_report, al_loop_lock)
AL_LOCKS(Loop__note_handshake, al_loop_lock)
AL_LOCKS(Loop__note_sent, al_loop_lock)

PyMethodDef al_loop_metrics_methods[] = {
    {"_figures", Loop__figures, METH_NOARGS, Loop__figures_doc},
    {"set_slow_callback_log", AL_LOCKED(Loop_set_slow_callback_log), METH_O,
     Loop_set_slow_callback_log_doc},
    {"_watchdog", Loop__watchdog, METH_O, Loop__watchdog_doc},
    {"_begin_profile", AL_LOCKED(Loop__begin_profile), METH_NOARGS,
     Loop__begin_profile_doc},
    {"_end_profile", AL_LOCKED(Loop__end_profile), METH_O,
     Loop__end_profile_doc},
    {"_read_profile", Loop__read_profile, METH_O, Loop__read_profile_doc},
    {"_note_report", AL_LOCKED(Loop__note_report), METH_NOARGS,
     Loop__note_report_doc},
    {"_note_handshake", AL_LOCKED(Loop__note_handshake), METH_NOARGS,
     Loop__note_handshake_doc},
    {"_note_sent", AL_LOCKED(Loop__note_sent), METH_O, Loop__note_sent_doc},
    {NULL, NULL, 0, NULL}};

PyObject *
al_loop_metrics_all(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    al_state *state = al_state_from_module(module);
    al_metrics_sum sum = {0};

    al_metrics_add_all(&sum, state);
    return metrics_show(&sum, state);
}

PyObject *
al_loop_metrics_delays(PyObject *Py_UNUSED(module),
                       PyObject *Py_UNUSED(ignored))
{
    PyObject *bounds = PyTuple_New(AL_DELAYS_BUCKETS);

    for (unsigned i = 0; bounds != NULL && i < AL_DELAYS_BUCKETS; i++) {
        PyObject *bound = PyLong_FromUnsignedLongLong(al_delays_bound(i));
        if (bound == NULL) {
            Py_CLEAR(bounds);
            break;
        }
        PyTuple_SET_ITEM(bounds, (Py_ssize_t)i, bound);
    }
    return bounds;
}
