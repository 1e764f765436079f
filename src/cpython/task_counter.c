/* task_counter.c - finds asyncio's counter of tasks without a name.
 *
 *     asyncio.Task() ---> +---------+
 *                         | counter | ---> "Task-<number>"
 *     Task() -----------> +---------+
 *
 * asyncio's C code has a counter of its own. With a second one, a program with
 * tasks of both kinds would have some names twice. So we find asyncio's at
 * import: we make a few stock tasks, and look for the word in _asyncio's
 * memory that has the number of each. Then we set it back, as if there had
 * been no tasks. If there is no such word, or more than one, we use a counter
 * of our own. */
#include "cpython/task_counter.h"

#include <link.h>

/* More than one, because a word may have the number by chance. */
#define COUNTER_ROUNDS 4

/* The memory to search. */
typedef struct {
    uint64_t *words; /* borrowed, NULL <=> count is 0 */
    size_t count;
} counter_memory;

/* --- up to 3.11: the static variables of _asyncio ------------------------ */

typedef struct {
    uintptr_t address; /* of one of these variables */
    counter_memory found;
} counter_search;

/* Called for each shared object in memory. 1 ends the search. */
static int
counter_search_object(struct dl_phdr_info *object, size_t Py_UNUSED(size),
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

/* The data segment that contains `type`. */
static counter_memory
counter_find_segment(PyTypeObject *type)
{
    counter_search search = {(uintptr_t)type, {NULL, 0}};

    (void)dl_iterate_phdr(counter_search_object, &search);
    return search.found;
}

/* --- from 3.12: the state of _asyncio ------------------------------------ */

/* The state of the module that defines `type`, which we own from now on. */
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

/* Make a stock task. -> its number; 0 with an exception set */
static uint64_t
counter_make_task(PyObject *helper)
{
    PyObject *result = PyObject_CallMethod(helper, "make_task", NULL);
    uint64_t number = result == NULL ? 0 : PyLong_AsUnsignedLongLong(result);

    Py_XDECREF(result);
    return PyErr_Occurred() ? 0 : number;
}

/* Keep the places whose word is `number` now. -> how many */
__attribute__((no_sanitize("address"))) static size_t
counter_keep_equal(uint64_t **places, size_t count, uint64_t number)
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
        count = counter_keep_equal(places, count, number);
    }
    if (count != 1) {
        return NULL;
    }
    if (last - first == COUNTER_ROUNDS - 1) { /* only we made tasks */
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
