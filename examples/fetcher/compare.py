"""The same job under every loop that is installed, each time in a fresh process."""

import json
import subprocess
import sys
import tempfile

from loops import LOOPS, installed_loops

from .job import Result
from .report import show_table


def run_comparison(program, options, rounds):
    """Run the job on each loop in turn, `rounds` times, and print a table of the medians.

    The loops take turns, and each round begins with another one: whatever else the machine does meets them all alike.
    """
    names = installed_loops()
    results = {name: [] for name in names}
    print("\nNow the same job on each loop, client and site in fresh processes:", flush=True)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            result = run_in_fresh_process(program, name, options)
            results[name].append(result)
            print(f"  round {number + 1}   {name:<9} {result.rate:>8,.0f} requests/s", flush=True)
    print()
    show_table(results, baseline="asyncio")
    print(
        "\nMedians. CPU seconds, the steadier figure on a busy machine, are those of client and site; parsing is not in"
    )
    print("them. Most of the work is aiohttp's, whatever the loop.")
    for name in LOOPS:
        if name not in names:
            print(f"{name} is not installed here.")


def run_in_fresh_process(program, loop_name, options):
    """Return the Result of `python program --once --json --loop loop_name options...`."""
    with tempfile.TemporaryDirectory(prefix="asyncloop-fetch-") as directory:
        command = [sys.executable, program, "--once", "--json", "--loop", loop_name, "--output", directory, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                output, errors = process.communicate()
            except KeyboardInterrupt:
                process.communicate()  # Ctrl-C has reached it too; wait, it has processes of its own to end
                raise
    if process.returncode != 0:
        sys.exit(f"{errors}The run on {loop_name} has failed.")
    return Result(**json.loads(output))
