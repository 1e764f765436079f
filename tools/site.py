"""Hooks of mkdocs.yml: pages that stand outside of docs/, pages that are made, and links between all of them.

In the repository, links lead from file to file, and work there. In the site a file that is a page has an address of its
own, and one that is none is shown by the repository's page.
"""

import os
import re
import sys
import tomllib
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import api_reference  # noqa: E402

# Files of the repository that are pages of the site, beside those in docs/.
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/README.md": "examples.md",
    "tests/README.md": "tests.md",
}
# What stands for a page that is made, in the repository.
INSTEAD = {"asyncloop/__init__.py": "api.md"}
HOME = {page: source for source, page in ELSEWHERE.items()}
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]*)((?:#[^)\s]*)?\))")
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]


def glossary():
    """Return the page of words: the table of ARCHITECTURE.md, by the alphabet."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    section = re.search(r"^## Words\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    rows = sorted((line for line in section.splitlines() if line.startswith("| ")), key=str.lower)
    rows = [row for row in rows if not row.startswith(("| word |", "| --- |"))]
    return "\n".join(
        [
            "# Glossary",
            "",
            "What a word means in the code, the tests and these pages.",
            "",
            "| word | meaning |",
            "| --- | --- |",
            *rows,
            "",
        ]
    )


MADE = {"api.md": api_reference.page, "glossary.md": glossary}


def on_config(config):
    """Leave out of the navigation what is not there, and add what it does not name."""
    docs = Path(config.docs_dir)
    named = set(re.findall(r"[\w-]+\.md", str(config.nav)))
    more = sorted(path.name for path in docs.glob("*.md") if path.name not in named)
    config.nav = kept(config.nav, lambda page: page in HOME or page in MADE or (docs / page).exists())
    config.nav += [{"More": more}] * bool(more)
    return config


def kept(nav, there):
    """Return the part of a navigation whose pages are there."""
    result = []
    for entry in nav:
        ((title, what),) = entry.items()
        if isinstance(what, list):
            if inside := kept(what, there):
                result.append({title: inside})
        elif there(what):
            result.append(entry)
    return result


def on_files(files, config):
    """Add the pages that do not stand in docs/."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for page, make in MADE.items():
        files.append(File.generated(config, page, content=make()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Let links lead to pages of the site, or to the repository's page."""
    name = page.file.src_uri
    source = HOME.get(name, f"docs/{name}")
    pages = {file.src_uri for file in files}
    return rewritten(markdown, source, pages)


def rewritten(markdown, source, pages):
    """Return the text of the file `source` of the repository with the links that it has in the site."""

    def replace(match):
        before, target, after = match.groups()
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = os.path.normpath(os.path.join(os.path.dirname(source), target))
        inside = path.removeprefix("docs/") if path.startswith("docs/") else (ELSEWHERE | INSTEAD).get(path)
        if inside is None or inside not in pages:
            inside = ELSEWHERE.get(f"{path}/README.md", inside)
        if inside in pages:
            return f"{before}{inside}{after}"
        if (ROOT / path).exists():
            return f"{before}{SOURCE}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}{after}"
        return match[0]  # for the strict mode of mkdocs to find

    # Code is no place for links.
    parts = re.split(r"(^```.*?^```|`[^`\n]+`)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("`") else LINK.sub(replace, part) for part in parts)
