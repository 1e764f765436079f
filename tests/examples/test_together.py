import time


def test_lines_and_statuses(example):
    process = example.start("together.py", "echo one; exit 3", "echo two >&2", "kill -9 $$")
    output = example.finish(process, status=137)
    lines = output.splitlines()
    assert {
        "1 echo: one",
        "1 echo: ended with 3",
        "2 echo: two",
        "2 echo: ended with 0",
        "3 kill: ended with 137",
    } == set(lines)


def test_each_reads_the_input(example):
    process = example.start("together.py", "--input", "tr a-z A-Z", "wc -l", "true")
    text = "some line\n" * 20_000
    output, errors = process.communicate(text, timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert output.count("1 tr: SOME LINE\n") == 20_000
    assert "2 wc: 20000\n" in output


def test_ctrl_c_ends_them_all(example):
    process = example.start("together.py", "echo up; sleep 1000", "echo up; sleep 1000")
    assert {process.stdout.readline(), process.stdout.readline()} == {"1 echo: up\n", "2 echo: up\n"}
    start = time.monotonic()
    example.interrupt(process)
    assert example.finish(process, status=130) == "stopped\n"
    assert time.monotonic() - start < 30  # and not 1,000
