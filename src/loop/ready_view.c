/* ready_view.c - loop._ready: shows the ready queue as a deque of handles.
 *
 * The queue of a loop stays where it is.  An entry that is shown becomes a
 * handle (entry.c), which takes the entry's place: so it is the same handle
 * each time.  Methods of deque that a loop does not call are in Python
 * (asyncloop/_inside.py): they take all handles, change a deque of them, and
 * put them back. */
#include "loop/ready_view.h"

#include "loop/entry.h"
#include "sched/handle.h"

typedef struct {
    PyObject_HEAD
    LoopObject *loop; /* owned */
} ReadyQueueObject;

#define ReadyQueueObject_CAST(op) ((ReadyQueueObject *)(op))

static inline PyObject *
queue_lock(PyObject *op)
{
    return (PyObject *)ReadyQueueObject_CAST(op)->loop;
}

static inline al_entry *
queue_entry(al_queue *ready, size_t i)
{
    return &ready->ring[(ready->head + i) & (ready->capacity - 1)];
}

/* Show the i-th entry as a handle, which takes its place. -> new reference,
 * or NULL with an exception set: IndexError if there is none. */
static PyObject *
queue_show(LoopObject *loop, size_t i)
{
    al_queue *ready = &loop->head.ready;

    if (i >= ready->count) {
        PyErr_SetString(PyExc_IndexError, "deque index out of range");
        return NULL;
    }
    al_entry entry = *queue_entry(ready, i);
    uint64_t begun = loop->head.steps;
    Py_INCREF(entry.object);
    PyObject *handle = al_loop_make_handle(loop, &entry); /* runs anything */
    al_entry *place = i < ready->count ? queue_entry(ready, i) : NULL;
    if (handle != NULL && place != NULL && handle != entry.object &&
        begun == loop->head.steps && place->run == entry.run &&
        place->object == entry.object)
    {
        place->run = al_loop_run_of(&loop->head, handle);
        place->object = Py_NewRef(handle);
        Py_DECREF(entry.object); /* the queue's */
    }
    Py_DECREF(entry.object);
    return handle;
}

static Py_ssize_t
ReadyQueue_length(PyObject *op)
{
    LoopObject *loop = ReadyQueueObject_CAST(op)->loop;
    int rc;

    AL_LOCK((PyObject *)loop);
    rc = al_loop_may_reach(loop);
    AL_UNLOCK();
    return rc < 0 ? -1 : (Py_ssize_t)AL_LOAD(loop->head.ready.count);
}

static PyObject *
ReadyQueue_item(PyObject *op, Py_ssize_t i)
{
    LoopObject *loop = ReadyQueueObject_CAST(op)->loop;
    PyObject *handle;

    AL_LOCK((PyObject *)loop);
    handle = al_loop_reach(loop) < 0 ? NULL : queue_show(loop, (size_t)i);
    AL_UNLOCK();
    return handle;
}

PyDoc_STRVAR(ReadyQueue_append_doc,
             "append($self, handle, /)\n--\n\nQueue a handle.");

static PyObject *
ReadyQueue_append(PyObject *op, PyObject *handle)
{
    al_loop_head *head = &ReadyQueueObject_CAST(op)->loop->head;

    al_handle_expose(head->state, handle);
    if (al_ready_push(head, al_loop_run_of(head, handle), handle) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(ReadyQueue_popleft_doc,
             "popleft($self, /)\n--\n\n"
             "Take out the handle that would run next, and return it.");

static PyObject *
ReadyQueue_popleft(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *head = &ReadyQueueObject_CAST(op)->loop->head;

    if (al_loop_reach(ReadyQueueObject_CAST(op)->loop) < 0) {
        return NULL;
    }
    if (head->ready.count == 0) {
        PyErr_SetString(PyExc_IndexError, "pop from an empty deque");
        return NULL;
    }
    /* Take it out first: making a handle may run anything. */
    al_entry entry = al_ready_pop(head, &head->ready);
    AL_TALLY(head->steps, 1);
    PyObject *handle =
        al_loop_make_handle(ReadyQueueObject_CAST(op)->loop, &entry);
    Py_DECREF(entry.object);
    return handle;
}

PyDoc_STRVAR(ReadyQueue_clear_doc,
             "clear($self, /)\n--\n\nDrop all handles: they will not run.");

static PyObject *
ReadyQueue_clear(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *head = &ReadyQueueObject_CAST(op)->loop->head;

    if (al_loop_reach(ReadyQueueObject_CAST(op)->loop) < 0) {
        return NULL;
    }
    for (size_t n = head->ready.count; n > 0 && head->ready.count > 0; n--) {
        al_entry entry = al_ready_pop(head, &head->ready);
        AL_TALLY(head->steps, 1);
        Py_DECREF(entry.object); /* may run anything */
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(ReadyQueue__take_doc,
             "_take($self, /)\n--\n\n"
             "Take out all handles, and return the list of them.");

PyObject *
al_ready_view_take(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *loop = ReadyQueueObject_CAST(op)->loop;
    al_queue *ready = &loop->head.ready;
    PyObject *list = al_loop_reach(loop) < 0 ? NULL : PyList_New(0);

    /* All of them are made first. If that fails, all stay. */
    for (size_t i = 0; list != NULL && i < ready->count; i++) {
        PyObject *handle = queue_show(loop, i);
        if (handle == NULL || PyList_Append(list, handle) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(handle);
    }
    if (list == NULL) {
        return NULL;
    }
    for (Py_ssize_t n = PyList_GET_SIZE(list); n > 0 && ready->count > 0; n--)
    {
        al_entry entry = al_ready_pop(&loop->head, ready);
        AL_TALLY(loop->head.steps, 1);
        Py_DECREF(entry.object); /* the list has it */
    }
    return list;
}

PyDoc_STRVAR(ReadyQueue__put_doc,
             "_put($self, handles, /)\n--\n\n"
             "Queue the handles of a list before those that are queued.");

static PyObject *
ReadyQueue__put(PyObject *op, PyObject *list)
{
    al_loop_head *head = &ReadyQueueObject_CAST(op)->loop->head;
    al_queue *ready = &head->ready;

    if (!PyList_Check(list)) {
        PyErr_SetString(PyExc_TypeError, "a list was expected");
        return NULL;
    }
    if (al_loop_reach(ReadyQueueObject_CAST(op)->loop) < 0) {
        return NULL;
    }
    size_t behind = ready->count;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *handle = PyList_GET_ITEM(list, i);
        al_handle_expose(head->state, handle);
        if (al_ready_push(head, al_loop_run_of(head, handle), handle) < 0) {
            return NULL;
        }
    }
    /* Another thread may have queued some meanwhile: they go last. */
    for (; behind > 0; behind--) {
        al_entry entry = al_ready_pop(head, ready);
        if (al_queue_append(ready, entry.run, entry.object) < 0) {
            PyErr_Clear(); /* there is a free place */
        }
        Py_DECREF(entry.object);
    }
    Py_RETURN_NONE;
}

static int
ReadyQueue_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)ReadyQueueObject_CAST(op)->loop);
    return 0;
}

static void
ReadyQueue_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    LoopObject *loop = ReadyQueueObject_CAST(op)->loop;

    PyObject_GC_UnTrack(op);
    AL_ADD(loop->views, -1);
    type->tp_free(op);
    Py_DECREF(type);
    Py_DECREF((PyObject *)loop); /* last: this may free the state */
}

AL_LOCKS(ReadyQueue_popleft, queue_lock)
AL_LOCKS(ReadyQueue_clear, queue_lock)
AL_LOCKS(al_ready_view_take, queue_lock)
AL_LOCKS(ReadyQueue__put, queue_lock)

static PyMethodDef ReadyQueue_methods[] = {
    {"append", ReadyQueue_append, METH_O, ReadyQueue_append_doc},
    {"popleft", AL_LOCKED(ReadyQueue_popleft), METH_NOARGS,
     ReadyQueue_popleft_doc},
    {"clear", AL_LOCKED(ReadyQueue_clear), METH_NOARGS, ReadyQueue_clear_doc},
    {"_take", AL_LOCKED(al_ready_view_take), METH_NOARGS,
     ReadyQueue__take_doc},
    {"_put", AL_LOCKED(ReadyQueue__put), METH_O, ReadyQueue__put_doc},
    {NULL, NULL, 0, NULL}};

PyDoc_STRVAR(ReadyQueue_doc,
             "The part of what loop._ready returns that is C.");

static PyType_Slot ReadyQueue_slots[] = {{Py_tp_doc, (void *)ReadyQueue_doc},
                                         {Py_sq_length, ReadyQueue_length},
                                         {Py_sq_item, ReadyQueue_item},
                                         {Py_tp_methods, ReadyQueue_methods},
                                         {Py_tp_traverse, ReadyQueue_traverse},
                                         {Py_tp_dealloc, ReadyQueue_dealloc},
                                         {0, NULL}};

static PyType_Spec ReadyQueue_spec = {
    .name = "asyncloop._core.ReadyQueue",
    .basicsize = sizeof(ReadyQueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ReadyQueue_slots,
};

PyObject *
al_ready_view_new(LoopObject *loop)
{
    const al_state *state = loop->head.state;
    PyTypeObject *type = state->ready_queue != NULL
                             ? (PyTypeObject *)state->ready_queue
                             : state->ReadyQueueType;
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL) {
        ReadyQueueObject_CAST(self)->loop =
            (LoopObject *)Py_NewRef((PyObject *)loop);
        AL_ADD(loop->views, 1);
    }
    return self;
}

LoopObject *
al_ready_view_loop(PyObject *op)
{
    return ReadyQueueObject_CAST(op)->loop;
}

PyObject *
al_ready_view_set_class(PyObject *module, PyObject *type)
{
    al_state *state = al_state_from_module(module);

    if (!PyType_Check(type) ||
        !PyType_IsSubtype((PyTypeObject *)type, state->ReadyQueueType))
    {
        PyErr_SetString(PyExc_TypeError, "a subclass of ReadyQueue expected");
        return NULL;
    }
    Py_XSETREF(state->ready_queue, Py_NewRef(type));
    Py_RETURN_NONE;
}

int
al_ready_view_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->ReadyQueueType = al_state_add_type(module, &ReadyQueue_spec, NULL);
    return state->ReadyQueueType == NULL ? -1 : 0;
}
