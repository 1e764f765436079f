import contextlib
import re
import signal
import socket

import pytest

TIMEOUT = 20  # seconds, for one line


class Talker:
    """A chat client that owes nothing to asyncio: a blocking socket, line by line."""

    def __init__(self, port, nickname=None, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.lines = self.socket.makefile(encoding="utf-8")
        assert self.read() == "* welcome! What is your nickname?"
        if nickname:
            self.say(nickname)
            assert self.read() == f"* hello {nickname}; /who says who is here, /quit leaves"

    def say(self, line):
        self.socket.sendall(line.encode() + b"\n")

    def read(self):
        """Return the next line, or None at the end."""
        line = self.lines.readline()
        return line.removesuffix("\n") if line else None

    def close(self):
        self.lines.close()
        self.socket.close()


@pytest.fixture
def server(example):
    process = example.start("chat_server.py", "--port", 0)
    process.port = int(re.fullmatch(r"Listening on 127\.0\.0\.1 port (\d+); .*\n", process.stdout.readline())[1])
    return process


@pytest.fixture
def connect(server):
    """Make Talkers that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def connect(*args, **kwargs):
            return stack.enter_context(contextlib.closing(Talker(server.port, *args, **kwargs)))

        yield connect


def test_each_line_reaches_all_others(connect):
    ada = connect("ada")
    bob = connect("bob")
    assert ada.read() == "* bob has come"
    cyd = connect("cyd")
    assert [ada.read(), bob.read()] == ["* cyd has come"] * 2

    ada.say("hello")
    bob.say("grüß dich")
    assert bob.read() == "ada: hello"
    assert sorted([cyd.read(), cyd.read()]) == ["ada: hello", "bob: grüß dich"]
    assert ada.read() == "bob: grüß dich"  # and not its own line before it

    cyd.close()
    assert [ada.read(), bob.read()] == ["* cyd has left"] * 2


def test_nickname_is_asked_for_until_it_is_good(connect):
    ada = connect("ada")
    stranger = connect()
    for nickname, answer in (
        ("", "* a nickname is 1 to 20 letters, digits and underscores; another, please"),
        ("two words", "* a nickname is 1 to 20 letters, digits and underscores; another, please"),
        ("ada", "* ada is taken; another, please"),
        ("bob", "* hello bob; /who says who is here, /quit leaves"),
    ):
        stranger.say(nickname)
        assert stranger.read() == answer
    assert ada.read() == "* bob has come"


def test_commands_are_answered(connect):
    ada, bob = connect("ada"), connect("bob")
    bob.say("/who")
    assert bob.read() == "* here: ada, bob"
    bob.say("/dance now")
    assert bob.read() == "* there is no /dance, only /who and /quit"
    bob.say("/quit")
    assert [bob.read(), bob.read()] == ["* good-bye", None]
    assert [ada.read(), ada.read()] == ["* bob has come", "* bob has left"]
    connect("bob")  # the nickname is free again


def test_client_with_an_endless_line_is_disconnected(connect):
    ada, bob = connect("ada"), connect("bob")
    assert ada.read() == "* bob has come"
    bob.say("x" * 5000)
    assert ada.read() == "* bob has left"
    assert bob.read() == "* no line may be longer than 4096 bytes, good-bye"


def test_client_that_does_not_read_is_dropped_and_others_miss_no_line(connect):
    ada, bob = connect("ada"), connect("bob")
    slow = connect("slow", receive_buffer=4096)
    assert [ada.read(), ada.read(), bob.read()] == ["* bob has come", "* slow has come", "* slow has come"]

    heard = []
    for number in range(20_000):
        ada.say(f"{number} {'x' * 4000}")
        heard.append(bob.read())
        if heard[-1] == "* slow has left":
            break
    assert heard.pop() == "* slow has left"
    assert [line.split()[:2] for line in heard] == [["ada:", str(n)] for n in range(len(heard))]
    assert ada.read() == "* slow has left"
    bob.say("still here")
    assert ada.read() == "bob: still here"
    received = sum(1 for _ in iter(slow.read, None))
    assert 0 < received < len(heard)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_server_cleanly(example, server, connect, number):
    ada, stranger = connect("ada"), connect()
    server.send_signal(number)
    assert [ada.read(), ada.read()] == ["* the server stops, good-bye", None]
    assert stranger.read() is None
    assert example.finish(server) == "ada has come, 1 here\nada has left, 0 here\nStopped.\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), TIMEOUT)


def test_client_program_talks_and_listens(example, server, connect):
    ada = connect("ada")
    bob = example.start("chat_client.py", "--port", server.port, "--nick", "bob")
    assert ada.read() == "* bob has come"
    ada.say("hello bob")
    assert [bob.stdout.readline() for _ in range(3)][2] == "ada: hello bob\n"
    bob.stdin.write("hello ada\n")
    bob.stdin.flush()
    assert ada.read() == "bob: hello ada"
    assert example.finish(bob) == ""  # it closes its standard input, which ends the client
    assert ada.read() == "* bob has left"


def test_client_program_ends_with_the_server(example, server):
    ada = example.start("chat_client.py", "--port", server.port)
    assert ada.stdout.readline() == "* welcome! What is your nickname?\n"
    ada.stdin.write("ada\n")
    ada.stdin.flush()
    assert server.stdout.readline() == "ada has come, 1 here\n"
    server.send_signal(signal.SIGINT)
    # Its standard input stays open, so the thread that reads it is still waiting.
    assert ada.wait(TIMEOUT) == 0
    assert ada.stdout.read().endswith("* the server stops, good-bye\n")
    assert ada.stderr.read() == ""


def test_client_program_says_that_there_is_no_server(example):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = nobody.getsockname()[1]
        process = example.start("chat_client.py", "--port", port)
        output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert errors.startswith(f"No connection to 127.0.0.1 port {port}: ")
    assert errors.count("\n") == 1
