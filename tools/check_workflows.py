"""Holds .github/workflows/ to four rules, line by line.

- A step runs a word of the Makefile and nothing else, so that everybody can run what the workflows run.
- An action is named by a commit's hash, with its release beside it.
- A workflow has no permission by itself: "permissions: {}" on top. A job says what it may do.
- A checkout leaves no credentials behind.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def words(makefile):
    """Return the targets that are listed as phony in a Makefile's text."""
    return set(" ".join(re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)).split())


def wrong_action(action):
    """Whether an action of somebody else is not named by a hash with its release."""
    return not action.startswith("./") and not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)+", action)


def check_text(text, targets):
    """Yield what is wrong with the text of a workflow, as (line number, complaint)."""
    lines = text.splitlines()
    if "permissions: {}" not in lines:
        yield 1, 'no "permissions: {}"'
    for number, line in enumerate(lines, 1):
        key, _, value = line.strip().removeprefix("- ").partition(": ")
        if key == "run":
            command = re.fullmatch(r'make ([\w-]+|"\$MAKE_WORD")( [A-Z_]+=[\w./-]+)*', value)
            if not command or (command[1] not in targets and not command[1].startswith('"')):
                yield number, f'"{value}" is not a word of the Makefile'
        elif key == "word":
            unknown = set(value.strip("[]").split(", ")) - targets
            yield from ((number, f'"{word}" is not a word of the Makefile') for word in sorted(unknown))
        elif key == "uses":
            if wrong_action(value):
                yield number, f"{value} is not named by its hash and release"
            if "/checkout@" in value and "persist-credentials: false" not in text_of_step(lines, number):
                yield number, "the checkout keeps credentials"


def text_of_step(lines, number):
    """Return the lines after line `number` that belong to its step."""
    step = []
    for line in lines[number:]:
        if line.strip().startswith("- ") or not line.strip():
            break
        step.append(line)
    return "\n".join(step)


def check(root=ROOT):
    """Return what is wrong with all workflows."""
    targets = words((root / "Makefile").read_text())
    return [
        f"{path.relative_to(root)}:{number}: {complaint}"
        for path in sorted((root / ".github" / "workflows").glob("*.yml"))
        for number, complaint in check_text(path.read_text(), targets)
    ]


if __name__ == "__main__":
    wrong = check()
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))
