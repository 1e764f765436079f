/* task_counter.c - finding asyncio's counter of the tasks that are given no name.
 *
 *     asyncio.Task() ---> +---------+
 *                         | counter | ---> "Task-<number>"
 *     Task() -----------> +---------+
 *
 * asyncio's C code has a counter of its own. Ours would give some names twice in
 * a program with tasks of both kinds, so we look for that one at import: a few
 * stock tasks are made, and it is the word in _asyncio's memory that has the
 * number of each. Then it is set back, as if they had not been. If there is no
 * such word, or more than one, we have a counter of our own. */
#include "cpython/task_counter.h"

#include <link.h>

/* Several, as a word may have a number by chance. */
#define COUNTER_ROUNDS 4

/* Where to look. */
typedef struct {
    uint64_t *words; /* borrowed, NULL <=> nowhere */
    size_t count;
} counter_memory;

/* --- _asyncio's memory, up to 3.11: static ------------------------------- */

typedef struct {
    uintptr_t address; /* of something that is part of it */
    counter_memory found;
} counter_search;

static int
counter_look_at_object(struct dl_phdr_info *object, size_t Py_UNUSED(size),
                       void *arg)
{
    counter_search *search = arg;

    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
        uintptr_t end = begin + segment->p_memsz;
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) != 0 &&
            search->address >= begin && search->address < end)
        {
            begin = (begin + 7) & ~(uintptr_t)7;
            search->found.words = (uint64_t *)begin;
            search->found.count = (end - begin) / sizeof(uint64_t);
            return 1;
        }
    }
    return 0;
}

/* The data segment that `type` is in. */
static counter_memory
counter_find_segment(PyTypeObject *type)
{
    counter_search search = {(uintptr_t)type, {NULL, 0}};

    (void)dl_iterate_phdr(counter_look_at_object, &search);
    return search.found;
}

/* --- from 3.12: the module's state --------------------------------------- */

/* That of the module that `type` is of, which we own from here on. */
static counter_memory
counter_find_module_state(al_state *state, PyTypeObject *type)
{
    PyObject *module = PyType_GetModule(type);
    PyModuleDef *def = module == NULL ? NULL : PyModule_GetDef(module);

    if (def == NULL || PyModule_GetState(module) == NULL) {
        PyErr_Clear();
        return (counter_memory){NULL, 0};
    }
    Py_XSETREF(state->asyncio_module, Py_NewRef(module));
    return (counter_memory){PyModule_GetState(module),
                            (size_t)def->m_size / sizeof(uint64_t)};
}

/* --- the search ---------------------------------------------------------- */

/* The number of a stock task that is made now; 0 with an exception set. */
static uint64_t
counter_make_task(PyObject *helper)
{
    PyObject *result = PyObject_CallMethod(helper, "make_task", NULL);
    uint64_t number = result == NULL ? 0 : PyLong_AsUnsignedLongLong(result);

    Py_XDECREF(result);
    return PyErr_Occurred() ? 0 : number;
}

/* Keep those of `places` that have `number` now. -> how many */
__attribute__((no_sanitize("address"))) static size_t
counter_sift(uint64_t **places, size_t count, uint64_t number)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (*places[i] == number) {
            places[kept++] = places[i];
        }
    }
    return kept;
}

/* -> the counter, or NULL. May leave an exception set. */
static uint64_t *
counter_search_memory(counter_memory memory, uint64_t **places,
                      PyObject *helper)
{
    uint64_t first = 0, last = 0;
    size_t count = memory.count;

    for (size_t i = 0; i < count; i++) {
        places[i] = &memory.words[i];
    }
    for (int round = 0; round < COUNTER_ROUNDS; round++) {
        uint64_t number = counter_make_task(helper);
        if (number <= last) {
            return NULL;
        }
        first = round == 0 ? number : first;
        last = number;
        count = counter_sift(places, count, number);
    }
    if (count != 1) {
        return NULL;
    }
    if (last - first == COUNTER_ROUNDS - 1) { /* else others took some */
        *places[0] = first - 1;
    }
    return places[0];
}

void
al_task_counter_learn(al_state *state, PyObject *helper)
{
    PyTypeObject *type = (PyTypeObject *)state->imports.asyncio_Task;
    counter_memory memory = AL_ASYNCIO_IS_STATIC
                                ? counter_find_segment(type)
                                : counter_find_module_state(state, type);
    uint64_t **places = PyMem_New(uint64_t *, memory.count);

    if (places != NULL) {
        uint64_t *found = counter_search_memory(memory, places, helper);
        if (found != NULL) {
            state->layout.task_counter = found;
        }
        PyMem_Free(places);
    }
    PyErr_Clear();
}
