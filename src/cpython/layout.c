/* layout.c - learns whether the structs in layout.h are those of this CPython.
 *
 *     asyncloop/_layout.py --> specimens: futures, tasks, contexts
 *                                  | compared, byte for byte
 *     layout.h's structs ----------+----> state->layout
 *
 * The Python code makes stock futures and tasks in known states, and says what
 * the fields of each contain. We write that into an empty struct of layout.h,
 * the image, and compare it with the specimen. So we notice a field that has
 * moved, and a new field if it is not zero.
 *
 * The meaning of a field cannot be compared. So we only learn on the minor
 * versions whose source was read.
 *
 * Each step of learning may fail, without an exception. Then its part stays
 * unknown, and the next steps go on. */
#include "cpython/layout.h"

#include "cpython/openssl.h"
#include "cpython/task_counter.h"

/* Whether layout.h was written for this build: free-threaded from 3.14 on. */
#define LAYOUT_IS_LISTED                                                      \
    (PY_VERSION_HEX < 0x03100000 && sizeof(void *) == 8 &&                    \
     (!AL_FREE_THREADED || AL_HAS_AWAITED_BY))

/* The fields of an image that are objects. */
static const struct {
    const char *name;
    size_t offset;
} layout_objects[] = {
    {"loop", offsetof(al_task, future.loop)},
    {"callback0", offsetof(al_task, future.callback0)},
    {"context0", offsetof(al_task, future.context0)},
    {"callbacks", offsetof(al_task, future.callbacks)},
    {"exception", offsetof(al_task, future.exception)},
    {"exception_tb", offsetof(al_task, future.exception_tb)},
    {"result", offsetof(al_task, future.result)},
    {"source_tb", offsetof(al_task, future.source_tb)},
    {"cancel_msg", offsetof(al_task, future.cancel_msg)},
    {"cancelled_exc", offsetof(al_task, future.cancelled_exc)},
#if AL_HAS_AWAITED_BY
    {"awaited_by", offsetof(al_task, future.awaited_by)},
#endif
#if !AL_TASK_FLAGS_IN_FUTURE
    {"weakrefs", offsetof(al_task, future.weakrefs)},
#endif
    {"fut_waiter", offsetof(al_task, fut_waiter)},
    {"coro", offsetof(al_task, coro)},
    {"name", offsetof(al_task, name)},
    {"context", offsetof(al_task, context)},
};

/* Set a field that is a number. -> whether there is one of this name */
static bool
layout_set_number(al_task *image, const char *name, long value)
{
#define X(field, place)                                                       \
    if (strcmp(name, #field) == 0) {                                          \
        (place)->field = value;                                               \
        return true;                                                          \
    }
    X(state, &image->future)
    X(log_tb, &image->future)
    X(blocking, &image->future)
    X(cancel_requests, image)
    X(must_cancel, AL_TASK_FLAGS(image))
    X(log_destroy_pending, AL_TASK_FLAGS(image))
#if AL_HAS_AWAITED_BY
    X(is_task, &image->future)
    X(awaited_by_is_set, &image->future)
#endif
#undef X
    return false;
}

/* Set a field of the image to `value`. Ellipsis means the object that `op` has
 * there, which must not be NULL. -> whether there is a field of this name */
static bool
layout_set(al_task *image, PyObject *op, const char *name, PyObject *value)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(layout_objects); i++) {
        size_t offset = layout_objects[i].offset;
        if (strcmp(name, layout_objects[i].name) == 0) {
            if (value == Py_Ellipsis) {
                value = *(PyObject **)((char *)op + offset);
            }
            *(PyObject **)((char *)image + offset) = value;
            return value != NULL;
        }
    }
    return PyLong_Check(value) &&
           layout_set_number(image, name, PyLong_AsLong(value));
}

/* Copy the node of `op` to the image. -> whether the task `other` is right
 * "before" or "after" it (`name`) in the list of tasks */
static bool
layout_set_node(al_task *image, PyObject *op, const char *name,
                PyObject *other)
{
#if AL_HAS_AWAITED_BY
    al_list *node = &((al_task *)op)->node;
    al_list *neighbour = &((al_task *)other)->node;

    image->node = *node;
    return strcmp(name, "before") == 0
               ? node->prev == neighbour && neighbour->next == node
               : node->next == neighbour && neighbour->prev == node;
#else
    (void)image, (void)op, (void)name, (void)other;
    return false;
#endif
}

static bool
layout_is_node(const char *name)
{
    return strcmp(name, "before") == 0 || strcmp(name, "after") == 0;
}

/* Whether `op` has the fields of the dict, and its other bytes are zero. */
static bool
layout_matches(PyObject *op, PyObject *fields)
{
    const size_t head = sizeof(PyObject);
    al_task image;
    PyObject *key, *value;
    Py_ssize_t pos = 0;

    memset(&image, 0, sizeof(image));
    while (PyDict_Next(fields, &pos, &key, &value)) {
        const char *name = PyUnicode_AsUTF8(key);
        if (name == NULL ||
            !(layout_is_node(name) ? layout_set_node(&image, op, name, value)
                                   : layout_set(&image, op, name, value)))
        {
            return false;
        }
    }
#if AL_FREE_THREADED && AL_HAS_AWAITED_BY
    if (Py_TYPE(op)->tp_basicsize == sizeof(image)) {
        image.thread = al_thread_id(); /* of the thread that made the task */
    }
#endif
    return memcmp((char *)&image + head, (char *)op + head,
                  Py_TYPE(op)->tp_basicsize - head) == 0;
}

/* Whether all specimens match: a list of tuples (object, fields). */
static bool
layout_matches_all(PyObject *specimens)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(specimens); i++) {
        PyObject *op, *fields;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(specimens, i), "OO!", &op,
                              &PyDict_Type, &fields) ||
            !layout_matches(op, fields))
        {
            return false;
        }
    }
    return PyList_GET_SIZE(specimens) > 0;
}

/* --- the steps of learning ----------------------------------------------- */

static bool
layout_check_sizes(const al_state *state)
{
    PyTypeObject *future = (PyTypeObject *)state->imports.asyncio_Future;
    PyTypeObject *task = (PyTypeObject *)state->imports.asyncio_Task;

    return PyType_Check(future) && PyType_Check(task) &&
           future->tp_basicsize == sizeof(al_future) &&
           task->tp_basicsize == sizeof(al_task);
}

static bool
layout_check_specimens(PyObject *helper)
{
    PyObject *specimens = PyObject_CallMethod(helper, "make_specimens", NULL);
    if (specimens == NULL) {
        return false;
    }
    bool matches = PyList_Check(specimens) && layout_matches_all(specimens);
    PyErr_Clear();
    PyObject *done =
        PyObject_CallMethod(helper, "drop_specimens", "(O)", specimens);
    Py_DECREF(specimens);
    Py_XDECREF(done);
    return done != NULL && matches;
}

/* Get what task/registry.c needs of _asyncio. -> whether all of it exists */
static bool
layout_get_private(al_state *state, PyObject *asyncio)
{
#if AL_HAS_AWAITED_BY
    const struct {
        PyObject **place;
        const char *name;
    } functions[] = {
        {&state->swap_current_task, "_swap_current_task"},
        {&state->register_task, "_register_task"},
        {&state->add_awaiter, "future_add_to_awaited_by"},
        {&state->discard_awaiter, "future_discard_from_awaited_by"},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(functions); i++) {
        *functions[i].place =
            PyObject_GetAttrString(asyncio, functions[i].name);
        if (*functions[i].place == NULL) {
            return false;
        }
    }
    return true;
#else
    state->current_tasks = PyObject_GetAttrString(asyncio, "_current_tasks");
    return state->current_tasks != NULL &&
           PyDict_CheckExact(state->current_tasks);
#endif
}

/* Find the variables of a context: the one word that a context has in common
 * with its copy, but not with an empty context. */
static void
layout_learn_context(al_state *state, PyObject *helper)
{
    PyObject *contexts = PyObject_CallMethod(helper, "make_contexts", NULL);
    PyObject *empty, *one, *copy;
    Py_ssize_t found = 0;

    if (contexts == NULL ||
        !PyArg_ParseTuple(contexts, "O!O!O!", &PyContext_Type, &empty,
                          &PyContext_Type, &one, &PyContext_Type, &copy))
    {
        Py_XDECREF(contexts);
        return;
    }
#define WORD(op) *(PyObject **)((char *)(op) + offset)
    for (Py_ssize_t offset = (Py_ssize_t)sizeof(PyObject);
         offset + (Py_ssize_t)sizeof(PyObject *) <=
         PyContext_Type.tp_basicsize;
         offset += (Py_ssize_t)sizeof(PyObject *))
    {
        if (WORD(one) != NULL && WORD(one) == WORD(copy) &&
            WORD(one) != WORD(empty))
        {
            if (found != 0) { /* two words: neither is certain */
                found = 0;
                break;
            }
            found = offset;
        }
    }
#undef WORD
    Py_DECREF(contexts);
    state->layout.context_vars = found;
}

#if AL_HAS_AWAITED_BY

/* locate(loop, task): find al_thread_tasks in the thread state. `loop` is the
 * running one, `task` its current task and the last in the list of tasks, so
 * the next node is the head of the list. */
static PyObject *
layout_locate(PyObject *module, PyObject *args)
{
    al_state *state = al_state_from_module(module);
    PyObject *loop, *task;

    if (!PyArg_ParseTuple(args, "OO!", &loop, state->imports.asyncio_Task,
                          &task))
    {
        return NULL;
    }
    al_thread_tasks *found =
        (al_thread_tasks *)((char *)((al_task *)task)->node.next -
                            offsetof(al_thread_tasks, tasks));
    const ptrdiff_t least = sizeof(PyThreadState);
    ptrdiff_t offset = (char *)found - (char *)PyThreadState_Get();
    if (offset >= least && offset <= least + 512 && found->loop == loop &&
        found->task == task)
    {
        state->layout.thread_tasks = offset;
    }
    Py_RETURN_NONE;
}

static PyMethodDef layout_locate_method = {"locate", layout_locate,
                                           METH_VARARGS, NULL};

static void
layout_learn_thread_state(PyObject *module, PyObject *helper)
{
    PyObject *locate = PyCFunction_New(&layout_locate_method, module);
    PyObject *done =
        locate == NULL
            ? NULL
            : PyObject_CallMethod(helper, "show_current_task", "(O)", locate);

    Py_XDECREF(locate);
    Py_XDECREF(done);
}

#else

static void
layout_learn_thread_state(PyObject *Py_UNUSED(module),
                          PyObject *Py_UNUSED(helper))
{
}

#endif

/* Run all steps of learning. May leave an exception set. */
static void
layout_learn(PyObject *module, al_state *state)
{
    PyObject *helper = PyImport_ImportModule("asyncloop._layout");
    PyObject *asyncio =
        helper == NULL ? NULL : PyImport_ImportModule("_asyncio");

    if (asyncio != NULL) {
        layout_learn_context(state, helper);
        PyErr_Clear();
        state->layout.futures = layout_check_sizes(state) &&
                                layout_check_specimens(helper) &&
                                layout_get_private(state, asyncio);
        PyErr_Clear();
    }
    if (state->layout.futures) { /* only our tasks need the other parts */
        layout_learn_thread_state(module, helper);
        PyErr_Clear();
        al_task_counter_learn(state, helper);
    }
    Py_XDECREF(asyncio);
    Py_XDECREF(helper);
}

int
al_layout_init(PyObject *module)
{
    al_state *state = al_state_from_module(module);
    const char *wanted = Py_GETENV("ASYNCLOOP_LAYOUT");
    const char *reason = "the environment variable ASYNCLOOP_LAYOUT says so";

    state->layout.task_counter = &state->layout.own_task_counter;
    if (wanted == NULL || strcmp(wanted, "unknown") != 0) {
        reason = "it is not the one of the versions it knows";
        if (LAYOUT_IS_LISTED) {
            state->layout.is_allowed = true;
            layout_learn(module, state);
            PyErr_Clear();
        }
    }
    if (state->layout.futures) {
        return 0;
    }
    return PyErr_WarnFormat(PyExc_ImportWarning, 1,
                            "asyncloop uses asyncio's Future and Task instead "
                            "of its own, which are faster: it takes their "
                            "layout in memory for unknown, as %s",
                            reason);
}

PyObject *
al_layout_show(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    al_state *state = al_state_from_module(module);
    const al_layout *layout = &state->layout;

#define SHOW(condition) (condition) ? Py_True : Py_False
    return Py_BuildValue(
        "{sOsOsOsOsO}", "future_and_task", SHOW(layout->futures),
        "thread_state", SHOW(layout->thread_tasks != 0), "task_counter",
        SHOW(layout->task_counter != &layout->own_task_counter), "context",
        SHOW(layout->context_vars != 0), "openssl",
        SHOW(al_openssl_get(state) != NULL));
#undef SHOW
}
