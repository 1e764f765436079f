"""Event loop policies, which Python 3.14 deprecates. All of it is in this file, so that it can be deleted one day."""

import asyncio
import sys
import warnings

from ._loop import Loop

try:
    # From 3.14 reading the public name warns, but importing this module must not warn.
    if sys.version_info >= (3, 14):
        from asyncio.unix_events import _DefaultEventLoopPolicy as _BasePolicy
    else:
        from asyncio import DefaultEventLoopPolicy as _BasePolicy
except ImportError:
    raise ImportError(
        "asyncio has no event loop policies in this Python: use asyncloop.run(main()), or "
        "asyncio.run(main(), loop_factory=asyncloop.new_event_loop)"
    ) from None


class EventLoopPolicy(_BasePolicy):
    """asyncio's own policy, whose new loops are asyncloop.Loop."""

    __module__ = "asyncloop"

    def new_event_loop(self) -> Loop:
        """Return a new event loop, which is not set as the current one."""
        return Loop()


def install(stacklevel: int) -> None:
    """Make EventLoopPolicy the policy, with a DeprecationWarning from Python 3.14.

    stacklevel: the caller that the warning points at; 1 is the caller of this function.
    """
    if sys.version_info >= (3, 14):
        warnings.warn(
            "asyncloop.install() is deprecated, as event loop policies are: use asyncloop.run()",
            DeprecationWarning,
            stacklevel=stacklevel + 1,
        )
    install_silently()


def install_silently() -> None:
    """Make EventLoopPolicy the policy, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(EventLoopPolicy())
