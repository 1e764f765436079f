/* check.c - what a debug build (make debug) checks and counts, and no other. */
#include "base/check.h"

#ifdef AL_DEBUG

void
al_check_fail(const char *file, int line, int number, const char *condition)
{
    fprintf(stderr, "%s:%d: invariant (%d) does not hold: %s\n", file, line,
            number, condition);
    abort();
}

/* A check of so many things may follow each change. */
#    define CHECK_FEW 64

bool
al_check_is_time(size_t *skipped, size_t size)
{
    *skipped += CHECK_FEW;
    if (*skipped < size) {
        return false;
    }
    *skipped = 0;
    return true;
}

/* --- live objects --------------------------------------------------------- */

/* A type is freed and made anew with its interpreter, so they go by name. */
static struct {
    const char *name;
    Py_ssize_t live;
} check_counts[] = {
    {"Awaitable", 0},
    {"BoundedSemaphore", 0},
    {"Condition", 0},
    {"DatagramTransport", 0},
    {"Entry", 0},
    {"Event", 0},
    {"Future", 0},
    {"FutureChain", 0},
    {"FutureIter", 0},
    {"Gathering", 0},
    {"Handle", 0},
    {"Listener", 0},
    {"Lock", 0},
    {"Loop", 0},
    {"Queue", 0},
    {"ReadPipeTransport", 0},
    {"ReadyQueue", 0},
    {"SSLProtocol", 0},
    {"SSLTransport", 0},
    {"Semaphore", 0},
    {"Shielding", 0},
    {"SockOp", 0},
    {"SocketTransport", 0},
    {"StreamReader", 0},
    {"StreamWriter", 0},
    {"Task", 0},
    {"TaskGroup", 0},
    {"Timeout", 0},
    {"TimerHandle", 0},
    {"Waiting", 0},
    {"Watchdog", 0},
    {"WritePipeTransport", 0},
};

void
al_check_count(const PyTypeObject *type, int change)
{
    const char *name = strrchr(type->tp_name, '.') + 1;

    for (size_t i = 0; i < Py_ARRAY_LENGTH(check_counts); i++) {
        if (strcmp(check_counts[i].name, name) == 0) {
            /* Interpreters with a GIL of their own count at the same time. */
            Py_ssize_t live = __atomic_add_fetch(&check_counts[i].live, change,
                                                 __ATOMIC_RELAXED);
            assert(live >= 0);
            return;
        }
    }
    assert(!"a type that is not in the table");
}

static PyObject *
check_alloc(PyTypeObject *type, Py_ssize_t n)
{
    PyObject *op = PyType_GenericAlloc(type, n);

    if (op != NULL) {
        al_check_count(type, 1);
    }
    return op;
}

static void
check_free(void *op)
{
    al_check_count(Py_TYPE((PyObject *)op), -1);
    PyObject_GC_Del(op);
}

void
al_check_count_type(PyTypeObject *type)
{
    type->tp_alloc = check_alloc;
    type->tp_free = check_free;
}

PyObject *
al_check_live(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyObject *counts = PyDict_New();

    for (size_t i = 0; counts != NULL && i < Py_ARRAY_LENGTH(check_counts);
         i++)
    {
        PyObject *live = PyLong_FromSsize_t(check_counts[i].live);
        if (live == NULL ||
            PyDict_SetItemString(counts, check_counts[i].name, live) < 0)
        {
            Py_CLEAR(counts);
        }
        Py_XDECREF(live);
    }
    return counts;
}

#endif
