"""A program: scripts of steps, made from a seed, kept as text.

A step is an operation of `ops` and three numbers, its operands. The script "main" is run from its beginning to its end;
the scripts 0 to 7 are run by the hooks of evil objects and as the bodies of tasks. The text has one step a line:

    seed 17
    ends exit
    main new_loop 3 200 17
    main spawn 0 4 90
    4 gc_collect 0 0 0
"""

from dataclasses import dataclass, replace

SCRIPTS = 8


class Numbers:
    """Random numbers that are the same in every version of Python (splitmix64)."""

    def __init__(self, seed):
        self.state = seed & (2**64 - 1)

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return (z ^ (z >> 31)) % n


@dataclass(frozen=True)
class Program:
    seed: int
    ends: str  # "exit" normally, "leave" by os._exit(), "fresh": the normal exit of an interpreter of its own
    steps: tuple  # of (script, operation, (a, b, c)), where script is "main" or a digit
    threads: int = 1  # that run it at once: crowd.py

    def script(self, name):
        return [(operation, operands) for script, operation, operands in self.steps if script == name]

    def with_steps(self, steps):
        return replace(self, steps=tuple(steps))

    def text(self):
        lines = [f"seed {self.seed}", f"ends {self.ends}"]
        if self.threads > 1:
            lines.append(f"threads {self.threads}")
        lines += [" ".join((script, operation, *map(str, operands))) for script, operation, operands in self.steps]
        return "\n".join(lines) + "\n"


def parse(text):
    """Return the program that `text` stands for; empty lines and those that begin with # say nothing."""
    seed, ends, threads, steps = 0, "exit", 1, []
    for line in text.splitlines():
        match line.split():
            case [] | ["#", *_]:
                pass
            case ["seed", number]:
                seed = int(number)
            case ["ends", word]:
                ends = word
            case ["threads", number]:
                threads = int(number)
            case [script, operation, *operands]:
                steps.append((script, operation, tuple(map(int, operands))))
    return Program(seed, ends, tuple(steps), threads)


def generate(seed, weights, fresh_every=10, threads=1):
    """Return the program of a seed.

    weights: {operation: (how often in the main script, and in those of hooks)}, in an order that is always the same.
    """
    numbers = Numbers(seed)
    # Each program does little, but does it often: most faults need few operations that meet.
    often = {name: (0, 0, 1, 4)[numbers.below(4)] for name in weights}
    main, hooks = (
        [name for name in weights for _ in range(weights[name][kind] * often[name])] or list(weights) for kind in (0, 1)
    )

    def step(script):
        bag = main if script == "main" else hooks
        return script, bag[numbers.below(len(bag))], tuple(numbers.below(256) for _ in range(3))

    ends = "fresh" if seed % fresh_every == fresh_every - 1 else "exit" if seed % 4 == 0 else "leave"
    steps = [("main", "new_loop", (0, numbers.below(256), numbers.below(256)))]
    for _ in range(4 + numbers.below(12)):
        steps += [step("main") for _ in range(1 + numbers.below(6))]
        steps.append(("main", "run", tuple(numbers.below(256) for _ in range(3))))
    for script in range(SCRIPTS):
        steps += [step(str(script)) for _ in range(numbers.below(6))]
    return Program(seed, ends, tuple(steps), threads)
