"""check_release.py [TAG]: do version, changelog, tag and what is in dist/ agree?

TAG (or the environment variable TAG) is the tag of the release, such as v0.2.0; without it that part is not checked.
Prints what does not agree, and then the exit status is 1.
"""

import os
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version(root=ROOT):
    """Return asyncloop's version without importing it."""
    return re.search(r'__version__ = "(.+)"', (root / "asyncloop" / "_version.py").read_text())[1]


def distribution(root=ROOT):
    """Return the name by which pip installs asyncloop."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"]


def sections(changelog):
    """Return the text of each section of a changelog by its heading."""
    parts = re.split(r"^## (.+)\n", changelog, flags=re.MULTILINE)
    return {heading.strip(): text.strip() for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def complaints(root=ROOT, tag=""):
    """Yield what does not agree."""
    released = version(root)
    if tag and tag != f"v{released}":
        yield f"the tag is {tag}, the version {released}: asyncloop/_version.py"
    found = sections((root / "CHANGELOG.md").read_text())
    dated = [heading for heading in found if re.fullmatch(rf"{re.escape(released)} - \d{{4}}-\d\d-\d\d", heading)]
    if not dated:
        yield f'CHANGELOG.md has no section "{released} - YEAR-MONTH-DAY": make changelog'
    if found.get("Unreleased"):
        yield "CHANGELOG.md has lines under Unreleased: move them into the section of the release"
    for fragment in sorted((root / "changes").glob("*.*.md")):
        yield f"{fragment.relative_to(root)} is not in the changelog: make changelog"
    begins = f"{distribution(root).replace('-', '_')}-{released}"
    for path in sorted((root / "dist").glob("*")):
        if path.suffix in (".whl", ".gz") and not path.name.startswith((f"{begins}-", f"{begins}.tar")):
            yield f"dist/{path.name} is not of {distribution(root)} {released}"


if __name__ == "__main__":
    wrong = list(complaints(tag=sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TAG", "")))
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))
