/* features.h - what Linux has and other systems may lack.
 *
 *     feature     what asyncloop does without it
 *     epoll       waits by libev: by select(), or else by poll()
 *     select      (libev's) waits by poll(), if there is no epoll either
 *     timerfd     waits by the timeout of the poll: whole milliseconds in epoll
 *     pipe2       pipe() and fcntl()
 *     accept4     accept() and fcntl()
 *     recvmmsg    recvfrom(), one datagram a call
 *     sendmmsg    sendto(), one datagram a call
 *     pidfd       a thread waits for each child process
 *
 * ASYNCLOOP_WITHOUT=epoll,timerfd builds without these two (setup.py), so the
 * tests run on Linux what runs elsewhere. A kernel or a sandbox may also refuse
 * a call at run time; see al_refusals in base/state.h. */
#ifndef AL_BASE_FEATURES_H
#define AL_BASE_FEATURES_H

#if defined(__linux__)
#    define AL_ON_LINUX 1
#else
#    define AL_ON_LINUX 0
#endif

#ifndef AL_WITHOUT_EPOLL
#    define AL_WITHOUT_EPOLL 0
#endif
#ifndef AL_WITHOUT_SELECT
#    define AL_WITHOUT_SELECT 0
#endif
#ifndef AL_WITHOUT_TIMERFD
#    define AL_WITHOUT_TIMERFD 0
#endif
#ifndef AL_WITHOUT_PIPE2
#    define AL_WITHOUT_PIPE2 0
#endif
#ifndef AL_WITHOUT_ACCEPT4
#    define AL_WITHOUT_ACCEPT4 0
#endif
#ifndef AL_WITHOUT_RECVMMSG
#    define AL_WITHOUT_RECVMMSG 0
#endif
#ifndef AL_WITHOUT_SENDMMSG
#    define AL_WITHOUT_SENDMMSG 0
#endif
#ifndef AL_WITHOUT_PIDFD
#    define AL_WITHOUT_PIDFD 0
#endif

#define AL_HAS_EPOLL (AL_ON_LINUX && !AL_WITHOUT_EPOLL)
#define AL_HAS_TIMERFD (AL_ON_LINUX && !AL_WITHOUT_TIMERFD)
#define AL_HAS_PIPE2 (AL_ON_LINUX && !AL_WITHOUT_PIPE2)
#define AL_HAS_ACCEPT4 (AL_ON_LINUX && !AL_WITHOUT_ACCEPT4)
#define AL_HAS_RECVMMSG (AL_ON_LINUX && !AL_WITHOUT_RECVMMSG)
#define AL_HAS_SENDMMSG (AL_ON_LINUX && !AL_WITHOUT_SENDMMSG)
#define AL_HAS_PIDFD (AL_ON_LINUX && !AL_WITHOUT_PIDFD)

/* Addresses of Unix sockets that begin with a zero byte and are no paths. */
#define AL_HAS_ABSTRACT_ADDRESSES AL_ON_LINUX

/* libev's select() takes descriptors of any number, and never aborts. */
#define AL_HAS_UNLIMITED_SELECT (AL_ON_LINUX && !AL_WITHOUT_SELECT)

#endif
