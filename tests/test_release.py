"""What is released: its name and version, the workflows, the changelog, the messages of commits."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import asyncloop

ROOT = Path(__file__).parents[1]


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_commits = tool("check_commits")
check_prose = tool("check_prose")
check_release = tool("check_release")
check_workflows = tool("check_workflows")


class TestCommits:
    GOOD = "net: stop reading in data_received()\n\nThe transport read once more.\n"

    def test_good_message(self):
        assert list(check_commits.complaints(self.GOOD)) == []

    @pytest.mark.parametrize(
        "message, complaint",
        [
            (f"net: {'x' * 68}\n\nWhy.", "the subject has 73 characters, more than 72"),
            ("net: stopped reading\n\nWhy.", '"stopped" is not a verb in the imperative'),
            ("net: stops reading\n\nWhy.", '"stops" is not a verb in the imperative'),
            ("net: reading stops\n\nWhy.", '"reading" is not a verb in the imperative'),
            ("net: the transport stops\n\nWhy.", '"the" is not a verb in the imperative'),
            ("stop reading\n\nWhy.", 'the subject is not "area: what"'),
            ("net: stop reading.\n\nWhy.", "the subject ends with a full stop"),
            ("net: stop reading\nWhy.", "no empty line after the subject"),
            ("net: stop reading\n", "no body that says why"),
            ("net: stop reading\n\n  \n", "no body that says why"),
        ],
    )
    def test_bad_message(self, message, complaint):
        assert list(check_commits.complaints(message)) == [complaint]

    @pytest.mark.parametrize("word", ["pass", "focus", "need", "feed", "bring", "address", "do", "let", "bias"])
    def test_verb_that_looks_like_something_else(self, word):
        assert check_commits.imperative(word)

    def test_message_in_a_file(self, tmp_path):
        (tmp_path / "message").write_text(f"{self.GOOD}# Please enter a message\n#\n")
        assert check_commits.check_file(tmp_path / "message") == []
        (tmp_path / "message").write_text("net: stop reading\n\n# Please enter a message\n")
        assert check_commits.check_file(tmp_path / "message") == ["no body that says why"]

    @pytest.fixture
    def clone(self, tmp_path):
        """A clone of a repository with one bad commit, and a function that adds a commit to the clone."""

        def git(*args, cwd):
            names = ["-c", "user.name=n", "-c", "user.email=n@localhost", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", *names, *args], cwd=cwd, check=True, capture_output=True)

        upstream, clone = tmp_path / "upstream", tmp_path / "clone"
        upstream.mkdir()
        git("init", "-q", "-b", "main", cwd=upstream)
        git("commit", "--allow-empty", "-m", "Old and bad", cwd=upstream)
        git("clone", "-q", str(upstream), str(clone), cwd=tmp_path)
        return clone, lambda message: git("commit", "--allow-empty", "-m", message, cwd=clone)

    def test_only_new_commits_are_checked(self, clone):
        place, commit = clone
        assert check_commits.check(place) == []
        commit(self.GOOD)
        assert check_commits.check(place) == []
        commit("net: stops\n\nWhy.")
        (complaint,) = check_commits.check(place)
        assert complaint.endswith("'net: stops': \"stops\" is not a verb in the imperative")

    def test_clone_without_upstream_or_history_passes(self, clone, tmp_path):
        place, commit = clone
        commit("Bad")
        subprocess.run(["git", "remote", "remove", "origin"], cwd=place, check=True)
        assert check_commits.check(place) == []
        (place / "copy").mkdir()  # inside another repository
        assert check_commits.check(place / "copy") == []
        (tmp_path / "none").mkdir()
        assert check_commits.check(tmp_path / "none") == []


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


class TestPages:
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
        assert printed == ["on asyncloop._loop\n", "b'HELLO\\n'\n", ""]


class TestWorkflows:
    TARGETS = {"lint", "test"}

    def test_ours(self):
        assert len(list((ROOT / ".github" / "workflows").glob("*.yml"))) >= 5
        assert check_workflows.check() == []

    @pytest.mark.parametrize(
        "line, complaint",
        [
            ("      - run: make lint", None),
            ("      - run: make test PYTHON=/usr/bin/python3", None),
            ('      - run: make "$MAKE_WORD"', None),
            ("      - run: make nothing", '"make nothing" is not a word of the Makefile'),
            ("      - run: make lint && true", '"make lint && true" is not a word of the Makefile'),
            ("      - run: pip install x", '"pip install x" is not a word of the Makefile'),
            ("        word: [lint, nothing]", '"nothing" is not a word of the Makefile'),
            ("      - uses: ./.github/workflows/a.yml", None),
            (f"      - uses: a/b@{'0' * 40} # v1.2.3", None),
            ("      - uses: a/b@v1", "a/b@v1 is not named by its hash and release"),
            (f"      - uses: a/b@{'0' * 40}", f"a/b@{'0' * 40} is not named by its hash and release"),
            (f"      - uses: actions/checkout@{'0' * 40} # v5.0.0", "the checkout keeps credentials"),
        ],
    )
    def test_rules(self, line, complaint):
        found = [what for _, what in check_workflows.check_text(f"permissions: {{}}\n{line}\n", self.TARGETS)]
        assert found == ([complaint] if complaint else [])

    def test_permissions_must_be_taken_away(self):
        assert list(check_workflows.check_text("name: a\n", self.TARGETS)) == [(1, 'no "permissions: {}"')]


class TestRelease:
    @pytest.fixture
    def tree(self, tmp_path):
        for folder in ("asyncloop", "changes", "dist"):
            (tmp_path / folder).mkdir()
        (tmp_path / "asyncloop" / "_version.py").write_text('__version__ = "1.2.3"\n')
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "some-name"\n')
        (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 - 2026-01-31\n\n- New.\n")
        (tmp_path / "changes" / "README.md").write_text("")
        (tmp_path / "dist" / "some_name-1.2.3.tar.gz").write_text("")
        (tmp_path / "dist" / "some_name-1.2.3-cp311-cp311-linux_x86_64.whl").write_text("")
        return tmp_path

    def test_all_agree(self, tree):
        assert list(check_release.complaints(tree, "v1.2.3")) == []
        assert list(check_release.complaints(tree)) == []

    def test_nothing_agrees(self, tree):
        (tree / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- New.\n\n## 1.2.4 - 2026-01-31\n")
        (tree / "changes" / "+a.fix.md").write_text("")
        (tree / "dist" / "some_name-1.2.30.tar.gz").write_text("")
        complaints = "\n".join(check_release.complaints(tree, "v1.2.4"))
        for part in [
            "the tag is v1.2.4",
            "no section",
            "Unreleased",
            "changes/+a.fix.md",
            "dist/some_name-1.2.30.tar.gz",
        ]:
            assert part in complaints
        assert complaints.count("\n") == 4

    def test_version_is_the_package_s(self):
        assert check_release.version() == asyncloop.__version__

    def test_pages_install_the_distribution_by_its_name(self):
        """What a page tells to install from the index is ours, and not the other project of the package's name."""
        name = check_release.distribution()
        pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        told = [
            (page.name, word)
            for page in pages
            for command in re.findall(r"^ *\S*pip install (.+)$", page.read_text(), re.MULTILINE)
            for word in re.findall(r"(?<![\w/])asyncloop[\w-]*", command)
        ]
        assert [(page, word) for page, word in told if word != name] == []
        assert any(page == "releases.md" for page, _ in told)

    def test_changelog_has_a_place_for_releases(self):
        assert (ROOT / "CHANGELOG.md").read_text().count("\n<!-- releases -->\n") == 1
