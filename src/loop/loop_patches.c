/* loop_patches.c - notices what a program replaces of asyncio, and obeys it.
 *
 *     the class of the loop, a base of it  --- its version tag --- each turn
 *     asyncio's handles                    --- their version tag - each turn
 *     the code of a function           --- polls, once in 20 to 60 microseconds
 *     a name in a module                   ------- each run, some milliseconds
 *     an attribute of the loop, a queue  --- al_loop_look_soon() - next turn
 *                                  |
 *                            al_loop_look() ---> asyncloop/_patches.py: find()
 *
 * The interpreter gives a type a new version tag when it, or a base of it, has
 * changed (base/type_tag.h).  So two comparisons a turn find out that a method
 * was replaced, and a program that replaces nothing pays for no more than that.
 *
 * If something is replaced that the loop would bypass, it takes the long way.
 * The loop is patched then: its turns are BaseEventLoop._run_once(), or
 * whatever the program has put in its place, over queues that look like
 * asyncio's (loop_queues.c).  When the patch is undone, the short way is back.
 *
 * While a loop does not run, there are no turns.  So then the methods that
 * schedule compare the tag themselves: al_loop_head.must_look.
 *
 * Invariant
 *   (1) seen_tag is a tag only if turns are ours and nothing but a change of
 *       the type can make a look necessary; otherwise it is AL_LOOP_LOOK. */
#include "loop/loop.h"

#include "base/call.h"
#include "base/cycles.h"
#include "base/type_tag.h"

static inline uint64_t
patches_handles_tag(const al_state *state)
{
    return al_type_tag((PyTypeObject *)state->imports.asyncio_TimerHandle);
}

void
al_loop_look_soon(LoopObject *self)
{
    AL_STORE(self->seen_tag, AL_LOOP_LOOK);
}

void
al_loop_search_soon(LoopObject *self)
{
    AL_STORE(self->found_tag, AL_LOOP_LOOK);
    AL_STORE(self->seen_tag, AL_LOOP_LOOK);
}

/* --- what changes no class ----------------------------------------------- */

/* Whether the code of a function is not the one that it had when we were
 * imported. */
static bool
patches_has_other_code(const al_state *state)
{
    PyObject *codes = state->imports.stock_codes;

    for (Py_ssize_t i = 0; i + 1 < PyTuple_GET_SIZE(codes); i += 2) {
        if (PyFunction_GET_CODE(PyTuple_GET_ITEM(codes, i)) !=
            PyTuple_GET_ITEM(codes, i + 1))
        {
            return true;
        }
    }
    return false;
}

/* The same of that or of a name in a module. 1, 0, or -1 with an exception
 * set. */
static int
patches_find_replaced(const al_state *state)
{
    PyObject *places = state->imports.stock_places;

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(places); i++) {
        PyObject *place = PyTuple_GET_ITEM(places, i);
        int is_stock = al_call_finds(PyTuple_GET_ITEM(place, 0),
                                     PyTuple_GET_ITEM(place, 1),
                                     PyTuple_GET_ITEM(place, 2));
        if (is_stock <= 0) {
            return is_stock < 0 ? -1 : 1;
        }
    }
    return patches_has_other_code(state);
}

/* --- the search ---------------------------------------------------------- */

/* Ask find(): 0, or -1 with an exception set. */
static int
patches_find(LoopObject *self)
{
    al_loop_head *head = &self->head;
    PyObject *found = PyObject_CallOneArg(head->state->imports.find_patches,
                                          (PyObject *)self);
    long flags = found == NULL ? -1 : PyLong_AsLong(found);

    Py_XDECREF(found);
    if (flags < 0 && PyErr_Occurred()) {
        return -1;
    }
    self->patches = (unsigned int)flags;
    return al_loop_find_overrides(self);
}

/* Search again if find() itself has changed the class, or another thread has:
 * but not for ever. */
#define PATCHES_MOST_SEARCHES 4

static int
patches_search(LoopObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    const al_state *state = self->head.state;
    uint64_t before, handles;
    int searches = 0;

    do {
        if (al_type_give_tag(type, state->names._run_once) < 0 ||
            al_type_give_tag(
                (PyTypeObject *)state->imports.asyncio_TimerHandle,
                state->names.cancel) < 0)
        {
            return -1;
        }
        before = al_type_tag(type);
        handles = patches_handles_tag(state);
        if (patches_find(self) < 0) {
            return -1;
        }
    } while ((al_type_tag(type) != before ||
              patches_handles_tag(state) != handles) &&
             ++searches < PATCHES_MOST_SEARCHES);
    self->found_tag = before;
    self->seen_handles = handles;
    self->found_replaced = patches_find_replaced(state) != 0;
    PyErr_Clear();
    return 0;
}

/* Whether the type and the handles are as they were at the last search. */
static bool
patches_is_known(const LoopObject *self)
{
    uint64_t tag = AL_LOAD(self->found_tag);

    return tag != AL_LOOP_LOOK && self->seen_handles != AL_LOOP_LOOK &&
           tag == al_type_tag(Py_TYPE(self)) &&
           self->seen_handles == patches_handles_tag(self->head.state);
}

static int
patches_look(LoopObject *self)
{
    al_loop_head *head = &self->head;

    if (!patches_is_known(self) && patches_search(self) < 0) {
        return -1;
    }
    if (al_loop_has_given_queues(self) && al_loop_take_back(self) < 0) {
        return -1;
    }
    head->is_patched = (self->patches & ~AL_PATCHES_RUN_ONCE) != 0 ||
                       al_loop_has_given_queues(self);
    al_loop_update_direct(head);
    AL_STORE(self->seen_tag, self->patches != 0 || head->is_patched
                                 ? AL_LOOP_LOOK
                                 : self->found_tag); /* by (1) */
    return 0;
}

int
al_loop_look(LoopObject *self)
{
    int rc;

    AL_LOCK((PyObject *)self);
    rc = patches_look(self);
    AL_UNLOCK();
    return rc;
}

/* --- when to look -------------------------------------------------------- */

/* Names in modules are looked up once in this many al_cycles_budget(), some
 * milliseconds: there are dictionaries to ask. */
#define PATCHES_SEARCH_BUDGETS 128

int
al_loop_look_within_run(LoopObject *self, uint64_t now)
{
    const al_state *state = self->head.state;
    int is_replaced;

    self->last_codes = now;
    if (AL_LIKELY(now - self->last_search <=
                  PATCHES_SEARCH_BUDGETS * al_cycles_budget()))
    {
        is_replaced = patches_has_other_code(state) && !self->found_replaced;
    }
    else {
        self->last_search = now;
        is_replaced = patches_find_replaced(state);
        if (is_replaced < 0) {
            return -1;
        }
        is_replaced = is_replaced || self->found_replaced;
    }
    if (AL_LIKELY(!is_replaced)) {
        return 0;
    }
    al_loop_search_soon(self);
    return al_loop_look(self);
}

int
al_loop_look_for_run(LoopObject *self)
{
    int is_replaced = patches_find_replaced(self->head.state);

    if (is_replaced < 0) {
        return -1;
    }
    if (is_replaced || self->patches != 0) {
        al_loop_search_soon(self);
    }
    return al_loop_must_look(self) ? al_loop_look(self) : 0;
}

/* If the last search has found nothing for a loop of the same type, it need not
 * be repeated. */
static bool
patches_is_type_known(LoopObject *self)
{
    al_state *state = self->head.state;
    PyTypeObject *type = Py_TYPE(self);
    bool is_known;

    AL_LOCK((PyObject *)state->LoopType);
    is_known = type == state->unpatched_type &&
               al_type_tag(type) == state->unpatched_tag &&
               patches_handles_tag(state) == state->unpatched_handles;
    if (is_known) {
        self->seen_tag = self->found_tag = state->unpatched_tag;
        self->seen_handles = state->unpatched_handles;
    }
    AL_UNLOCK();
    return is_known;
}

/* A search has found nothing. */
static void
patches_note_type(const LoopObject *self)
{
    al_state *state = self->head.state;

    AL_LOCK((PyObject *)state->LoopType);
    state->unpatched_type = Py_TYPE(self);
    state->unpatched_tag = self->found_tag;
    state->unpatched_handles = self->seen_handles;
    AL_UNLOCK();
}

int
al_loop_patches_init(LoopObject *self)
{
    al_loop_search_soon(self);
    int is_replaced = patches_find_replaced(self->head.state);
    if (is_replaced < 0) {
        return -1;
    }
    if (!is_replaced && patches_is_type_known(self)) {
        al_loop_update_direct(&self->head);
        return 0;
    }
    if (al_loop_look(self) < 0) {
        return -1;
    }
    if (!is_replaced && self->patches == 0 && self->head.overrides == 0 &&
        self->seen_tag != AL_LOOP_LOOK)
    {
        patches_note_type(self);
    }
    return 0;
}

bool
al_loop_is_stale(LoopObject *self, bool all)
{
    if (all &&
        (patches_find_replaced(self->head.state) != 0) != self->found_replaced)
    {
        PyErr_Clear();
        al_loop_search_soon(self);
    }
    return al_loop_must_look(self);
}

bool
al_loop_look_before_push(al_loop_head *head)
{
    LoopObject *self = (LoopObject *)head;

    if (al_loop_must_look(self)) {
        PyObject *raised = PyErr_GetRaisedException();
        Py_INCREF(self);
        if (al_loop_look(self) < 0) {
            PyErr_Clear();
            AL_STORE(head->must_look, false);
        }
        if (Py_REFCNT(self) == 1) { /* the caller has only borrowed it */
            Py_DECREF(self);
            PyErr_SetRaisedException(raised);
            return false;
        }
        Py_DECREF(self);
        PyErr_SetRaisedException(raised);
    }
    return AL_LOAD(head->must_look);
}

PyObject *
al_loop_call_base(al_loop_head *head, PyObject *name, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t total =
        nargs + (kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **stack = PyMem_New(PyObject *, (size_t)total + 2);
    if (stack == NULL) {
        return PyErr_NoMemory();
    }
    stack[0] = head->state->imports.BaseEventLoop;
    stack[1] = (PyObject *)head;
    for (Py_ssize_t i = 0; i < total; i++) {
        stack[i + 2] = args[i];
    }
    PyObject *result =
        PyObject_VectorcallMethod(name, stack, (size_t)nargs + 2, kwnames);
    PyMem_Free(stack);
    return result;
}

PyDoc_STRVAR(Loop__look_soon_doc,
             "_look_soon($self, /)\n--\n\n"
             "Before the next turn, find out what the program has replaced.");

static PyObject *
Loop__look_soon(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_search_soon(LoopObject_CAST(op));
    Py_RETURN_NONE;
}

PyMethodDef al_loop_patches_methods[] = {
    {"_look_soon", Loop__look_soon, METH_NOARGS, Loop__look_soon_doc},
    {NULL, NULL, 0, NULL}};
