"""Servers with an SSLContext, and streams on top."""

import asyncio
import contextvars
import socket
import ssl

import pytest


class TestServing:
    def test_makes_a_protocol_for_each_connection(self, serve, dial, Client, eventually):
        server = serve(Client)
        for i in range(3):
            dial(server).sendall(b"%d" % i)
        eventually(lambda: len(Client.made) == 3 and all(client.data for client in Client.made))
        assert sorted(bytes(client.data) for client in Client.made) == [b"0", b"1", b"2"]

    def test_connections_know_both_addresses(self, serve, dial, Client, eventually):
        peer = dial(serve(Client))
        eventually(lambda: Client.made[0].transport)
        transport = Client.made[0].transport
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("sockname") == peer.getpeername()

    def test_sockets_of_connections_are_not_inherited_and_do_not_block(self, serve, dial, Client, eventually):
        dial(serve(Client))
        eventually(lambda: Client.made[0].transport)
        sock = Client.made[0].transport.get_extra_info("socket")
        assert sock.get_inheritable() is False
        assert sock.gettimeout() == 0

    def test_protocols_are_called_in_the_servers_context(self, loop, run, dial, Client, eventually, server_context):
        where = contextvars.ContextVar("where", default="nowhere")
        seen = []

        class Watching(Client):
            def __init__(self):
                super().__init__()
                seen.append(where.get())

            def data_received(self, data):
                super().data_received(data)
                seen.append(where.get())

        async def start():
            where.set("where the server was made")
            return await loop.create_server(Watching, "127.0.0.1", 0, ssl=server_context)

        server = run(start())
        dial(server).sendall(b"x")
        eventually(lambda: len(seen) == 2)
        server.close()
        assert seen == ["where the server was made"] * 2

    def test_session_is_resumed(self, run, serve, dial, Client, eventually, client_context, keep):
        client_context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose tickets come with the handshake
        server = serve(Client)
        session = dial(server).session

        def again():
            sock = keep(socket.create_connection(server.sockets[0].getsockname()))
            return client_context.wrap_socket(sock, server_hostname="localhost", session=session)

        assert keep(run(asyncio.to_thread(again))).session_reused

    def test_hundred_connections_are_served_at_once(self, run, loop, serve, Client, client_context, eventually):
        server = serve(Client)
        address = server.sockets[0].getsockname()

        async def visit():
            reader, writer = await asyncio.open_connection(*address, ssl=client_context, server_hostname="localhost")
            writer.write(b"x")
            await writer.drain()
            return writer

        async def visit_all():
            return await asyncio.gather(*(visit() for _ in range(100)))

        writers = run(visit_all())
        eventually(lambda: len(Client.made) == 100 and all(client.data for client in Client.made))
        for writer in writers:
            writer.close()
        eventually(lambda: all(client.lost for client in Client.made))
        assert {exc for client in Client.made for exc in client.lost} == {None}


class TestStreams:
    @pytest.fixture
    def echo_server(self, run, server_context):
        """Echoes lines until the end; "STARTTLS" begins TLS on top, after an "OK"."""
        servers = []

        async def handle(reader, writer):
            while line := await reader.readline():
                if line == b"STARTTLS\n":
                    writer.write(b"OK\n")
                    await writer.drain()
                    await writer.start_tls(server_context)
                else:
                    writer.write(line)
                    await writer.drain()
            writer.close()

        def start(**options):
            server = run(asyncio.start_server(handle, "127.0.0.1", 0, **options))
            servers.append(server)
            return server.sockets[0].getsockname()

        yield start
        for server in servers:
            server.close()
        run(asyncio.sleep(0.02))

    async def echo(self, reader, writer, data):
        writer.write(data)
        await writer.drain()
        assert await reader.readline() == data

    def test_echo_over_tls_works(self, run, echo_server, client_context, server_context):
        address = echo_server(ssl=server_context)

        async def client():
            reader, writer = await asyncio.open_connection(*address, ssl=client_context, server_hostname="localhost")
            await self.echo(reader, writer, b"hello\n")
            await self.echo(reader, writer, b"x" * 60_000 + b"\n")
            writer.close()
            await writer.wait_closed()

        run(client())

    def test_start_tls_works_on_both_sides(self, run, echo_server, client_context):
        """On both sides, by StreamWriter.start_tls()."""
        address = echo_server()

        async def client():
            reader, writer = await asyncio.open_connection(*address)
            await self.echo(reader, writer, b"in the clear\n")
            assert writer.get_extra_info("sslcontext") is None
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"OK\n"
            await writer.start_tls(client_context, server_hostname="localhost")
            assert writer.get_extra_info("sslcontext") is client_context
            await self.echo(reader, writer, b"in secret\n")
            writer.close()
            await writer.wait_closed()

        run(client())

    def test_start_tls_over_tls_works(self, run, echo_server, client_context, server_context):
        address = echo_server(ssl=server_context)

        async def client():
            reader, writer = await asyncio.open_connection(*address, ssl=client_context, server_hostname="localhost")
            outer = writer.get_extra_info("ssl_object")
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"OK\n"
            await writer.start_tls(client_context, server_hostname="localhost")
            assert writer.get_extra_info("ssl_object") is not outer
            await self.echo(reader, writer, b"in secret, twice\n")
            await self.echo(reader, writer, b"x" * 60_000 + b"\n")
            writer.transport.abort()

        run(client())
