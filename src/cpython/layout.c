/* layout.c - learning whether asyncio's structs are as layout.h has them.
 *
 * asyncloop/_layout.py makes stock futures and tasks in known states, and says
 * for each what its fields hold. Here each is compared, byte for byte, with an
 * image that layout.h's struct makes of that: so a field that has moved is
 * found, and one that is new as well, once it is not zero.
 *
 * What a field means cannot be compared. So only the minor versions are
 * considered whose source was read. */
#include "cpython/layout.h"

/* The versions that layout.h was written for. */
#ifdef Py_GIL_DISABLED
#    define LAYOUT_IS_LISTED false
#else
#    define LAYOUT_IS_LISTED                                                  \
        (PY_VERSION_HEX < 0x03100000 && sizeof(void *) == 8)
#endif

/* The fields that are objects. */
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

/* Set a field that is a number. Whether there is one of this name. */
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

/* Set a field of the image to `value`; Ellipsis: to what `op` has there, if
 * that is something. Whether there is a field of this name. */
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

/* Link the image as `op` should be, with the task `other` right before or right
 * after it in the list. Whether `op` is. */
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

/* Whether `op` has what the dict `fields` says, and no byte besides. */
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
    return memcmp((char *)&image + head, (char *)op + head,
                  Py_TYPE(op)->tp_basicsize - head) == 0;
}

/* Whether all specimens, a list of tuples (object, fields), are as expected. */
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

/* Ask asyncloop/_layout.py for the specimens. -> new reference to a list, or
 * NULL with an exception set. */
static PyObject *
layout_call(const char *function, PyObject *argument)
{
    PyObject *module = PyImport_ImportModule("asyncloop._layout");
    if (module == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallMethod(module, function, "(O)", argument);
    Py_DECREF(module);
    return result;
}

static bool
layout_check_sizes(al_state *state)
{
    PyTypeObject *future = (PyTypeObject *)state->imports.asyncio_Future;
    PyTypeObject *task = (PyTypeObject *)state->imports.asyncio_Task;

    return PyType_Check(future) && PyType_Check(task) &&
           future->tp_basicsize == sizeof(al_future) &&
           task->tp_basicsize == sizeof(al_task);
}

/* 1 or 0, or -1 with an exception set. */
static int
layout_check_specimens(void)
{
    PyObject *specimens = layout_call("make_specimens", Py_None);
    if (specimens == NULL) {
        return -1;
    }
    int matches = PyList_Check(specimens) && layout_matches_all(specimens);
    PyErr_Clear();
    PyObject *done = layout_call("drop_specimens", specimens);
    Py_DECREF(specimens);
    Py_XDECREF(done);
    return done == NULL ? -1 : matches;
}

int
al_layout_init(PyObject *module)
{
    al_state *state = al_state_from_module(module);
    const char *wanted = Py_GETENV("ASYNCLOOP_LAYOUT");
    const char *reason = "the environment variable ASYNCLOOP_LAYOUT says so";

    if (wanted == NULL || strcmp(wanted, "unknown") != 0) {
        reason = "it is not the one of the versions it knows";
        state->layout_is_known = LAYOUT_IS_LISTED &&
                                 layout_check_sizes(state) &&
                                 layout_check_specimens() > 0;
        PyErr_Clear(); /* whatever a new asyncio does not do any more */
    }
    if (state->layout_is_known) {
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
    const al_state *state = al_state_from_module(module);

#define SHOW(condition) (condition) ? Py_True : Py_False
    return Py_BuildValue("{sOsOsOsO}", "future_and_task",
                         SHOW(state->layout_is_known), "thread_state",
                         SHOW(state->books_offset != 0), "task_counter",
                         SHOW(state->task_counter != &state->own_task_counter),
                         "context", SHOW(state->context_vars_offset != 0));
#undef SHOW
}
