/* errors.h - exceptions: from errno, and handled or fatal. */
#ifndef AL_BASE_ERRORS_H
#define AL_BASE_ERRORS_H

#include "base/compat.h"

#include <errno.h>
#include <stdbool.h>

/* Whether the exception now set ends run_forever(): SystemExit or
 * KeyboardInterrupt, which asyncio lets through everywhere. */
int
al_error_is_fatal(void);

/* Whether a system call may have failed because the kernel has no such call, or
 * lets nobody make it (seccomp). */
static inline bool
al_errno_is_refusal(int errnum)
{
    return errnum == ENOSYS || errnum == EPERM || errnum == EACCES;
}

/* Raise `exc` (stolen) while the exception that is set is handled: that becomes
 * the __context__ of `exc`. */
void
al_error_replace(PyObject *exc);

/* Set `exc` (stolen) again after some code has run. If that has raised another
 * exception, that one stays set, and `exc` becomes its __context__. */
void
al_error_chain(PyObject *exc);

/* Set OSError (the subclass that belongs to `errnum`). Returns NULL. */
PyObject *
al_error_set_errno(int errnum);

/* Set OSError(errnum, message). Returns NULL. */
PyObject *
al_error_set_errno_message(int errnum, const char *format, ...);

#endif
