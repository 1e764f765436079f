"""What is released: its name and version, the workflows, the changelog, the messages of commits."""

import shutil
import subprocess
from pathlib import Path

import pytest
from repository import load_tool

import asyncloop

ROOT = Path(__file__).parents[1]


check_commits = load_tool("check_commits")
check_release = load_tool("check_release")
check_workflows = load_tool("check_workflows")


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
        if shutil.which("git") is None:
            pytest.skip("no git")

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

    def test_changelog_has_a_place_for_releases(self):
        assert (ROOT / "CHANGELOG.md").read_text().count("\n<!-- releases -->\n") == 1
