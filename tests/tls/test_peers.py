"""Other programs and libraries at the other end."""

import asyncio
import io
import re
import subprocess

import pytest


class TestOpenSSL:
    def test_its_client_talks_to_our_server(self, run, serve, Client, certificate, eventually):
        server = serve(Client)
        host, port = server.sockets[0].getsockname()
        command = ["openssl", "s_client", "-quiet", "-connect", f"{host}:{port}", "-servername", "localhost"]
        command += ["-verify_return_error", "-CAfile", certificate.path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as peer:
            try:
                peer.stdin.write(b"hello\n")
                peer.stdin.flush()
                eventually(lambda: Client.made and Client.made[0].data == b"hello\n")
                transport = Client.made[0].transport
                transport.write(b"an answer\n")
                assert run(asyncio.to_thread(peer.stdout.readline)) == b"an answer\n"
                peer.stdin.close()
                transport.close()
                eventually(lambda: Client.made[0].lost)
                assert Client.made[0].lost == [None]
            finally:
                peer.kill()

    def test_its_server_talks_to_our_client(self, run, certificate, client_context):
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate.path, "-rev"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as peer:
            try:
                for line in peer.stdout:
                    if found := re.match(rb"ACCEPT 127.0.0.1:(\d+)", line):
                        break

                async def client():
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", int(found[1]), ssl=client_context, server_hostname="localhost"
                    )
                    writer.write(b"stressed\n")
                    assert await reader.readline() == b"desserts\n"
                    writer.close()
                    await writer.wait_closed()

                run(client())
            finally:
                peer.kill()


class TestAiohttp:
    @pytest.fixture
    def site(self, run, server_context):
        web = pytest.importorskip("aiohttp.web")

        async def echo(request):
            return web.Response(body=await request.read())

        async def start():
            app = web.Application(client_max_size=1 << 26)
            app.router.add_post("/", echo)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context).start()
            return runner

        runner = run(start())
        host, port = runner.addresses[0][:2]
        yield f"https://{host}:{port}/"
        run(runner.cleanup())
        run(asyncio.sleep(0.01))

    def test_client_and_server_exchange_large_bodies(self, run, site, client_context):
        import aiohttp

        body = bytes(range(256)) * 8_000

        async def main():
            async with aiohttp.ClientSession() as session:

                async def post(data):
                    async with session.post(
                        site, data=data, ssl=client_context, server_hostname="localhost"
                    ) as response:
                        return await response.read()

                return await asyncio.gather(post(io.BytesIO(body)), *(post(b"%d" % i) for i in range(50)))

        assert run(main()) == [body, *(b"%d" % i for i in range(50))]
