/* type_tag.h - tells whether a type, or a base of it, has changed.
 *
 * The interpreter gives a type a new version tag after each change, when an
 * attribute is looked up in it.  From 3.13 on it gives each type 1,000 of them.
 * So a type may have none any longer, in a program that replaces methods again
 * and again, as tests with mocks do.  Then a sum of its attributes stands in
 * for the tag; it takes microseconds. */
#ifndef AL_BASE_TYPE_TAG_H
#define AL_BASE_TYPE_TAG_H

#include "base/threads.h"

/* The sum. It has more than 32 bits, as no tag has, and is not UINT64_MAX. */
uint64_t
al_type_sum(PyTypeObject *type);

/* It calls no Python code. */
static inline uint64_t
al_type_tag(PyTypeObject *type)
{
    uint64_t tag = AL_LOAD(type->tp_version_tag);

    return AL_LIKELY(tag != 0) ? tag : al_type_sum(type);
}

/* Let the type have a tag, if there is one left: look up a name that it has. 0,
 * or -1 with an exception set. */
AL_NODISCARD int
al_type_give_tag(PyTypeObject *type, PyObject *name);

#endif
