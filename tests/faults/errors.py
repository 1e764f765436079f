"""The errors that manual pages name for each system call (Linux, man-pages 6), and what asyncio calls instead."""

import errno

TRANSIENT = {errno.EAGAIN, errno.EINTR}
"""Not a failure: to be tried again."""

_NEW = "EINVAL EMFILE ENFILE ENOMEM"  # of whatever makes a descriptor
_REFUSED = "ENOSYS EPERM"  # an old kernel, a sandbox
_SOCKET = "EBADF ENOTSOCK"
_RECEIVE = f"{_SOCKET} EAGAIN EINTR ECONNREFUSED ECONNRESET EFAULT EINVAL ENOMEM ENOTCONN ETIMEDOUT"
_SEND = (
    f"{_SOCKET} EAGAIN EINTR EACCES EALREADY ECONNRESET EDESTADDRREQ EFAULT EINVAL EISCONN EMSGSIZE ENOBUFS ENOMEM "
    "ENOTCONN EOPNOTSUPP EPIPE EPERM ENETUNREACH"
)
_READ = "EBADF EAGAIN EINTR EFAULT EINVAL EIO EISDIR"
_WRITE = "EBADF EAGAIN EINTR EDESTADDRREQ EDQUOT EFAULT EFBIG EINVAL EIO ENOSPC EPERM EPIPE"
_ACCEPT = (
    f"{_SOCKET} EAGAIN EINTR ECONNABORTED EFAULT EINVAL EMFILE ENFILE ENOBUFS ENOMEM EOPNOTSUPP EPROTO ENETDOWN "
    "EHOSTUNREACH"
)

_NAMES = {
    "socket": "EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM EPROTONOSUPPORT",
    "socketpair": "EAFNOSUPPORT EFAULT EMFILE ENFILE EOPNOTSUPP EPROTONOSUPPORT",
    "connect": f"{_SOCKET} EACCES EPERM EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY ECONNREFUSED EFAULT "
    "EINTR EISCONN ENETUNREACH EPROTOTYPE ETIMEDOUT",
    "accept": f"{_ACCEPT} EPERM",
    "accept4": f"{_ACCEPT} {_REFUSED}",
    "bind": f"{_SOCKET} EACCES EADDRINUSE EINVAL EADDRNOTAVAIL EFAULT ELOOP ENOENT ENOMEM ENOTDIR EROFS",
    "listen": f"{_SOCKET} EADDRINUSE EOPNOTSUPP",
    "recv": _RECEIVE,
    "recvfrom": _RECEIVE,
    "recvmsg": _RECEIVE,
    "recvmmsg": f"{_RECEIVE} {_REFUSED}",
    "send": _SEND,
    "sendto": _SEND,
    "sendmsg": _SEND,
    "sendmmsg": f"{_SEND} ENOSYS",
    "read": _READ,
    "readv": _READ,
    "preadv2": f"{_READ} EOPNOTSUPP {_REFUSED}",
    "write": _WRITE,
    "writev": _WRITE,
    "pwritev2": f"{_WRITE} EOPNOTSUPP ENOSYS",
    "sendfile": "EBADF EAGAIN EFAULT EINVAL EIO ENOMEM EOVERFLOW ESPIPE ENOSYS EPIPE",
    "epoll_create": _NEW,
    "epoll_create1": f"{_NEW} {_REFUSED}",
    "epoll_ctl": "EEXIST EINVAL ELOOP ENOMEM ENOSPC EPERM",
    "epoll_wait": "EBADF EFAULT EINTR EINVAL",
    "poll": "EFAULT EINTR EINVAL ENOMEM",
    "eventfd": f"{_NEW} ENODEV {_REFUSED}",
    "timerfd_create": f"{_NEW} ENODEV {_REFUSED}",
    "timerfd_settime": "EBADF ECANCELED EFAULT EINVAL",
    "pipe": "EFAULT EMFILE ENFILE",
    "pipe2": "EFAULT EINVAL EMFILE ENFILE",
    "fcntl": "EINVAL EMFILE EPERM",  # the others are about locks
    "ioctl": "EBADF EFAULT EINVAL ENOTTY",
    "getsockopt": f"{_SOCKET} EFAULT EINVAL ENOPROTOOPT",
    "setsockopt": f"{_SOCKET} EFAULT EINVAL ENOPROTOOPT",
    "getsockname": f"{_SOCKET} EFAULT EINVAL ENOBUFS",
    "getpeername": f"{_SOCKET} EFAULT EINVAL ENOBUFS ENOTCONN",
    "shutdown": f"{_SOCKET} EINVAL ENOTCONN",
    "close": "EBADF EINTR EIO ENOSPC EDQUOT",
    "fstat": "EACCES EFAULT ENOMEM EOVERFLOW",
    "dup": "EBADF EMFILE ENOMEM",
    "dup2": "EBADF EBUSY EINTR EMFILE",
    "pidfd_open": f"{_NEW} ENODEV ESRCH {_REFUSED}",
}

ERRORS = {call: [getattr(errno, name) for name in names.split()] for call, names in _NAMES.items()}

SAME_ON_STOCK = {
    "recvmmsg": ["recvfrom"],
    "recv": ["recv", "recvfrom"],
    "send": ["send", "sendmsg"],
    "sendmsg": ["send", "sendmsg"],
    "sendmmsg": ["sendto", "send"],
    "sendto": ["sendto", "send"],
    "accept": ["accept4"],
    "preadv2": ["read"],
    "fcntl": ["fcntl", "ioctl"],
    "writev": ["write", "writev"],
    "pwritev2": ["write", "writev"],
}
"""Which calls asyncio makes for the same purpose."""
