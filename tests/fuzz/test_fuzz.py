"""The fuzzer runs, and finds what is planted."""

import hashlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

if not hasattr(os, "pidfd_open"):
    pytest.skip("no pidfd_open() here", allow_module_level=True)


@pytest.fixture
def fuzz(tmp_path):
    def fuzz(*arguments, program=None):
        if program is not None:
            (tmp_path / "program.txt").write_text(program)
            arguments = ("--replay", tmp_path / "program.txt", *arguments)
        command = [sys.executable, "-m", "tests.fuzz", "--folder", tmp_path / "found", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)

    return fuzz


def test_random_programs_find_nothing(fuzz):
    done = fuzz("--programs", 30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 programs" in done.stdout


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="3.11 crashes where the collector closes a coroutine whose awaiter dies with it: see ops_tasks.await_odd()",
)
def test_programs_of_several_threads_find_nothing(fuzz):
    done = fuzz("--programs", 10, "--threads", 3)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 programs" in done.stdout


@pytest.mark.parametrize("ends", ["leave", "exit", "fresh"])
def test_program_with_nothing_wrong(fuzz, ends):
    done = fuzz(program=f"seed 1\nends {ends}\nmain new_loop 0 0 0\nmain call_soon 0 5 0\nmain run 0 1 1\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing wrong" in done.stdout


@pytest.mark.parametrize(
    ("operation", "ends", "fault"),
    [
        ("crash", "leave", "SEGV|segv|Segmentation"),
        ("crash", "fresh", "SEGV|segv|Segmentation"),
        ("crash_at_exit", "exit", "SEGV|segv|Segmentation"),
        ("crash_at_exit", "fresh", "SEGV|segv|Segmentation"),
        ("hang", "leave", "hang"),
        ("system_error", "leave", "SystemError: returned a result with an exception set"),
        ("broken_loop", "leave", "a new loop does not work"),
    ],
)
def test_planted_fault_is_found(fuzz, operation, ends, fault):
    limit = ("--limit", 2) if operation in ("hang", "broken_loop") else ()
    done = fuzz(*limit, program=f"seed 1\nends {ends}\nmain new_loop 0 0 0\nmain planted_{operation} 0 0 0\n")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(fault, done.stdout.splitlines()[-1])


@pytest.mark.parametrize("seed", [0, 1], ids=["worlds of their own", "shared objects"])
@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("crash", "SEGV|segv|Segmentation"),
        ("system_error", "SystemError: returned a result with an exception set"),
        ("hang", "hang"),
    ],
)
def test_planted_fault_is_found_in_threads(fuzz, seed, operation, fault):
    program = f"seed {seed}\nends leave\nthreads 3\nmain new_loop 0 0 0\nmain planted_{operation} 0 0 0\n"
    done = fuzz("--limit", 2, program=program)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(fault, done.stdout.splitlines()[-1])


def test_finding_is_shortened_to_the_steps_that_it_needs(fuzz):
    noise = "main new_evil 1 2 3\nmain nap 0 0 0\n5 collect 0 0 0\n"
    # The script 3, which a finaliser runs, crashes.
    program = f"ends leave\n{noise}main new_evil 2 0 0\n{noise}main drop 0 0 0\n3 planted_crash 0 0 0\n{noise}"
    done = fuzz("--shrink", 60, program=program)
    assert done.returncode == 1
    steps = re.findall("^(main|[0-7]) (\\w+) \\d+ \\d+ \\d+$", done.stdout, re.MULTILINE)
    assert steps == [("main", "new_evil"), ("3", "planted_crash")]


def test_program_knows_its_threads():
    source = (
        "from tests.fuzz.program import *; a = generate(3, {'first': (1, 2)}, threads=4); assert parse(a.text()) == a"
    )
    subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=True)


def test_programs_are_the_same_in_every_python():
    source = """
        from tests.fuzz.program import generate, parse
        made = [generate(seed, {"first": (1, 2), "second": (3, 1), "third": (1, 1)}) for seed in range(50)]
        assert [parse(program.text()) for program in made] == made
        print("".join(program.text() for program in made), end="")
    """
    command = [sys.executable, "-c", "if True:" + source]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    assert hashlib.sha256(text).hexdigest()[:16] == "9e05b694a23af6af"
