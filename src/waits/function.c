/* function.c - a function in C that passes for a coroutine function.
 *
 * inspect.iscoroutinefunction(asyncio.sleep) is true, and unittest.mock makes
 * an AsyncMock of such functions.  A built-in function can have no attribute
 * that says so, as inspect.markcoroutinefunction() sets it; an object of this
 * type can.  Like a Python function it is a descriptor, and is pickled by its
 * name. */
#include "waits/function.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *dict;     /* owned, the attributes; NULL <=> none */
    PyObject *weakrefs; /* the interpreter's list */
    al_state *state;    /* owned */
    const al_function *function;
} FunctionObject;

#define FunctionObject_CAST(op) ((FunctionObject *)(op))

static PyObject *
Function_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                    PyObject *kwnames)
{
    const FunctionObject *self = FunctionObject_CAST(op);

    return self->function->call(self->state, args, PyVectorcall_NARGS(nargsf),
                                kwnames);
}

/* --- Python: methods and attributes ---------------------------------------- */

PyDoc_STRVAR(Function_reduce_doc,
             "__reduce__($self, /)\n--\n\n"
             "Return the name: it is pickled as a function is.");

static PyObject *
Function_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyUnicode_FromString(FunctionObject_CAST(op)->function->name);
}

static PyObject *
Function_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(FunctionObject_CAST(op)->function->name);
}

static PyObject *
Function_get_doc(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(FunctionObject_CAST(op)->function->doc);
}

static PyObject *
Function_descr_get(PyObject *op, PyObject *object, PyObject *Py_UNUSED(type))
{
    return object == NULL || object == Py_None ? Py_NewRef(op)
                                               : PyMethod_New(op, object);
}

static PyObject *
Function_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<function %s at %p>",
                                FunctionObject_CAST(op)->function->name, op);
}

/* --- Python: lifetime ------------------------------------------------------ */

static int
Function_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(FunctionObject_CAST(op)->dict);
    return 0;
}

static int
Function_clear(PyObject *op)
{
    Py_CLEAR(FunctionObject_CAST(op)->dict);
    return 0;
}

static void
Function_dealloc(PyObject *op)
{
    FunctionObject *self = FunctionObject_CAST(op);
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = self->state;

    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)Function_clear(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
    al_state_disown(state);
}

/* --- type ------------------------------------------------------------------ */

static PyMethodDef Function_methods[] = {
    {"__reduce__", Function_reduce, METH_NOARGS, Function_reduce_doc},
    {NULL, NULL, 0, NULL}};

static PyMemberDef Function_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FunctionObject, vectorcall),
     READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(FunctionObject, dict), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(FunctionObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

static PyGetSetDef Function_getset[] = {
    {"__name__", Function_get_name, NULL, NULL, NULL},
    {"__qualname__", Function_get_name, NULL, NULL, NULL},
    {"__doc__", Function_get_doc, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot Function_slots[] = {
    {Py_tp_dealloc, Function_dealloc}, {Py_tp_traverse, Function_traverse},
    {Py_tp_clear, Function_clear},     {Py_tp_repr, Function_repr},
    {Py_tp_call, PyVectorcall_Call},   {Py_tp_descr_get, Function_descr_get},
    {Py_tp_methods, Function_methods}, {Py_tp_members, Function_members},
    {Py_tp_getset, Function_getset},   {0, NULL}};

static PyType_Spec Function_spec = {
    .name = "asyncloop._core.CoroutineFunction",
    .basicsize = sizeof(FunctionObject),
    .flags =
        (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
         Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = Function_slots,
};

int
al_function_add(PyObject *module, const al_function *function)
{
    al_state *state = al_state_from_module(module);
    FunctionObject *self =
        PyObject_GC_New(FunctionObject, state->CoroutineFunctionType);

    if (self == NULL) {
        return -1;
    }
    self->vectorcall = Function_vectorcall;
    self->dict = self->weakrefs = NULL;
    self->state = al_state_own(state);
    self->function = function;
    PyObject_GC_Track((PyObject *)self);
    int rc = PyModule_AddObjectRef(module, function->name, (PyObject *)self);
    Py_DECREF(self);
    return rc;
}

int
al_function_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->CoroutineFunctionType =
        al_state_add_type(module, &Function_spec, NULL);
    return state->CoroutineFunctionType == NULL ? -1 : 0;
}
