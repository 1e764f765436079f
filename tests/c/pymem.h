/* pymem.h - Python's allocator for programs without Python: it counts the
 * blocks, and may have no memory. Each block is a block of malloc(), so that
 * AddressSanitizer knows its ends. */
#ifndef PYMEM_H
#define PYMEM_H

#include "base/compat.h"

static long pymem_blocks; /* that are not freed */
static int pymem_fails;   /* have no memory */

void *
PyMem_Malloc(size_t size)
{
    void *block = pymem_fails ? NULL : malloc(size == 0 ? 1 : size);

    pymem_blocks += block != NULL;
    return block;
}

/* (AddressSanitizer always moves the block.) */
void *
PyMem_Realloc(void *old, size_t size)
{
    if (old == NULL) {
        return PyMem_Malloc(size);
    }
    return pymem_fails ? NULL : realloc(old, size);
}

void
PyMem_Free(void *block)
{
    pymem_blocks -= block != NULL;
    free(block);
}

#endif
