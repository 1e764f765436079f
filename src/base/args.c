/* args.c - one parser for METH_FASTCALL | METH_KEYWORDS methods. */
#include "base/args.h"

/* Put a keyword argument in its place: 0, or -1 with TypeError set. */
static int
args_take_keyword(const al_signature *signature, PyObject *name,
                  PyObject *value, PyObject **out)
{
    for (int i = signature->positional_only; signature->names[i] != NULL; i++)
    {
        if (!PyUnicode_EqualToUTF8(name, signature->names[i])) {
            continue;
        }
        if (out[i] != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got multiple values for argument '%U'",
                         signature->function, name);
            return -1;
        }
        out[i] = value;
        return 0;
    }
    PyErr_Format(PyExc_TypeError,
                 "%s() got an unexpected keyword argument '%U'",
                 signature->function, name);
    return -1;
}

/* Take the positional arguments and clear the rest of `out`. */
static int
args_take_positional(const al_signature *signature, PyObject *const *args,
                     Py_ssize_t nargs, PyObject **out)
{
    if (nargs > signature->positional) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most %d positional argument%s (%zd given)",
                     signature->function, signature->positional,
                     signature->positional == 1 ? "" : "s", nargs);
        return -1;
    }
    for (int i = 0; signature->names[i] != NULL; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    return 0;
}

static int
args_check_required(const al_signature *signature, PyObject **out)
{
    for (int i = 0; i < signature->required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing required argument: '%s'",
                         signature->function, signature->names[i]);
            return -1;
        }
    }
    return 0;
}

int
al_args_parse(const al_signature *signature, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames, PyObject **out)
{
    if (args_take_positional(signature, args, nargs, out) < 0) {
        return -1;
    }
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < nkw; i++) {
        if (args_take_keyword(signature, PyTuple_GET_ITEM(kwnames, i),
                              args[nargs + i], out) < 0)
        {
            return -1;
        }
    }
    return args_check_required(signature, out);
}

int
al_args_parse_tuple(const al_signature *signature, PyObject *args,
                    PyObject *kwargs, PyObject **out)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;

    if (args_take_positional(signature, &PyTuple_GET_ITEM(args, 0),
                             PyTuple_GET_SIZE(args), out) < 0)
    {
        return -1;
    }
    while (kwargs != NULL && PyDict_Next(kwargs, &position, &name, &value)) {
        if (args_take_keyword(signature, name, value, out) < 0) {
            return -1;
        }
    }
    return args_check_required(signature, out);
}
