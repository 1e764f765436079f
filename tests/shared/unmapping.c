/* unmapping.c - to be preloaded: what calloc() gave and free() took back cannot be touched any more.
 *
 * Blocks of 1 to 64 KiB have pages of their own, which nobody gets again. So a use of one that is freed crashes, where a
 * write could go unnoticed, as the debug hooks of Python overwrite what is freed, but do not look at it. */
#define _GNU_SOURCE
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA ((size_t)1 << 32)
#define PAGE ((size_t)4096)
#define HEAD ((size_t)16) /* of each block: its size in bytes, head and rest of the last page included */

void *__libc_calloc(size_t, size_t);
void *__libc_malloc(size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);

static char *arena;
static size_t used;

static int
is_ours(const void *block)
{
    return arena != NULL && (const char *)block >= arena && (const char *)block < arena + ARENA;
}

void *
calloc(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes < 1024 || bytes > 65536) {
        return __libc_calloc(count, size);
    }
    if (arena == NULL) {
        void *start = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (start == MAP_FAILED) {
            return __libc_calloc(count, size);
        }
        arena = start;
    }
    bytes = (bytes + HEAD + PAGE - 1) / PAGE * PAGE;
    size_t place = __atomic_fetch_add(&used, bytes, __ATOMIC_RELAXED);
    if (place + bytes > ARENA || mprotect(arena + place, bytes, PROT_READ | PROT_WRITE) != 0) {
        return __libc_calloc(count, size);
    }
    *(size_t *)(arena + place) = bytes;
    return arena + place + HEAD;
}

void
free(void *block)
{
    if (is_ours(block)) {
        char *start = (char *)block - HEAD;
        mprotect(start, *(size_t *)start, PROT_NONE);
        return;
    }
    __libc_free(block);
}

void *
realloc(void *block, size_t size)
{
    if (!is_ours(block)) {
        return __libc_realloc(block, size);
    }
    size_t old = *(size_t *)((char *)block - HEAD) - HEAD;
    void *moved = __libc_malloc(size);
    if (moved != NULL) {
        memcpy(moved, block, old < size ? old : size);
        free(block);
    }
    return moved;
}
