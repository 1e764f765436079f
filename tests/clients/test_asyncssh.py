"""asyncssh: a server and its client."""

import asyncio

import pytest

asyncssh = pytest.importorskip("asyncssh", reason="asyncssh is not installed")


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False  # nothing is asked of anybody

    def connection_requested(self, *where):
        return True


async def process(channel):
    """What a client runs: `upper` shouts back what it reads; else the command is the answer."""
    if channel.command == "upper":
        async for line in channel.stdin:
            channel.stdout.write(line.upper())
    else:
        channel.stdout.write(channel.command)
        channel.stderr.write("on stderr")
    channel.exit(3 if channel.command == "fail" else 0)


@pytest.fixture
def connect(tmp_path):
    """connect() is an async context manager that gives a connection, of a client to a server."""
    key = asyncssh.generate_private_key("ssh-ed25519")

    class Connected:
        async def __aenter__(self):
            self.server = await asyncssh.create_server(
                Server, "127.0.0.1", 0, server_host_keys=[key], process_factory=process, sftp_factory=True
            )
            self.client = await asyncssh.connect(
                "127.0.0.1", self.server.get_port(), known_hosts=None, username="tester", client_keys=None, config=None
            )
            return self.client

        async def __aexit__(self, *exc):
            self.client.close()
            await self.client.wait_closed()
            self.server.close()
            await self.server.wait_closed()

    return Connected


def test_commands(run, connect):
    async def main():
        async with connect() as connection:
            done = await asyncio.gather(*[connection.run(f"echo {i}") for i in range(20)])
            assert [result.stdout for result in done] == [f"echo {i}" for i in range(20)]
            failed = await connection.run("fail")
            assert (failed.exit_status, failed.stderr) == (3, "on stderr")
            shouted = await connection.run("upper", input="some\nlines\n" * 5000)
            assert shouted.stdout == "SOME\nLINES\n" * 5000

    run(main())


def test_files(run, connect, tmp_path):
    async def main():
        content = bytes(range(256)) * 4000
        (tmp_path / "here").write_bytes(content)
        async with connect() as connection, connection.start_sftp_client() as sftp:
            await sftp.put(tmp_path / "here", tmp_path / "there")
            assert (tmp_path / "there").read_bytes() == content
            async with sftp.open(str(tmp_path / "there"), "rb") as file:
                await file.seek(256 * 1000)
                assert await file.read(256) == bytes(range(256))
            assert {"here", "there"} <= set(await sftp.listdir(str(tmp_path)))

    run(main())


def test_forwarded_port(run, connect):
    async def main():
        async def serve(reader, writer):
            writer.write((await reader.readline()).upper())
            writer.close()

        target = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with connect() as connection:
            port = target.sockets[0].getsockname()[1]
            listener = await connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
            writer.write(b"through\n")
            assert await reader.read() == b"THROUGH\n"
            writer.close()
            listener.close()
        target.close()

    run(main())
