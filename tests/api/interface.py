"""What asyncio of the running Python offers: methods and arguments, found by introspection."""

import asyncio
import inspect
import subprocess

TRANSPORTS = "BaseTransport ReadTransport WriteTransport Transport DatagramTransport SubprocessTransport"
EXTRA_INFO = "socket sockname peername sslcontext peercert cipher compression ssl_object pipe subprocess"
# Arguments of Popen that asyncio refuses or fixes, or that only Windows has.
NOT_PASSED = "args bufsize stdin stdout stderr shell universal_newlines startupinfo creationflags encoding errors text"


def arguments(function):
    return [name for name in inspect.signature(function).parameters if name != "self"] if callable(function) else []


def interface():
    """{"loop.call_soon": ["callback", "args", "context"], ...}; what asyncio's own loop takes counts."""
    found = {}
    for name in vars(asyncio.AbstractEventLoop):
        if not name.startswith("_"):
            found[f"loop.{name}"] = arguments(getattr(asyncio.SelectorEventLoop, name))
    for kind in [*TRANSPORTS.split(), "Server"]:
        holder = getattr(asyncio, kind, asyncio.base_events.Server)
        for name, value in vars(holder).items():
            if not name.startswith("_"):
                found[f"{kind}.{name}"] = arguments(value)
    popen = [name for name in arguments(subprocess.Popen) if name not in NOT_PASSED.split()]
    found["loop.subprocess_exec"] += popen
    found["BaseTransport.get_extra_info"] += EXTRA_INFO.split()
    create_task = found["loop.create_task"]
    create_task += [name for name in ("name", "context") if name not in create_task]
    for method in ("loop.subprocess_exec", "loop.subprocess_shell"):  # only to be refused, or fixed: not choices
        found[method] = [name for name in found[method] if name not in NOT_PASSED.split()[:2] + NOT_PASSED.split()[5:]]
    if "args" not in found["loop.subprocess_exec"]:
        found["loop.subprocess_exec"].append("args")
    return found
