"""What people read: short sentences, figures that were measured, links that lead somewhere, programs that run."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from repository import load_tool

import asyncloop

ROOT = Path(__file__).parents[1]


check_prose = load_tool("check_prose")


class TestProse:
    def test_ours(self):
        assert check_prose.check() == []

    @pytest.mark.parametrize(
        "text, found",
        [
            ("One two three. Four five.", []),
            ("One two\nthree four.", [(1, 4)]),
            ("# One two three four five\n\nOne.", []),
            ("| one two three four five |\n", []),
            ("```sh\none two three four five\n```\n\nOne two three four.", [(5, 4)]),
            ("One `two three four five six` seven.", []),
            ("One [two three](four five six seven) now.", [(1, 4)]),
            ("- One two three\n- four five six\n", []),
            ("One two. and three four five six.", [(1, 5)]),
            ("- item\n\n      code of five words here\n", []),
        ],
    )
    def test_long_sentences_are_found(self, text, found):
        complaints = list(check_prose.check_text(text, longest=3, average=99))
        assert [(line, int(re.search(r"of (\d+) words", what)[1])) for line, what in complaints] == found

    def test_average(self):
        ((line, complaint),) = check_prose.check_text("One two three four. One two.", longest=9, average=2)
        assert (line, complaint) == (1, "3.0 words in a sentence on average, more than 2")


class TestFigures:
    """A figure that the README shows is one of the measured ones."""

    def rows(self, page):
        for line in (ROOT / page).read_text().splitlines():
            if re.match(r"\| .*\d (us|ns)\b.*\|$", line):
                yield [cell.strip(" *") for cell in line.strip("|").split("|")]

    @pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
    def test_short_table_is_of_the_long_one(self, page):
        text = (ROOT / "docs" / "performance.md").read_text()
        measured = re.search(r"^### CPython 3\.14\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
        short = [row for row in self.rows(page) if ": a" in row[0]]
        assert len(short) == 5
        for title, *figures in short:
            (line,) = [line for line in measured.splitlines() if line.startswith(f"| {title.rpartition(': a')[0]} |")]
            assert figures == [cell.partition(" ±")[0].strip() for cell in line.split("|")[2:6]]


class TestCompatibility:
    compatibility = load_tool("compatibility")

    @pytest.fixture
    def data(self):
        def outcome(test, outcome, *proves):
            return {"test": test, "outcome": outcome, "proves": list(proves)}

        tests = [outcome("a", "passed", ("f", "x")), outcome("b", "failed", ("f", "y"), ("g", ""))]
        interface = {"f": ["x", "y"], "g": [], "h": []}
        other = [outcome("a", "skipped", ("f", "x")), outcome("b", "passed", ("f", "y"), ("g", ""), ("h", ""))]
        return {"api": {"3.14": {"interface": interface, "outcomes": {"one": tests, "other": other}}}}

    def test_what_passes_in_part_is_told_with_its_reason(self, data):
        assert self.compatibility.graded(data, "one") == {"f": ["`y`"], "g": None}
        assert self.compatibility.graded(data, "other") == {"f": [], "g": [], "h": []}
        lines = list(self.compatibility.summary(data, ["one", "other"]))
        assert "| one | 0 | 1 | 1 |" in lines and "| other | 3 | 0 | 0 |" in lines
        assert [line for line in lines if "`" in line] == ["| one | `f` | `y` |"]

    def test_page_is_made_of_the_data(self):
        made = "\n".join(self.compatibility.page(json.loads(self.compatibility.DATA.read_text()))) + "\n"
        assert made == (ROOT / "docs" / "compatibility.md").read_text()


class TestPages:
    LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")

    def anchors(self, page):
        """The anchors of a page's headings, as they are both in the repository's view and in the site."""
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    def pages(self):
        for folder, pattern in [
            (".", "*.md"),
            *((name, "**/*.md") for name in ("benchmarks", "changes", "docs", "examples", "tests")),
        ]:
            yield from (page for page in (ROOT / folder).glob(pattern) if page.is_file())

    def test_links_lead_somewhere(self):
        wrong, seen = [], 0
        for page in self.pages():
            text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
            for target, anchor in self.LINK.findall(text):
                if re.match(r"[a-z]+:", target):
                    continue
                seen += 1
                there = page.parent / target if target else page
                if not there.exists() or (anchor and anchor not in self.anchors(there)):
                    wrong.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
        assert wrong == []
        assert seen > 50

    def programs(self):
        """The programs of the quick start."""
        return re.findall(
            r"^```python\n(.*?)^```", (ROOT / "docs" / "quickstart.md").read_text(), re.MULTILINE | re.DOTALL
        )

    def test_quick_start_runs(self, tmp_path):
        path = os.pathsep.join([str(Path(asyncloop.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        printed = []
        for program in self.programs():
            (tmp_path / "program.py").write_text(program)
            command = [sys.executable, "-W", "error", "program.py"]
            environ = os.environ | {"PYTHONPATH": path}
            done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
            assert done.stderr == ""
            printed.append(done.stdout)
        assert printed == ["on asyncloop\n", "b'HELLO\\n'\n", "done\n", ""]

    def test_pages_install_the_distribution_by_its_name(self):
        """What a page tells to install from the index is ours, and not the other project of the package's name."""
        name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
        pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        told = [
            (page.name, word)
            for page in pages
            for command in re.findall(r"^ *\S*pip install (.+)$", page.read_text(), re.MULTILINE)
            for word in re.findall(r"(?<![\w/])asyncloop[\w-]*", command)
        ]
        assert [(page, word) for page, word in told if word != name] == []
        assert any(page == "releases.md" for page, _ in told)
