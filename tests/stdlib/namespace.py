#!/usr/bin/env python3
"""Runs a command in a network of its own with nothing but a loopback in it.

    python namespace.py COMMAND [ARGUMENT...]

Some tests name foreign addresses and count on a mocked stock loop not to go there; some listen on every interface.
In here neither can reach, or be reached from, another machine. Root makes the network namespace at once, other
users through a user namespace where the system lets them; else this ends with a line of reason and status 1.
"""

import ctypes
import fcntl
import os
import pathlib
import socket
import struct
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
IFF_UP, SIOCSIFFLAGS = 0x1, 0x8914


def enter():
    """Move this process (it must have one thread only) to a new network namespace with its loopback up.

    Raises:
        OSError: the system does not let this user make one.
    """
    try:
        unshare(CLONE_NEWNET)
    except OSError:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
    # Where a user namespace is made but comes without rights in it, as AppArmor can have it, this fails.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def unshare(what):
    """unshare(2); in a new user namespace the user and the group stay what they were."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if what & CLONE_NEWUSER:
        process = pathlib.Path("/proc/self")
        (process / "setgroups").write_text("deny")
        (process / "uid_map").write_text(f"{user} {user} 1")
        (process / "gid_map").write_text(f"{group} {group} 1")


def main():
    try:
        enter()
    except OSError as error:
        sys.exit(f"no network namespace: {error}")
    os.execvp(sys.argv[1], sys.argv[1:])  # which drops the rights that only the user namespace gave


if __name__ == "__main__":
    main()
