/* loop_select.c - the poll of a patched loop, whose turns are asyncio's own.
 *
 *     loop._selector.select() ---> loop._select() ---> events
 *     loop._process_events(events) ---> handles enter the ready queue
 *
 * A poll puts the entries of ready descriptors into the ready queue.  asyncio's
 * returns them as events instead, which a program may see in both functions.
 * So take them out of the queue again. */
#include "loop/loop.h"

#include "base/cycles.h"
#include "io/fdwatch.h"
#include "io/reactor.h"
#include "loop/entry.h"
#include "sched/timers.h"

/* Find the watch that has queued an entry, and set `event` to EV_READ or
 * EV_WRITE. -> borrowed, or NULL (no exception): other code has queued it. */
static al_fdwatch *
select_find_watch(al_loop_head *head, const al_entry *entry, int *event)
{
    al_fdwatch *watch = al_fdwatch_next(head, 0);

    for (; watch != NULL; watch = al_fdwatch_next(head, watch->fd + 1)) {
        if (watch->reader.object == entry->object &&
            watch->reader.run == entry->run)
        {
            *event = EV_READ;
            return watch;
        }
        if (watch->writer.object == entry->object &&
            watch->writer.run == entry->run)
        {
            *event = EV_WRITE;
            return watch;
        }
    }
    return NULL;
}

/* Append (descriptor, event, handle) to a list: 0, or -1 with an exception
 * set. */
static int
select_append(LoopObject *self, PyObject *list, int fd, int event,
              const al_entry *entry)
{
    PyObject *handle = al_loop_make_handle(self, entry);
    PyObject *item =
        handle == NULL ? NULL : Py_BuildValue("iiO", fd, event, handle);
    int rc = item == NULL ? -1 : PyList_Append(list, item);

    Py_XDECREF(item);
    Py_XDECREF(handle);
    return rc;
}

/* Another thread has queued something, or a signal has come: asyncio's poll
 * finds its own descriptor then. 0, or -1 with an exception set. */
static int
select_append_wakeup(const al_loop_head *head, PyObject *list)
{
    PyObject *item = Py_BuildValue("iiO", head->reactor->wakeup.source.fd,
                                   EV_READ, Py_None);
    int rc = item == NULL ? -1 : PyList_Append(list, item);

    Py_XDECREF(item);
    return rc;
}

/* Move the entries that a poll has queued behind the first `before` to a list;
 * those of other code stay. -> new list, or NULL. */
static PyObject *
select_take_events(LoopObject *self, size_t before)
{
    al_loop_head *head = &self->head;
    al_queue *ready = &head->ready;
    PyObject *list = PyList_New(0);
    size_t total = ready->count;
    int rc = list == NULL ? -1 : 0;

    /* Once round the queue: each entry is taken out, and most are put back. */
    for (size_t i = 0; i < total && ready->count > 0; i++) {
        al_entry entry = al_ready_pop(head, ready);
        int event;
        const al_fdwatch *watch = rc == 0 && i >= before
                                      ? select_find_watch(head, &entry, &event)
                                      : NULL;
        if (watch != NULL) {
            AL_TALLY(head->steps, 1);
            rc = select_append(self, list, watch->fd, event, &entry);
        }
        else if (al_queue_append(ready, entry.run, entry.object) < 0) {
            PyErr_Clear(); /* there is a free place */
        }
        Py_DECREF(entry.object);
    }
    if (rc == 0 && ready->count > before) {
        rc = select_append_wakeup(head, list);
    }
    if (rc < 0) {
        Py_CLEAR(list);
    }
    return list;
}

/* Convert a timeout to the time until which to wait: 0, or -1 with an
 * exception set. */
static int
select_until(PyObject *timeout, double *until)
{
    *until = Py_HUGE_VAL;
    if (timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    *until = seconds > 0 ? al_timers_clock() + seconds : 0;
    return 0;
}

PyDoc_STRVAR(Loop__select_doc,
             "_select($self, timeout, /)\n--\n\n"
             "Poll for `timeout` seconds, None for ever, but do not wait if "
             "handles are queued.\n\n"
             "Returns a list of (descriptor, event, handle).");

static PyObject *
Loop__select(PyObject *op, PyObject *timeout)
{
    LoopObject *self = LoopObject_CAST(op);
    al_loop_head *head = &self->head;
    PyObject *events = NULL;
    al_loop_run run;
    double until;

    if (select_until(timeout, &until) < 0 || PyErr_CheckSignals() < 0 ||
        al_loop_begin_run(self, &run) < 0)
    {
        return NULL;
    }
    uint64_t now = al_cycles();
    al_metrics_note_look(&head->metrics, now);
    int rc = al_loop_look_at_poll(self, now);
    if (rc == 0 && al_loop_must_look(self)) {
        rc = al_loop_look(self);
    }
    if (rc == 0) {
        rc = al_loop_collect(self);
    }
    if (rc == 0) {
        size_t before = head->ready.count;
        AL_TALLY(head->turn, 1);
        rc = before == 0 && until > 0 ? al_loop_wait(self, until)
                                      : al_loop_look_now(self);
        al_metrics_end_look(&head->metrics, now, al_cycles());
        if (rc == 0) {
            rc = al_loop_check_open(self); /* a signal handler may close it */
        }
        if (rc == 0) {
            rc = al_loop_collect(self);
        }
        events = rc == 0 ? select_take_events(self, before) : NULL;
    }
    if (al_loop_end_run(self, events != NULL ? 0 : -1, &run) < 0) {
        Py_CLEAR(events);
    }
    return events;
}

PyDoc_STRVAR(Loop__watched_doc,
             "_watched($self, /)\n--\n\n"
             "Return a list of (descriptor, event, object) for all that is "
             "watched.");

static PyObject *
Loop__watched(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *head = al_loop_head_CAST(op);
    PyObject *list = PyList_New(0);
    const al_fdwatch *watch = al_fdwatch_next(head, 0);

    for (int fd; list != NULL && watch != NULL;
         watch = al_fdwatch_next(head, fd + 1))
    {
        const al_entry entries[] = {watch->reader, watch->writer};
        fd = watch->fd;
        for (int i = 0; list != NULL && i < 2; i++) {
            if (entries[i].object != NULL &&
                select_append(LoopObject_CAST(op), list, fd,
                              i == 0 ? EV_READ : EV_WRITE, &entries[i]) < 0)
            {
                Py_CLEAR(list);
            }
        }
    }
    return list;
}

PyDoc_STRVAR(Loop__write_to_self_doc,
             "_write_to_self($self, /)\n--\n\n"
             "Wake the loop: its present poll, or the next one, does not "
             "wait.");

static PyObject *
Loop__write_to_self(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *head = al_loop_head_CAST(op);

    if (head->reactor != NULL) {
#if AL_FREE_THREADED
        al_inbox_wake(head);
#else
        head->is_blocked = false;
#endif
        al_wakeup_send(&head->reactor->wakeup);
    }
    Py_RETURN_NONE;
}

AL_LOCKS(Loop__select, al_loop_lock)
AL_LOCKS(Loop__watched, al_loop_lock)

PyMethodDef al_loop_select_methods[] = {
    {"_select", AL_LOCKED(Loop__select), METH_O, Loop__select_doc},
    {"_watched", AL_LOCKED(Loop__watched), METH_NOARGS, Loop__watched_doc},
    {"_write_to_self", Loop__write_to_self, METH_NOARGS,
     Loop__write_to_self_doc},
    {NULL, NULL, 0, NULL}};
