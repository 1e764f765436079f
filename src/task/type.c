/* type.c - makes the types Future and Task, and frees objects of them.
 *
 *     Future --> _asyncio.Future            the same struct: cpython/layout.h
 *     Task ----> _asyncio.Task, Future
 *
 * Before 3.12 asyncio's types are static, and do not visit a heap type that
 * derives from them. */
#include "task/type.h"

#include "task/registry.h"

static void
type_dealloc(PyObject *op);

/* asyncio's class that our type derives from. `op` is an object of our type,
 * or of a Python class that derives from it. -> borrowed */
static inline PyTypeObject *
type_stock(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    while (type->tp_dealloc != type_dealloc) {
        type = type->tp_base;
    }
    return type->tp_base;
}

/* --- slots --------------------------------------------------------------- */

/* Note that cancel() is overridden on an object. */
static int
type_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(op, name, value) < 0) {
        return -1;
    }
    if (PyUnicode_CompareWithASCIIString(name, "cancel") == 0) {
        al_state *state = al_state_find(Py_TYPE(op));
        if (state != NULL) {
            state->cancel_is_overridden = true;
        }
    }
    return 0;
}

static void
type_finalize(PyObject *op)
{
    /* asyncio's finaliser needs a loop and a type that were not cleared. */
    if (al_future_of(op)->loop != NULL && Py_TYPE(op)->tp_mro != NULL) {
        type_stock(op)->tp_finalize(op);
    }
}

static inline bool
type_is_task(const PyTypeObject *stock)
{
    return stock->tp_basicsize == sizeof(al_task);
}

/* Whether the finaliser will report something. */
static inline bool
type_will_report(PyObject *op, const PyTypeObject *stock)
{
    const al_future *self = al_future_of(op);

    return self->log_tb ||
           (self->state == AL_FUTURE_PENDING && type_is_task(stock) &&
            AL_TASK_FLAGS(al_task_of(op))->log_destroy_pending);
}

static void
type_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyTypeObject *stock = type_stock(op);

    /* The finaliser may call __init__ again: then the object is pending. */
    if (AL_UNLIKELY(type_will_report(op, stock)) &&
        PyObject_CallFinalizerFromDealloc(op) < 0)
    {
        return; /* resurrected */
    }
    PyObject_GC_UnTrack(
        op); /* first: without a GIL, what follows may collect */
    if (AL_LIKELY(type_is_task(stock))) {
        al_registry_remove(op);
    }
    AL_TRASHCAN_BEGIN(op, type_dealloc) /* chains of futures may be long */
    PyObject_ClearWeakRefs(op);
    (void)stock->tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    AL_TRASHCAN_END
}

static int
type_traverse(PyObject *op, visitproc visit, void *arg)
{
    if (!AL_FUTURE_BASE_IS_HEAP) {
        Py_VISIT(Py_TYPE(op));
    }
    return type_stock(op)->tp_traverse(op, visit, arg);
}

static int
type_clear(PyObject *op)
{
    const PyTypeObject *stock = type_stock(op);

    /* Its loop will not be known when it is freed. */
    if (type_is_task(stock) && al_list_is_linked(al_task_node(op))) {
        al_registry_count(op, 0, 1);
    }
    return stock->tp_clear(op);
}

static const PyType_Slot type_slots[] = {
    {Py_tp_setattro, type_setattro},   {Py_tp_iter, al_future_iter_new},
    {Py_am_await, al_future_iter_new}, {Py_tp_traverse, type_traverse},
    {Py_tp_clear, type_clear},         {Py_tp_finalize, type_finalize},
    {Py_tp_dealloc, type_dealloc}};

/* --- making a type ------------------------------------------------------- */

/* Copy to `type` the methods of asyncio's class that it does not have: the
 * interpreter specialises calls of a type's own methods alone. (Methods with a
 * defining class cannot be copied.) 0, or -1 with an exception set. */
static int
type_copy_methods(PyTypeObject *type, PyTypeObject *stock)
{
    PyObject *name, *value;
    Py_ssize_t pos = 0;

    while (PyDict_Next(stock->tp_dict, &pos, &name, &value)) {
        if (!Py_IS_TYPE(value, &PyMethodDescr_Type)) {
            continue;
        }
        PyMethodDef *method = ((PyMethodDescrObject *)value)->d_method;
        int has_own = PyDict_Contains(type->tp_dict, name);
        if (has_own < 0) {
            return -1;
        }
        if (has_own || (method->ml_flags & METH_METHOD)) {
            continue;
        }
        PyObject *copy = PyDescr_NewMethod(type, method);
        if (copy == NULL || PyDict_SetItem(type->tp_dict, name, copy) < 0) {
            Py_XDECREF(copy);
            return -1;
        }
        Py_DECREF(copy);
    }
    PyType_Modified(type);
    return 0;
}

int
al_type_add(PyObject *module, const char *name, PyObject *stock,
            PyTypeObject *mixin, size_t size, const PyType_Slot *slots,
            PyTypeObject **type)
{
    PyType_Slot all[Py_ARRAY_LENGTH(type_slots) + 8];
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)size,
        .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE |
                  Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC),
        .slots = all,
    };
    size_t count = Py_ARRAY_LENGTH(type_slots);

    if (!al_state_from_module(module)->layout.futures) {
        return PyModule_AddObjectRef(module, strrchr(name, '.') + 1, stock);
    }
    memcpy(all, type_slots, sizeof(type_slots));
    do {
        assert(count < Py_ARRAY_LENGTH(all));
        all[count++] = *slots;
    } while (slots++->slot != 0);
    PyObject *bases = mixin != NULL ? PyTuple_Pack(2, stock, (PyObject *)mixin)
                                    : PyTuple_Pack(1, stock);
    if (bases == NULL) {
        return -1;
    }
    *type = al_state_add_type(module, &spec, bases);
    Py_DECREF(bases);
    return *type == NULL ? -1
                         : type_copy_methods(*type, (PyTypeObject *)stock);
}
