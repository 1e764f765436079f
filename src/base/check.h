/* check.h - what a debug build (make debug) checks and counts, and no other. */
#ifndef AL_BASE_CHECK_H
#define AL_BASE_CHECK_H

#include "base/compat.h"

#include <stdbool.h>

#ifdef AL_DEBUG

/* Call function(...), which asserts the invariants of its file. */
#    define AL_CHECK(function, ...) function(__VA_ARGS__)

/* Invariant `number` of this file: abort where its condition is false. */
#    define AL_HOLDS(number, ...)                                             \
        ((__VA_ARGS__)                                                        \
             ? (void)0                                                        \
             : al_check_fail(__FILE__, __LINE__, number, #__VA_ARGS__))

/* An object of one of our types was made (1) or is freed (-1). */
#    define AL_COUNT(type, change) al_check_count(type, change)

void
al_check_fail(const char *file, int line, int number, const char *condition);

/* Whether to look at all of `size` things now: always where they are few, and
 * seldom where they are many. `*skipped` is the caller's, from 0 on. */
bool
al_check_is_time(size_t *skipped, size_t size);

void
al_check_count(const PyTypeObject *type, int change);

/* Have the objects counted that a new type's own tp_alloc makes. Those of a
 * Python class that derives from it are not. */
void
al_check_count_type(PyTypeObject *type);

/* _core._live(): {name of a type: how many objects of it there are}, in all
 * interpreters of the process. What is on a free list is none. */
PyObject *
al_check_live(PyObject *module, PyObject *ignored);

#else

#    define AL_CHECK(function, ...) ((void)0)
#    define AL_COUNT(type, change) ((void)0)

#endif

#endif
