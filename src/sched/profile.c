/* profile.c - how long the steps of a loop take, by name.
 *
 *     turn.c: al_profile_name() --- the step --- al_profile_note()
 *                                                      |
 *              loop->profiles: list of (tasks, callbacks), each a dict
 *                                     {name: bytearray with a profile_entry}
 *
 * A bytearray, because a number that grows would be a new object at each step.
 * It is locked while it is written or read: another thread may read it. */
#include "sched/profile.h"

#include "sched/handle_object.h"
#include "sched/metrics_sum.h"

/* The most names of a dict; all further ones are one. A program may make names
 * without end. */
#define PROFILE_MOST_NAMES 2000
#define PROFILE_OTHERS "(others)"

/* functools.partial() of a partial of ...: how deep a name is looked for. */
#define PROFILE_MOST_DEEP 8

typedef struct {
    uint64_t count;
    uint64_t cycles;
    uint64_t longest;
} profile_entry;

/* --- names ---------------------------------------------------------------- */

/* An attribute, if it is of the type str or `type` is NULL. -> new reference,
 * or NULL (no exception): there is none. */
static PyObject *
profile_attribute(PyObject *op, PyObject *name, PyTypeObject *type)
{
    PyObject *value;

    if (PyObject_GetOptionalAttr(op, name, &value) < 0) {
        PyErr_Clear();
        return NULL;
    }
    if (value != NULL && type != NULL && !Py_IS_TYPE(value, type)) {
        Py_CLEAR(value);
    }
    return value;
}

/* The qualified name of a callable, or of its type. */
static PyObject *
profile_qualname(al_state *state, PyObject *op)
{
    PyObject *name = NULL;

    Py_INCREF(op);
    for (int i = 0; i < PROFILE_MOST_DEEP; i++) {
        name =
            profile_attribute(op, state->names.__qualname__, &PyUnicode_Type);
        PyObject *inner = name == NULL
                              ? profile_attribute(op, state->names.func, NULL)
                              : NULL;
        if (inner == NULL) {
            break;
        }
        Py_SETREF(op, inner); /* of a functools.partial */
    }
    if (name == NULL) {
        name = PyType_GetQualName(Py_TYPE(op));
    }
    Py_DECREF(op);
    return name;
}

/* That of a task's coroutine. */
static PyObject *
profile_task_name(al_state *state, PyObject *task)
{
    PyObject *coro = PyObject_CallMethod(task, "get_coro", NULL);

    if (coro == NULL) {
        PyErr_Clear();
        coro = Py_NewRef(Py_None);
    }
    PyObject *name = profile_qualname(state, coro == Py_None ? task : coro);
    Py_DECREF(coro);
    return name;
}

/* Of a handle: in debug mode and for tasks of other types its callback is bound
 * to a task. */
static PyObject *
profile_handle_name(al_state *state, PyObject *handle, bool *is_task)
{
    PyObject *callback = HandleObject_CAST(handle)->callback;
    PyTypeObject *task_type = (PyTypeObject *)state->imports.asyncio_Task;

    if (callback == NULL) {
        return PyUnicode_FromString("(cancelled)");
    }
    Py_INCREF(callback);
    PyObject *self = profile_attribute(callback, state->names.__self__, NULL);
    *is_task = self != NULL && PyObject_TypeCheck(self, task_type);
    PyObject *name = *is_task ? profile_task_name(state, self)
                              : profile_qualname(state, callback);
    Py_XDECREF(self);
    Py_DECREF(callback);
    return name;
}

/* Of a transport, with its protocol's; or of another object of ours. */
static PyObject *
profile_object_name(al_state *state, PyObject *op)
{
    PyObject *type = PyType_GetQualName(Py_TYPE(op));
    PyObject *protocol = profile_attribute(op, state->names._protocol, NULL);
    PyObject *name = NULL;

    if (protocol == NULL || protocol == Py_None || type == NULL) {
        Py_XDECREF(protocol);
        return type;
    }
    PyObject *class = PyType_GetQualName(Py_TYPE(protocol));
    if (class != NULL) {
        name = PyUnicode_FromFormat("%U of %U", type, class);
        Py_DECREF(class);
    }
    Py_DECREF(protocol);
    Py_DECREF(type);
    return name;
}

PyObject *
al_profile_name(al_loop_head *loop, PyObject *object, bool *is_task)
{
    al_state *state = loop->state;

    if (al_handle_check(state, object)) {
        return profile_handle_name(state, object, is_task);
    }
    *is_task =
        state->TaskType != NULL && PyObject_TypeCheck(object, state->TaskType);
    return *is_task ? profile_task_name(state, object)
                    : profile_object_name(state, object);
}

/* --- noting --------------------------------------------------------------- */

/* The entry of a name in a dict, made if it is missing. -> new reference, or
 * NULL with an exception set. */
static PyObject *
profile_find(PyObject *dict, PyObject *name)
{
    static const profile_entry empty;
    PyObject *entry, *others = NULL;

    if (PyDict_GetItemRef(dict, name, &entry) != 0) {
        return entry;
    }
    if (PyDict_GET_SIZE(dict) >= PROFILE_MOST_NAMES) {
        others = PyUnicode_FromString(PROFILE_OTHERS);
        if (others == NULL || PyDict_GetItemRef(dict, others, &entry) != 0) {
            Py_XDECREF(others);
            return entry;
        }
        name = others;
    }
    entry = PyByteArray_FromStringAndSize((const char *)&empty, sizeof(empty));
    if (entry != NULL && PyDict_SetItem(dict, name, entry) < 0) {
        Py_CLEAR(entry);
    }
    Py_XDECREF(others);
    return entry;
}

/* Set TypeError and return -1 if other code has put something else there. */
static int
profile_check(PyObject *entry)
{
    if (PyByteArray_CheckExact(entry) &&
        PyByteArray_GET_SIZE(entry) == sizeof(profile_entry))
    {
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "not a dict of a profile");
    return -1;
}

/* 0, or -1 with an exception set. */
static int
profile_note(PyObject *dict, PyObject *name, uint64_t cycles)
{
    PyObject *entry = profile_find(dict, name);

    if (entry == NULL || profile_check(entry) < 0) {
        Py_XDECREF(entry);
        return -1;
    }
    AL_LOCK(entry);
    profile_entry *fields = (profile_entry *)PyByteArray_AS_STRING(entry);
    fields->count++;
    fields->cycles += cycles;
    fields->longest = Py_MAX(fields->longest, cycles);
    AL_UNLOCK();
    Py_DECREF(entry);
    return 0;
}

void
al_profile_note(al_loop_head *loop, PyObject *name, bool is_task,
                uint64_t cycles)
{
    for (Py_ssize_t i = 0;
         loop->profiles != NULL && i < PyList_GET_SIZE(loop->profiles); i++)
    {
        PyObject *profile = PyList_GET_ITEM(loop->profiles, i);
        PyObject *dict = Py_NewRef(PyTuple_GET_ITEM(profile, is_task ? 0 : 1));
        if (profile_note(dict, name, cycles) < 0) {
            PyErr_WriteUnraisable(NULL);
        }
        Py_DECREF(dict);
    }
}

/* --- on, off, read ---------------------------------------------------------- */

PyObject *
al_profile_begin(al_loop_head *loop)
{
    PyObject *profile = Py_BuildValue("({}{})");

    if (profile != NULL && loop->profiles == NULL) {
        loop->profiles = PyList_New(0);
    }
    if (profile == NULL || loop->profiles == NULL ||
        PyList_Append(loop->profiles, profile) < 0)
    {
        Py_CLEAR(profile);
    }
    al_profile_update(loop);
    return profile;
}

int
al_profile_end(al_loop_head *loop, PyObject *profile)
{
    PyObject *profiles = loop->profiles;
    int rc = 0;

    for (Py_ssize_t i = 0; profiles != NULL && i < PyList_GET_SIZE(profiles);
         i++)
    {
        if (PyList_GET_ITEM(profiles, i) == profile) {
            rc = PyList_SetSlice(profiles, i, i + 1, NULL);
            break;
        }
    }
    if (profiles != NULL && PyList_GET_SIZE(profiles) == 0) {
        Py_CLEAR(loop->profiles);
    }
    al_profile_update(loop);
    return rc;
}

PyObject *
al_profile_read(al_state *state, PyObject *dict)
{
    double length = al_metrics_cycle_length(state);
    PyObject *items = PyDict_Items(dict);
    PyObject *result = items == NULL ? NULL : PyDict_New();

    for (Py_ssize_t i = 0; result != NULL && i < PyList_GET_SIZE(items); i++) {
        PyObject *item = PyList_GET_ITEM(items, i);
        PyObject *bytes = PyTuple_GET_ITEM(item, 1);
        profile_entry entry;
        if (profile_check(bytes) < 0) {
            Py_CLEAR(result);
            break;
        }
        AL_LOCK(bytes);
        memcpy(&entry, PyByteArray_AS_STRING(bytes), sizeof(entry));
        AL_UNLOCK();
        PyObject *figures = Py_BuildValue(
            "Kdd", (unsigned long long)entry.count,
            (double)entry.cycles * length, (double)entry.longest * length);
        if (figures == NULL ||
            PyDict_SetItem(result, PyTuple_GET_ITEM(item, 0), figures) < 0)
        {
            Py_CLEAR(result);
        }
        Py_XDECREF(figures);
    }
    Py_XDECREF(items);
    return result;
}
