"""check_commits.py [FILE]: have the messages of new commits their form, "area: what" and a body that says why?

With FILE, the message in it is checked: for git's hook commit-msg.

New are the commits that the main branch of the remote "upstream", or else "origin", does not have. Merges are left out.
Without history, or without such a remote, there is nothing to check.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_SUBJECT = 72
UPSTREAM = ["upstream/main", "origin/main"]

# No verb in the imperative looks like these. What is not listed passes: a program cannot know all nouns.
NO_VERBS = set("a an the this that these those all no some our its it we i there".split())
ENDS_LIKE_A_VERB = ("ss", "us", "is", "as")  # pass, focus, bias
LOOKS_LIKE_A_PARTICIPLE = {"feed", "need", "embed", "seed", "speed", "exceed", "proceed", "bring", "ping", "string"}


def imperative(word):
    """Whether a word may be a verb in the imperative."""
    word = word.lower()
    if word in NO_VERBS or word.endswith("'s"):
        return False
    if word.endswith(("ed", "ing")):
        return word in LOOKS_LIKE_A_PARTICIPLE
    return not word.endswith("s") or word.endswith(ENDS_LIKE_A_VERB)


def complaints(message):
    """Yield what is wrong with the message of a commit."""
    subject, *rest = message.rstrip("\n").split("\n")
    if len(subject) > MAX_SUBJECT:
        yield f"the subject has {len(subject)} characters, more than {MAX_SUBJECT}"
    area, colon, what = subject.partition(": ")
    if not colon or not re.fullmatch(r"[\w.,/ -]+", area) or not what.strip():
        yield 'the subject is not "area: what"'
    elif not imperative(what.split()[0].strip("`,;:")):
        yield f'"{what.split()[0]}" is not a verb in the imperative'
    if subject.endswith("."):
        yield "the subject ends with a full stop"
    if rest and rest[0]:
        yield "no empty line after the subject"
    if not any(line.strip() for line in rest):
        yield "no body that says why"


def git(*args, cwd=ROOT):
    """Return what git prints, or None if it fails or is not there."""
    try:
        done = subprocess.run(["git", *args], cwd=cwd, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def new_commits(cwd=ROOT):
    """Return the hashes of the commits that the upstream main does not have; none if there is no such branch."""
    top = git("rev-parse", "--show-toplevel", cwd=cwd)
    if top is None or Path(top.strip()).resolve() != Path(cwd).resolve():  # a copy inside somebody else's repository
        return []
    for branch in UPSTREAM:
        if git("rev-parse", "--verify", "--quiet", f"refs/remotes/{branch}", cwd=cwd) is not None:
            listed = git("rev-list", "--no-merges", f"refs/remotes/{branch}..HEAD", cwd=cwd)
            return (listed or "").split()
    return []


def check(cwd=ROOT):
    """Return the complaints about all new commits."""
    found = []
    for commit in new_commits(cwd):
        message = git("log", "-1", "--format=%B", commit, cwd=cwd) or ""
        subject = message.partition("\n")[0]
        found += [f"{commit[:10]} {subject!r}: {complaint}" for complaint in complaints(message)]
    return found


def check_file(path):
    """Return the complaints about a message that git has in a file, with comments."""
    lines = path.read_text().splitlines()
    return list(complaints("\n".join(line for line in lines if not line.startswith("#")).strip()))


if __name__ == "__main__":
    wrong = check_file(Path(sys.argv[1])) if len(sys.argv) > 1 else check()
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))
