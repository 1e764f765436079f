"""check_prose.py [FILE...]: are the pages for users easy to read? Without a file: all pages that have a limit.

A sentence has at most so many words, and a page so many on average: LIMITS. Code, tables and headings are left out.
What stands in backquotes is one word, and the address of a link is no word.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# page: (words in its longest sentence, words in a sentence on average). "*" is any page in docs/ that is not named.
LIMITS = {
    "README.md": (30, 16),
    "CONTRIBUTING.md": (30, 16),
    "SECURITY.md": (30, 16),
    "CODE_OF_CONDUCT.md": (30, 16),
    "docs/*": (35, 18),
}
# Pages for those who work on asyncloop, pages that are made, and tables with remarks.
FREE = {"ARCHITECTURE", "ownership", "cpython", "compatibility", "performance"}


def blocks(text):
    """Yield the paragraphs and list items of a page, as (line number, text)."""
    text = re.sub(r"^( *)```.*?^\1```", lambda code: "\n" * code[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    block, start = [], 1
    for number, line in enumerate([*text.splitlines(), ""], 1):
        begins = re.match(r" *([-*]|\d+\.) +", line)
        apart = not line.strip() or re.match(r"#|\||!\[|    |<", line) and not block
        if apart or begins or re.match(r"#|\|", line):
            if block:
                yield start, " ".join(block)
            block = []
        if not line.strip() or re.match(r"#|\||!\[|<", line) or (line.startswith("    ") and not block and not begins):
            continue
        if not block:
            start = number
        block.append(line[begins.end() :] if begins else line.strip())


def sentences(block):
    """Return the sentences of a block."""
    block = re.sub(r"`[^`]*`", "code", block)
    block = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", block)
    block = re.sub(r"[*_]{1,2}(\S[^*_]*)[*_]{1,2}", r"\1", block)
    return [part for part in re.split(r"(?<=[.!?])[)\"]?\s+|(?<=:)\s+(?=[A-Z])", block) if part.strip()]


def words(sentence):
    return len(re.findall(r"\S*\w\S*", sentence))


def check_text(text, longest, average):
    """Yield what is wrong with a page, as (line number, complaint)."""
    counts = []
    for number, block in blocks(text):
        for sentence in sentences(block):
            counts.append(words(sentence))
            if counts[-1] > longest:
                yield (
                    number,
                    f"a sentence of {counts[-1]} words, more than {longest}: {' '.join(sentence.split()[:8])} ...",
                )
    if counts and sum(counts) > average * len(counts):
        yield 1, f"{sum(counts) / len(counts):.1f} words in a sentence on average, more than {average}"


def limits(name):
    """Return the limits of a page, or None if it has none."""
    if name in LIMITS:
        return LIMITS[name]
    path = Path(name)
    return LIMITS["docs/*"] if path.parent == Path("docs") and path.stem not in FREE else None


def check(names=(), root=ROOT):
    """Return what is wrong with the pages of these names, or with all that have limits."""
    names = names or [
        *sorted(set(LIMITS) - {"docs/*"}),
        *sorted(f"docs/{path.name}" for path in (root / "docs").glob("*.md")),
    ]
    return [
        f"{name}:{number}: {complaint}"
        for name in names
        if limits(name)
        for number, complaint in check_text((root / name).read_text(), *limits(name))
    ]


if __name__ == "__main__":
    wrong = check(sys.argv[1:])
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))
