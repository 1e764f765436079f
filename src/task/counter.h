/* counter.h - the number in the name of a task that is given none. */
#ifndef AL_TASK_COUNTER_H
#define AL_TASK_COUNTER_H

#include "base/state.h"

static inline uint64_t
al_counter_next(al_state *state)
{
    return ++*state->task_counter;
}

/* _core._learn_task_counter(make): find the counter of stock tasks, to count
 * ours by it, too. make() makes a stock task without a name and returns its
 * number. -> bool: found. */
PyObject *
al_counter_learn(PyObject *module, PyObject *make);

#endif
