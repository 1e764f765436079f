/* hook.c - lets one allocation of the interpreter fail, and knows which it was.
 *
 *     PyMem_RawMalloc(), PyMem_Malloc(), PyObject_Malloc() ...
 *                 |
 *             hook: is it the nth of this thread? ---> NULL
 *                 |
 *          the interpreter's own allocators
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#define MOST_FRAMES 64

static struct {
    PyMemAllocatorEx real[3];
    bool is_installed;
    bool is_armed;
    pthread_t thread;
    unsigned long point; /* the first that fails, from 1 */
    unsigned long count; /* how many do */
    unsigned long seen;
    unsigned long failed;
    unsigned long raised; /* MemoryErrors that went through Python code */
    void *frames[MOST_FRAMES]; /* of the one that failed */
    int depth;
    int crash_fd;
    struct sigaction before[NSIG];
} hook;

/* --- the allocators ------------------------------------------------------ */

static bool
hook_fails(void)
{
    if (!hook.is_armed || !pthread_equal(hook.thread, pthread_self()) ||
        ++hook.seen < hook.point || hook.seen - hook.point >= hook.count)
    {
        return false;
    }
    if (hook.failed++ == 0) {
        hook.depth = backtrace(hook.frames, MOST_FRAMES);
    }
    return true;
}

static void *
hook_malloc(void *ctx, size_t size)
{
    PyMemAllocatorEx *real = ctx;

    return hook_fails() ? NULL : real->malloc(real->ctx, size);
}

static void *
hook_calloc(void *ctx, size_t count, size_t size)
{
    PyMemAllocatorEx *real = ctx;

    return hook_fails() ? NULL : real->calloc(real->ctx, count, size);
}

static void *
hook_realloc(void *ctx, void *memory, size_t size)
{
    PyMemAllocatorEx *real = ctx;

    return hook_fails() ? NULL : real->realloc(real->ctx, memory, size);
}

static void
hook_free(void *ctx, void *memory)
{
    PyMemAllocatorEx *real = ctx;

    real->free(real->ctx, memory);
}

static void
hook_install(void)
{
    static const PyMemAllocatorDomain domains[3] = {
        PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};

    if (hook.is_installed) {
        return;
    }
    hook.is_installed = true;
    hook.depth = backtrace(hook.frames, MOST_FRAMES); /* loads what it needs */
    for (int i = 0; i < 3; i++) {
        PyMem_GetAllocator(domains[i], &hook.real[i]);
        PyMemAllocatorEx ours = {&hook.real[i], hook_malloc, hook_calloc,
                                 hook_realloc, hook_free};
        PyMem_SetAllocator(domains[i], &ours);
    }
}

/* --- what goes through Python code --------------------------------------- */

static int
hook_trace(PyObject *Py_UNUSED(self), PyFrameObject *Py_UNUSED(frame),
           int what, PyObject *arg)
{
    if (what == PyTrace_EXCEPTION && arg != NULL && PyTuple_Check(arg) &&
        PyErr_GivenExceptionMatches(PyTuple_GET_ITEM(arg, 0),
                                    PyExc_MemoryError))
    {
        hook.raised++;
    }
    return 0;
}

/* --- crashes ------------------------------------------------------------- */

/* Tell where, and where the allocation has failed, then leave it to who was to
 * handle it before. */
static void
hook_on_crash(int number)
{
    static const char middle[] = "after the failure at\n";
    void *here[MOST_FRAMES];
    int depth = backtrace(here, MOST_FRAMES);

    backtrace_symbols_fd(here, depth, hook.crash_fd);
    (void)!write(hook.crash_fd, middle, sizeof(middle) - 1);
    backtrace_symbols_fd(hook.frames, hook.depth, hook.crash_fd);
    (void)sigaction(number, &hook.before[number], NULL);
    (void)raise(number);
}

/* --- to Python ----------------------------------------------------------- */

/* arm(point, count, traced): let so many allocations of this thread fail, from
 * the nth on. */
static PyObject *
arm(PyObject *Py_UNUSED(module), PyObject *args)
{
    int traced;

    hook_install();
    if (!PyArg_ParseTuple(args, "kkp:arm", &hook.point, &hook.count, &traced)) {
        return NULL;
    }
    PyEval_SetTrace(traced ? hook_trace : NULL, NULL);
    hook.thread = pthread_self();
    hook.seen = hook.failed = hook.raised = 0;
    hook.depth = 0;
    hook.is_armed = true;
    Py_RETURN_NONE;
}

/* disarm() -> how many were seen, how many have failed, how many MemoryErrors
 * went through Python code */
static PyObject *
disarm(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    hook.is_armed = false;
    PyEval_SetTrace(NULL, NULL);
    return Py_BuildValue("kkk", hook.seen, hook.failed, hook.raised);
}

/* frames() -> where the failure was, from the inside: for each frame the path of
 * its object file, the name of a symbol or None, and its place in the file. */
static PyObject *
frames(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);

    for (int i = 0; list != NULL && i < hook.depth; i++) {
        Dl_info info = {0};
        if (dladdr(hook.frames[i], &info) == 0) {
            continue;
        }
        PyObject *frame = Py_BuildValue(
            "szk", info.dli_fname, info.dli_sname,
            (unsigned long)((char *)hook.frames[i] - (char *)info.dli_fbase));
        if (frame == NULL || PyList_Append(list, frame) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(frame);
    }
    return list;
}

/* tell_crashes(fd): write to it where the process was when a signal ends it. */
static PyObject *
tell_crashes(PyObject *Py_UNUSED(module), PyObject *fd)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    struct sigaction action = {.sa_handler = hook_on_crash,
                               .sa_flags = SA_NODEFER};

    hook.crash_fd = PyObject_AsFileDescriptor(fd);
    if (hook.crash_fd < 0) {
        return NULL;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(numbers); i++) {
        (void)sigaction(numbers[i], &action, &hook.before[numbers[i]]);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"arm", arm, METH_VARARGS, NULL},
                                {"disarm", disarm, METH_NOARGS, NULL},
                                {"frames", frames, METH_NOARGS, NULL},
                                {"tell_crashes", tell_crashes, METH_O, NULL},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT, .m_name = "hook", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC
PyInit_hook(void)
{
    return PyModule_Create(&module_def);
}
