/* task_object.h - the struct of a Task and its node in a list of tasks. */
#ifndef AL_TASK_TASK_OBJECT_H
#define AL_TASK_TASK_OBJECT_H

#include "base/list.h"
#include "task/future.h"

static inline al_task *
al_task_of(PyObject *op)
{
    return (al_task *)op;
}

/* A pending task is in a list (registry.c): from 3.14 in the interpreter's,
 * before that in ours, whose node follows asyncio's struct. */
#if AL_HAS_AWAITED_BY
#    define AL_TASK_SIZE sizeof(al_task)
#else
#    define AL_TASK_SIZE (sizeof(al_task) + sizeof(al_list))
#endif

static inline al_list *
al_task_node(PyObject *op)
{
#if AL_HAS_AWAITED_BY
    return &al_task_of(op)->node;
#else
    return (al_list *)(al_task_of(op) + 1);
#endif
}

#endif
