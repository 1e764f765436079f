"""Removes steps from a program as long as it fails in the same way."""

import time

from . import runner

TRIES = 2  # a fault that depends on timing may stay away once


def fails(program, fault, limit):
    return any(runner.run(program, limit).fault() == fault for _ in range(TRIES))


def shrink(program, fault, seconds, limit):
    """Return the shortest program found within so many seconds that ends with the same fault."""
    deadline = time.monotonic() + seconds
    size = max(1, len(program.steps) // 2)
    while True:
        shortened, at = False, 0
        while at < len(program.steps):
            if time.monotonic() > deadline:
                return program
            candidate = program.with_steps(program.steps[:at] + program.steps[at + size :])
            if fails(candidate, fault, limit):
                program, shortened = candidate, True
            else:
                at += size
        if size > 1:
            size //= 2
        elif not shortened:
            return program
