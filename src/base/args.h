/* args.h - one parser for METH_FASTCALL | METH_KEYWORDS methods.
 *
 *     static const al_signature sig = {
 *         "sock_recv", AL_ARGS("sock", "n"), .required = 2, .positional = 2};
 *     PyObject *a[2];
 *     if (al_args_parse(&sig, args, nargs, kwnames, a) < 0) { return NULL; }
 */
#ifndef AL_BASE_ARGS_H
#define AL_BASE_ARGS_H

#include "base/compat.h"

#define AL_ARGS_MAX 8

typedef struct {
    const char *function;
    const char *names[AL_ARGS_MAX + 1]; /* NULL-terminated */
    int required;        /* the first so many must be given (if positional) */
    int positional;      /* the first so many may be given by position */
    int positional_only; /* the first so many may not be given by name */
} al_signature;

#define AL_ARGS(...) {__VA_ARGS__, NULL}

/* The two fields of such a method in a PyMethodDef. */
#define AL_KEYWORDS(function)                                                 \
    (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

/* Fill `out`, one borrowed reference a name, NULL where not given.
 * 0, or -1 with TypeError set. */
AL_NODISCARD int
al_args_parse(const al_signature *signature, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames, PyObject **out);

/* The one argument of a method that takes one, by position or by name.
 * -> borrowed, or NULL with TypeError set. */
static inline PyObject *
al_args_one(const al_signature *signature, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *argument;

    if (AL_LIKELY(nargs == 1 && kwnames == NULL)) {
        return args[0];
    }
    return al_args_parse(signature, args, nargs, kwnames, &argument) < 0
               ? NULL
               : argument;
}

/* al_args_parse() for tp_init and tp_new, which get a tuple and a dict. */
AL_NODISCARD int
al_args_parse_tuple(const al_signature *signature, PyObject *args,
                    PyObject *kwargs, PyObject **out);

#endif
