/* queue.c - asyncio.Queue, and what is hot of PriorityQueue and LifoQueue.
 *
 *     put() -- full? --> putters         get() -- empty? --> getters
 *       |                   ^              |                    ^
 *       v       wakes one   |              v        wakes one   |
 *     put_nowait() ---------+---> items ---+---- get_nowait() --+
 *
 * A waiter that was woken looks again, and waits again if another task was
 * faster. If it is cancelled then, it wakes the next one.
 *
 * _put() and _get() of the three classes of asyncio are done here; of another
 * class they are called. That class may also keep its items elsewhere than in
 * `items`, if it says so by overriding qsize(), empty() or full(): then the
 * object is not plain.
 *
 * Invariant
 *   (1) finished == NULL  ==>  nobody has seen the event yet, which is set if
 *       and only if `unfinished` is 0. */
#include "primitives/queue.h"

#include "base/args.h"
#include "primitives/primitive.h"
#include "task/future.h"

typedef struct {
    al_primitive head;  /* its waiters are the getters */
    PyObject *putters;  /* owned, as the getters */
    PyObject *items;    /* owned, of any type; NULL <=> no _init() yet */
    PyObject *finished; /* owned Event, by (1) */
    al_number maxsize;
    Py_ssize_t unfinished; /* items that task_done() is to be called for */
    bool is_shut_down;
} QueueObject;

#define QueueObject_CAST(op) ((QueueObject *)(op))

/* is_plain: what _put() and _get() do; as in asyncloop/_overrides.py. */
enum { FIFO = 1, LIFO, HEAP, HOOKS };

/* --- items ------------------------------------------------------------------ */

/* Whether `items` are what asyncio's _init() makes. */
static inline bool
queue_has_deque(const QueueObject *self)
{
    return self->head.is_plain == FIFO && self->items != NULL &&
           al_deque_check(self->head.state, self->items);
}

static inline bool
queue_has_list(const QueueObject *self)
{
    return (self->head.is_plain == LIFO || self->head.is_plain == HEAP) &&
           self->items != NULL && PyList_CheckExact(self->items);
}

/* The items, of which something is asked. -> new reference, or NULL with
 * AttributeError set. */
static PyObject *
queue_items(const QueueObject *self)
{
    if (self->items == NULL) {
        PyErr_Format(PyExc_AttributeError,
                     "'%.100s' object has no attribute '_queue'",
                     Py_TYPE(self)->tp_name);
    }
    return Py_XNewRef(self->items);
}

/* len(self._queue), or -1 with an exception set. */
static inline Py_ssize_t
queue_size(const QueueObject *self)
{
    if (AL_LIKELY(queue_has_deque(self))) {
        return al_deque_size(self->items);
    }
    PyObject *items = queue_items(self);
    Py_ssize_t size = items == NULL ? -1 : PyObject_Size(items);
    Py_XDECREF(items);
    return size;
}

/* Whether not self._queue: 1, 0, or -1 with an exception set. */
static inline int
queue_is_empty(const QueueObject *self)
{
    if (AL_LIKELY(queue_has_deque(self))) {
        return al_deque_size(self->items) == 0;
    }
    PyObject *items = queue_items(self);
    int is_empty = items == NULL ? -1 : PyObject_Not(items);
    Py_XDECREF(items);
    return is_empty;
}

/* The same of full(). */
static inline int
queue_is_full(const QueueObject *self)
{
    if (self->maxsize.number <= 0) {
        return 0;
    }
    Py_ssize_t size = queue_size(self);
    return size < 0 ? -1 : size >= self->maxsize.number;
}

/* self._put(item). 0, or -1 with an exception set. */
static int
queue_add(QueueObject *self, PyObject *item)
{
    al_state *state = self->head.state;

    if (AL_LIKELY(queue_has_deque(self))) {
        return al_deque_append(state, self->items, item);
    }
    if (!queue_has_list(self)) {
        return al_call_finish(PyObject_CallMethodOneArg(
            (PyObject *)self, state->names._put, item));
    }
    if (self->head.is_plain == LIFO) {
        return PyList_Append(self->items, item);
    }
    PyObject *items = Py_NewRef(self->items); /* items compare themselves */
    PyObject *stack[] = {items, item};
    int rc = al_call_finish(
        PyObject_Vectorcall(state->imports.heappush, stack, 2, NULL));
    Py_DECREF(items);
    return rc;
}

/* Take the last item of a list. -> new reference, or NULL. */
static PyObject *
queue_pop(PyObject *list)
{
    Py_ssize_t last = PyList_GET_SIZE(list) - 1;

    if (last < 0) {
        PyErr_SetString(PyExc_IndexError, "pop from empty list");
        return NULL;
    }
    PyObject *item = Py_NewRef(PyList_GET_ITEM(list, last));
    if (PyList_SetSlice(list, last, last + 1, NULL) < 0) {
        Py_CLEAR(item);
    }
    return item;
}

/* self._get(). -> new reference, or NULL. */
static PyObject *
queue_take(QueueObject *self)
{
    al_state *state = self->head.state;

    if (AL_LIKELY(queue_has_deque(self))) {
        return al_deque_popleft(state, self->items);
    }
    if (!queue_has_list(self)) {
        return PyObject_CallMethodNoArgs((PyObject *)self, state->names._get);
    }
    if (self->head.is_plain == LIFO) {
        return queue_pop(self->items);
    }
    PyObject *items = Py_NewRef(self->items);
    PyObject *item = PyObject_CallOneArg(state->imports.heappop, items);
    Py_DECREF(items);
    return item;
}

/* --- waiters ------------------------------------------------------------------ */

/* Take the first waiter out. -> new reference, or NULL with an exception. */
static PyObject *
queue_pop_waiter(const al_state *state, PyObject *waiters)
{
    return AL_LIKELY(al_deque_check(state, waiters))
               ? al_deque_popleft(state, waiters)
               : PyObject_CallMethod(waiters, "popleft", NULL);
}

/* Wake the first waiter that is not done, and take all before it out. 0, or -1
 * with an exception set. */
static int
queue_wake_next(const al_state *state, PyObject *waiters)
{
    Py_ssize_t count = al_waiters_count(state, waiters);

    if (AL_LIKELY(count == 0)) {
        return 0;
    }
    int rc = count < 0 ? -1 : 1;
    Py_INCREF(waiters);
    while (rc > 0 && (count = al_waiters_count(state, waiters)) > 0) {
        PyObject *waiter = queue_pop_waiter(state, waiters);
        rc = waiter == NULL ? -1 : al_waiter_is_done(state, waiter);
        if (rc == 0) {
            rc = al_waiter_set_result(state, waiter, Py_None) < 0 ? -1 : 0;
        }
        Py_XDECREF(waiter);
    }
    Py_DECREF(waiters);
    return rc < 0 || count < 0 ? -1 : 0;
}

/* Set QueueShutDown and return -1 if the queue is shut down, else 0. */
static inline int
queue_check_open(const QueueObject *self)
{
    if (AL_QUEUES_SHUT_DOWN && AL_UNLIKELY(self->is_shut_down)) {
        PyErr_SetNone(self->head.state->imports.QueueShutDown);
        return -1;
    }
    return 0;
}

/* A wait in `waiters` has ended with the exception that is set: tidy up, and
 * wake the next one if this one was woken. `cannot` tells whether it could not
 * go on now. */
static al_outcome
queue_give_up(al_awaitable *await, PyObject *waiters,
              int (*cannot)(const QueueObject *self))
{
    const al_state *state = await->state;
    PyObject *raised = PyErr_GetRaisedException();
    Py_XINCREF(waiters); /* the program may put others in their place */
    int rc = al_waiter_cancel(state, await->waiter);

    if (rc == 0 && al_waiters_leave(await, waiters) < 0) {
        if (PyErr_ExceptionMatches(PyExc_ValueError)) {
            PyErr_Clear(); /* whoever woke it has taken it out */
        }
        else {
            rc = -1;
        }
    }
    if (rc == 0) {
        rc = cannot(QueueObject_CAST(await->owner));
    }
    if (rc == 0) {
        rc = al_waiter_is_cancelled(state, await->waiter);
    }
    if (rc == 0) {
        rc = queue_wake_next(state, waiters);
    }
    Py_XDECREF(waiters);
    al_error_chain(raised);
    return AL_RAISES;
}

/* --- put() ----------------------------------------------------------------------- */

/* 0, or -1 with an exception set. */
static int
queue_put(QueueObject *self, PyObject *item)
{
    if (queue_add(self, item) < 0) {
        return -1;
    }
    self->unfinished++;
    if (AL_UNLIKELY(self->finished != NULL)) {
        PyObject *event = Py_NewRef(self->finished);
        int rc = al_call_finish(
            PyObject_CallMethodNoArgs(event, self->head.state->names.clear));
        Py_DECREF(event);
        if (rc < 0) {
            return -1;
        }
    }
    return queue_wake_next(self->head.state, self->head.waiters);
}

/* put_nowait(item) of a plain queue. 0, or -1 with an exception set. */
static int
queue_put_nowait(QueueObject *self, PyObject *item)
{
    int is_full = queue_check_open(self) < 0 ? -1 : queue_is_full(self);

    if (is_full != 0) {
        if (is_full > 0) {
            PyErr_SetNone(self->head.state->imports.QueueFull);
        }
        return -1;
    }
    return queue_put(self, item);
}

/* Wait while the queue is full, then put the item. */
static al_outcome
queue_put_start(al_awaitable *await, PyObject **result)
{
    QueueObject *self = QueueObject_CAST(await->owner);
    int is_full = queue_is_full(self);

    if (is_full != 0) {
        return is_full < 0 || queue_check_open(self) < 0
                   ? AL_RAISES
                   : al_primitive_wait(await, &self->putters);
    }
    return queue_put_nowait(self, await->argument) < 0
               ? AL_RAISES
               : al_awaitable_return(Py_None, result);
}

static al_outcome
queue_put_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    return AL_LIKELY(value != NULL)
               ? queue_put_start(await, result)
               : queue_give_up(await, QueueObject_CAST(await->owner)->putters,
                               queue_is_full);
}

static const al_operation queue_put_operation = {"Queue.put", queue_put_start,
                                                 queue_put_resume};

/* --- get() ----------------------------------------------------------------------- */

/* get_nowait() of a plain queue. -> new reference, or NULL. */
static PyObject *
queue_get_nowait(QueueObject *self)
{
    int is_empty = queue_is_empty(self);

    if (is_empty != 0) {
        if (is_empty > 0 && queue_check_open(self) == 0) {
            PyErr_SetNone(self->head.state->imports.QueueEmpty);
        }
        return NULL;
    }
    PyObject *item = queue_take(self);
    if (item != NULL && queue_wake_next(self->head.state, self->putters) < 0) {
        Py_CLEAR(item);
    }
    return item;
}

/* Wait while the queue is empty, then take an item. */
static al_outcome
queue_get_start(al_awaitable *await, PyObject **result)
{
    QueueObject *self = QueueObject_CAST(await->owner);
    int is_empty = queue_is_empty(self);

    if (is_empty != 0) {
        return is_empty < 0 || queue_check_open(self) < 0
                   ? AL_RAISES
                   : al_primitive_wait(await, &self->head.waiters);
    }
    *result = queue_get_nowait(self);
    return *result == NULL ? AL_RAISES : AL_RETURNS;
}

static al_outcome
queue_get_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    return AL_LIKELY(value != NULL)
               ? queue_get_start(await, result)
               : queue_give_up(await, al_primitive_CAST(await->owner)->waiters,
                               queue_is_empty);
}

static const al_operation queue_get_operation = {"Queue.get", queue_get_start,
                                                 queue_get_resume};

/* --- join() ---------------------------------------------------------------------- */

/* self._finished. -> new reference, or NULL. */
static PyObject *
queue_finished(QueueObject *self)
{
    if (self->finished == NULL) {
        PyObject *module = PyImport_ImportModule("asyncloop._primitives");
        PyObject *event =
            module == NULL ? NULL : PyObject_CallMethod(module, "Event", NULL);
        Py_XDECREF(module);
        if (event != NULL && self->unfinished == 0 &&
            al_call_finish(PyObject_CallMethod(event, "set", NULL)) < 0)
        {
            Py_CLEAR(event);
        }
        if (event == NULL) {
            return NULL;
        }
        Py_XSETREF(self->finished, event);
    }
    return Py_NewRef(self->finished);
}

static al_outcome
queue_join_start(al_awaitable *await, PyObject **result)
{
    QueueObject *self = QueueObject_CAST(await->owner);
    al_outcome outcome = AL_RAISES;

    if (self->unfinished <= 0) {
        return al_awaitable_return(Py_None, result);
    }
    PyObject *event = queue_finished(self);
    if (event != NULL) {
        outcome = al_awaitable_wait_stolen(
            await, PyObject_CallMethodNoArgs(event, await->state->names.wait));
        Py_DECREF(event);
    }
    return outcome;
}

static const al_operation queue_join_operation = {
    "Queue.join", queue_join_start, al_awaitable_end_with_none};

/* --- Python: methods -------------------------------------------------------------- */

PyDoc_STRVAR(Queue_put_doc,
             "put($self, /, item)\n--\n\n"
             "Put an item into the queue, after waiting for a place; to be "
             "awaited.\n\n"
             "From Python 3.13 on it raises QueueShutDown after shutdown().");

static PyObject *
Queue_put(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    static const al_signature signature = {"Queue.put", AL_ARGS("item"), 1, 1,
                                           0};
    PyObject *item = al_args_one(&signature, args, nargs, kwnames);

    return item == NULL ? NULL
                        : al_primitive_await(
                              op, AL_QUEUE, &queue_put_operation, "put", item);
}

PyDoc_STRVAR(Queue_get_doc,
             "get($self, /)\n--\n\n"
             "Take an item and return it, after waiting for one; to be "
             "awaited.\n\n"
             "From Python 3.13 on it raises QueueShutDown if the queue is "
             "empty after shutdown().");

static PyObject *
Queue_get(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_QUEUE, &queue_get_operation, "get", NULL);
}

PyDoc_STRVAR(Queue_put_nowait_doc,
             "put_nowait($self, /, item)\n--\n\n"
             "Put an item into the queue.\n\n"
             "Raises QueueFull if there is no place, QueueShutDown after "
             "shutdown().");

static PyObject *
Queue_put_nowait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const al_signature signature = {"Queue.put_nowait", AL_ARGS("item"),
                                           1, 1, 0};
    PyObject *item = al_args_one(&signature, args, nargs, kwnames);
    int is_plain = item == NULL ? -1 : al_primitive_is_plain(op, AL_QUEUE);

    if (AL_UNLIKELY(is_plain <= 0)) {
        return is_plain < 0 ? NULL
                            : al_primitive_call_stock(op, AL_QUEUE,
                                                      "put_nowait", &item, 1);
    }
    return al_call_none(queue_put_nowait(QueueObject_CAST(op), item));
}

/* What a method without arguments does if the queue is not plain. -> new
 * reference, or NULL. */
static PyObject *
queue_call_stock(PyObject *op, int is_plain, const char *name)
{
    return is_plain < 0 ? NULL
                        : al_primitive_call_stock(op, AL_QUEUE, name, NULL, 0);
}

PyDoc_STRVAR(Queue_get_nowait_doc,
             "get_nowait($self, /)\n--\n\n"
             "Take an item and return it.\n\n"
             "Raises QueueEmpty if there is none; after shutdown() "
             "QueueShutDown.");

static PyObject *
Queue_get_nowait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int is_plain = al_primitive_is_plain(op, AL_QUEUE);

    return AL_LIKELY(is_plain > 0)
               ? queue_get_nowait(QueueObject_CAST(op))
               : queue_call_stock(op, is_plain, "get_nowait");
}

PyDoc_STRVAR(Queue_qsize_doc, "qsize($self, /)\n--\n\n"
                              "Return how many items are in the queue.");

static PyObject *
Queue_qsize(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int is_plain = al_primitive_is_plain(op, AL_QUEUE);

    if (AL_UNLIKELY(is_plain <= 0)) {
        return queue_call_stock(op, is_plain, "qsize");
    }
    Py_ssize_t size = queue_size(QueueObject_CAST(op));
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

PyDoc_STRVAR(Queue_empty_doc, "empty($self, /)\n--\n\n"
                              "Return whether there is no item.");

static PyObject *
Queue_empty(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int is_plain = al_primitive_is_plain(op, AL_QUEUE);

    if (AL_UNLIKELY(is_plain <= 0)) {
        return queue_call_stock(op, is_plain, "empty");
    }
    int is_empty = queue_is_empty(QueueObject_CAST(op));
    return is_empty < 0 ? NULL : PyBool_FromLong(is_empty);
}

PyDoc_STRVAR(Queue_full_doc, "full($self, /)\n--\n\n"
                             "Return whether there is no place for an item.");

static PyObject *
Queue_full(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int is_plain = al_primitive_is_plain(op, AL_QUEUE);

    if (AL_UNLIKELY(is_plain <= 0)) {
        return queue_call_stock(op, is_plain, "full");
    }
    int is_full = queue_is_full(QueueObject_CAST(op));
    return is_full < 0 ? NULL : PyBool_FromLong(is_full);
}

PyDoc_STRVAR(Queue_task_done_doc,
             "task_done($self, /)\n--\n\n"
             "Say that an item that was taken is dealt with.\n\n"
             "Raises ValueError if it was said more often than items were "
             "put.");

static PyObject *
Queue_task_done(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    QueueObject *self = QueueObject_CAST(op);

    if (self->unfinished <= 0) {
        PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
        return NULL;
    }
    self->unfinished--;
    if (self->unfinished == 0 && self->finished != NULL) {
        PyObject *event = Py_NewRef(self->finished);
        PyObject *result = PyObject_CallMethod(event, "set", NULL);
        Py_DECREF(event);
        return al_call_none(al_call_finish(result));
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Queue_join_doc,
             "join($self, /)\n--\n\n"
             "Wait until task_done() was called for all items; to be "
             "awaited.");

static PyObject *
Queue_join(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_state *state = al_primitive_state(op);

    return state == NULL
               ? NULL
               : al_awaitable_new(state, &queue_join_operation, op, NULL);
}

/* --- Python: attributes ------------------------------------------------------------- */

static PyObject *
Queue_get_putters(PyObject *op, void *Py_UNUSED(closure))
{
    al_state *state = al_primitive_state(op);

    return state == NULL
               ? NULL
               : al_primitive_get_deque(state, &QueueObject_CAST(op)->putters);
}

static int
Queue_set_putters(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_primitive_store(op, &QueueObject_CAST(op)->putters, value,
                              "_putters");
}

static PyObject *
Queue_get_items(PyObject *op, void *Py_UNUSED(closure))
{
    return queue_items(QueueObject_CAST(op));
}

static int
Queue_set_items(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(QueueObject_CAST(op)->items, Py_XNewRef(value));
    return 0;
}

static PyObject *
Queue_get_finished(PyObject *op, void *Py_UNUSED(closure))
{
    return queue_finished(QueueObject_CAST(op));
}

static int
Queue_set_finished(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_primitive_store(op, &QueueObject_CAST(op)->finished, value,
                              "_finished");
}

static PyObject *
Queue_get_maxsize(PyObject *op, void *Py_UNUSED(closure))
{
    return al_number_load(&QueueObject_CAST(op)->maxsize);
}

static int
Queue_set_maxsize(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_number_store(op, &QueueObject_CAST(op)->maxsize, value,
                           "_maxsize");
}

static PyObject *
Queue_get_unfinished(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(QueueObject_CAST(op)->unfinished);
}

static int
Queue_set_unfinished(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    QueueObject *self = QueueObject_CAST(op);

    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "cannot delete attribute '_unfinished_tasks'");
        return -1;
    }
    Py_ssize_t number = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    PyObject *event = queue_finished(self); /* by (1), before it changes */
    if (event == NULL) {
        return -1;
    }
    Py_DECREF(event);
    self->unfinished = number;
    return 0;
}

static PyObject *
Queue_get_shutdown(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(AL_LOAD(QueueObject_CAST(op)->is_shut_down));
}

static int
Queue_set_shutdown(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_primitive_store_bool(&QueueObject_CAST(op)->is_shut_down, value,
                                   "_is_shutdown");
}

/* --- Python: lifetime ----------------------------------------------------------------- */

/* self._init(maxsize). 0, or -1 with an exception set. */
static int
queue_make_items(PyObject *op, int is_plain, PyObject *maxsize)
{
    QueueObject *self = QueueObject_CAST(op);
    al_state *state = self->head.state;

    if (is_plain <= 0 || is_plain == HOOKS) {
        return is_plain < 0 ? -1
                            : al_call_finish(PyObject_CallMethodOneArg(
                                  op, state->names._init, maxsize));
    }
    PyObject *items = is_plain == FIFO ? al_deque_new(state) : PyList_New(0);
    if (items == NULL) {
        return -1;
    }
    Py_XSETREF(self->items, items);
    return 0;
}

static int
Queue_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"Queue.__init__",
                                           AL_ARGS("maxsize"), 0, 1, 0};
    QueueObject *self = QueueObject_CAST(op);
    PyObject *maxsize;

    if (al_args_parse_tuple(&signature, args, kwargs, &maxsize) < 0) {
        return -1;
    }
    maxsize = maxsize != NULL ? Py_NewRef(maxsize) : PyLong_FromLong(0);
    if (maxsize == NULL) {
        return -1;
    }
    int rc = al_number_store(op, &self->maxsize, maxsize, "_maxsize");
    if (rc == 0) {
        Py_CLEAR(self->head.waiters);
        Py_CLEAR(self->putters);
        Py_CLEAR(self->finished);
        self->unfinished = 0;
        self->is_shut_down = false;
        rc =
            queue_make_items(op, al_primitive_is_plain(op, AL_QUEUE), maxsize);
    }
    Py_DECREF(maxsize);
    return rc;
}

static int
Queue_traverse(PyObject *op, visitproc visit, void *arg)
{
    QueueObject *self = QueueObject_CAST(op);

    Py_VISIT(self->putters);
    Py_VISIT(self->items);
    Py_VISIT(self->finished);
    Py_VISIT(self->maxsize.odd);
    return al_primitive_traverse(op, visit, arg);
}

static int
Queue_clear(PyObject *op)
{
    QueueObject *self = QueueObject_CAST(op);

    Py_CLEAR(self->putters);
    Py_CLEAR(self->items);
    Py_CLEAR(self->finished);
    Py_CLEAR(self->maxsize.odd);
    return al_primitive_clear(op);
}

/* --- type ------------------------------------------------------------------------------- */

AL_LOCKS_KEYWORDS(Queue_put, al_primitive_lock)
AL_LOCKS(Queue_get, al_primitive_lock)
AL_LOCKS_KEYWORDS(Queue_put_nowait, al_primitive_lock)
AL_LOCKS(Queue_get_nowait, al_primitive_lock)
AL_LOCKS(Queue_qsize, al_primitive_lock)
AL_LOCKS(Queue_empty, al_primitive_lock)
AL_LOCKS(Queue_full, al_primitive_lock)
AL_LOCKS(Queue_task_done, al_primitive_lock)
AL_LOCKS(Queue_join, al_primitive_lock)
AL_LOCKS_GETTER(Queue_get_putters, al_primitive_lock)
AL_LOCKS_GETTER(Queue_get_items, al_primitive_lock)
AL_LOCKS_SETTER(Queue_set_items, al_primitive_lock)
AL_LOCKS_GETTER(Queue_get_finished, al_primitive_lock)
AL_LOCKS_GETTER(Queue_get_maxsize, al_primitive_lock)
AL_LOCKS_SETTER(Queue_set_maxsize, al_primitive_lock)
AL_LOCKS_GETTER(Queue_get_unfinished, al_primitive_lock)
AL_LOCKS_SETTER(Queue_set_unfinished, al_primitive_lock)

static PyMethodDef Queue_methods[] = {
    {"put", AL_KEYWORDS(AL_LOCKED(Queue_put)), Queue_put_doc},
    {"get", AL_LOCKED(Queue_get), METH_NOARGS, Queue_get_doc},
    {"put_nowait", AL_KEYWORDS(AL_LOCKED(Queue_put_nowait)),
     Queue_put_nowait_doc},
    {"get_nowait", AL_LOCKED(Queue_get_nowait), METH_NOARGS,
     Queue_get_nowait_doc},
    {"qsize", AL_LOCKED(Queue_qsize), METH_NOARGS, Queue_qsize_doc},
    {"empty", AL_LOCKED(Queue_empty), METH_NOARGS, Queue_empty_doc},
    {"full", AL_LOCKED(Queue_full), METH_NOARGS, Queue_full_doc},
    {"task_done", AL_LOCKED(Queue_task_done), METH_NOARGS,
     Queue_task_done_doc},
    {"join", AL_LOCKED(Queue_join), METH_NOARGS, Queue_join_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef Queue_getset[] = {
    {"_loop", al_primitive_get_bound_loop, al_primitive_set_bound_loop, NULL,
     NULL},
    {"_getters", al_primitive_get_waiters, al_primitive_set_waiters, NULL,
     NULL},
    {"_putters", AL_LOCKED(Queue_get_putters), Queue_set_putters, NULL, NULL},
    {"_queue", AL_LOCKED(Queue_get_items), AL_LOCKED(Queue_set_items), NULL,
     NULL},
    {"_finished", AL_LOCKED(Queue_get_finished), Queue_set_finished, NULL,
     NULL},
    {"_maxsize", AL_LOCKED(Queue_get_maxsize), AL_LOCKED(Queue_set_maxsize),
     NULL, NULL},
    {"_unfinished_tasks", AL_LOCKED(Queue_get_unfinished),
     AL_LOCKED(Queue_set_unfinished), NULL, NULL},
    {"_is_shutdown", Queue_get_shutdown, Queue_set_shutdown, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Queue_doc,
             "Queue(maxsize=0)\n--\n\n"
             "Items that tasks hand over to tasks: the hot methods of "
             "asyncio.Queue.");

static PyType_Slot Queue_slots[] = {{Py_tp_doc, (void *)Queue_doc},
                                    {Py_tp_init, Queue_init},
                                    {Py_tp_dealloc, al_primitive_dealloc},
                                    {Py_tp_traverse, Queue_traverse},
                                    {Py_tp_clear, Queue_clear},
                                    {Py_tp_setattro, al_primitive_setattro},
                                    {Py_tp_methods, Queue_methods},
                                    {Py_tp_getset, Queue_getset},
                                    {0, NULL}};

static PyType_Spec Queue_spec = {
    .name = "asyncloop._core.Queue",
    .basicsize = sizeof(QueueObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = Queue_slots,
};

int
al_queue_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->QueueType = al_state_add_type(module, &Queue_spec, NULL);
    return state->QueueType == NULL ? -1 : 0;
}
