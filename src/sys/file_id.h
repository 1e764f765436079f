/* file_id.h - tells whether a descriptor's number still names the same
 * file. */
#ifndef AL_SYS_FILE_ID_H
#define AL_SYS_FILE_ID_H

#include "base/compat.h" /* before any system header */

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

/* Zeroed: not known yet. */
typedef struct {
    dev_t device;
    ino_t inode; /* no file has 0 */
} al_file_id;

/* Whether fd names the same file as at the first call. If fstat() fails for
 * want of memory or in a sandbox, the answer is yes. */
static inline bool
al_file_id_matches(al_file_id *self, int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0) {
        return errno != EBADF;
    }
    if (self->inode == 0) {
        self->device = status.st_dev;
        self->inode = status.st_ino;
    }
    return status.st_ino == self->inode && status.st_dev == self->device;
}

#endif
