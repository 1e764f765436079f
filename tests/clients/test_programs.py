"""Programs that everybody has as peers: curl, nginx, socat. (openssl: tests/tls/test_peers.py)"""

import asyncio
import os
import socket

import pytest

from .conftest import PLAIN_ENVIRONMENT, accepts, free_port, program, running

NGINX = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 200; }}
http {{
    access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
    uwsgi_temp_path {home}/u; scgi_temp_path {home}/s; client_max_body_size 20m;
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {tls.cert}; ssl_certificate_key {tls.key};
        location /files/ {{ root {home}; }}
        location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""


async def command(*arguments, data=None):
    """Run a program; return what it prints, once it has ended well."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *map(str, arguments), stdin=pipe, stdout=pipe, stderr=pipe, env=PLAIN_ENVIRONMENT
    )
    out, err = await process.communicate(data)
    assert process.returncode == 0, err
    return out


def application():
    web = pytest.importorskip("aiohttp.web")

    async def answer(request):
        body = await request.read()
        return web.Response(body=body or request.path.encode())

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", answer)
    return web.AppRunner(app, access_log=None)


class Serving:
    """An aiohttp application while the block runs."""

    def __init__(self, make_site):
        self.make_site = make_site

    async def __aenter__(self):
        self.runner = application()
        await self.runner.setup()
        site = self.make_site(pytest.importorskip("aiohttp.web"), self.runner)
        await site.start()
        return site._server.sockets[0].getsockname()

    async def __aexit__(self, *exc):
        await self.runner.cleanup()


class TestCurl:
    def test_https(self, run, tls, tmp_path):
        curl = program("curl")
        (tmp_path / "large").write_bytes(os.urandom(3_000_000))

        async def main():
            async with Serving(lambda web, runner: web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.server)) as name:
                url = f"https://localhost:{name[1]}"
                options = ["-sS", "--cacert", tls.cert, "--noproxy", "*"]
                assert await command(curl, *options, f"{url}/path") == b"/path"
                assert await command(curl, *options, "--http1.0", f"{url}/old") == b"/old"
                assert await command(curl, *options, "--tls-max", "1.2", f"{url}/older") == b"/older"
                echo = await command(curl, *options, "--data-binary", f"@{tmp_path}/large", f"{url}/")
                assert echo == (tmp_path / "large").read_bytes()
                many = [command(curl, *options, f"{url}/{i}") for i in range(10)]
                assert await asyncio.gather(*many) == [b"/%d" % i for i in range(10)]

        run(main())

    def test_unix_socket(self, run, tmp_path):
        curl = program("curl")

        async def main():
            async with Serving(lambda web, runner: web.UnixSite(runner, str(tmp_path / "socket"))) as path:
                return await command(curl, "-sS", "--unix-socket", path, "http://localhost/over/unix")

        assert run(main()) == b"/over/unix"


class TestNginx:
    @pytest.fixture
    def ports(self, tls, tmp_path):
        port, behind = free_port(), free_port()
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "page").write_bytes(b"page" * 500_000)
        if os.geteuid() == 0:  # what it does is not what is tested
            user = "user root;"
        else:
            user = ""
        config = tmp_path / "nginx.conf"
        config.write_text(user + NGINX.format(home=tmp_path, port=port, behind=behind, tls=tls))
        nginx = [program("nginx"), "-p", tmp_path, "-c", config, "-e", tmp_path / "error.log"]
        with running(nginx, accepts(port), env=PLAIN_ENVIRONMENT):
            yield port, behind

    def test_as_our_server(self, run, tls, ports):
        aiohttp = pytest.importorskip("aiohttp")

        async def main():
            connector = aiohttp.TCPConnector(ssl=tls.client, limit=20)
            async with aiohttp.ClientSession(connector=connector) as session:

                async def get():
                    async with session.get(f"https://localhost:{ports[0]}/files/page") as response:
                        return await response.read() == b"page" * 500_000

                assert all(await asyncio.gather(*[get() for _ in range(20)]))

        run(main())

    def test_in_front_of_our_server(self, run, tls, ports):
        aiohttp = pytest.importorskip("aiohttp")
        port, behind = ports

        async def main():
            async with (
                Serving(lambda web, runner: web.TCPSite(runner, "127.0.0.1", behind)),
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls.client)) as session,
            ):

                async def post(i):
                    async with session.post(f"https://localhost:{port}/{i}", data=bytes([i]) * 10_000 * i) as response:
                        return await response.read()

                bodies = await asyncio.gather(*[post(i) for i in range(1, 40)])
                assert bodies == [bytes([i]) * 10_000 * i for i in range(1, 40)]

        run(main())


class TestSocat:
    def test_tcp_client_and_server(self, run):
        socat = program("socat")

        async def main():
            async def shout(reader, writer):
                writer.write((await reader.read()).upper())
                writer.close()

            server = await asyncio.start_server(shout, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            text = b"some text\n" * 50_000
            assert await command(socat, "-t20", "-", f"TCP:127.0.0.1:{port}", data=text) == text.upper()
            server.close()

            port = free_port()
            listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"
            cat = await asyncio.create_subprocess_exec(socat, listen, "EXEC:cat", env=PLAIN_ENVIRONMENT)
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
            writer.write(text)
            writer.write_eof()
            assert await reader.read() == text
            writer.close()
            assert await cat.wait() == 0

        run(main())

    def test_unix(self, run, tmp_path):
        socat = program("socat")

        async def main():
            async def shout(reader, writer):
                writer.write((await reader.read()).upper())
                writer.close()

            server = await asyncio.start_unix_server(shout, tmp_path / "socket")
            out = await command(socat, "-t20", "-", f"UNIX:{tmp_path}/socket", data=b"text")
            server.close()
            return out

        assert run(main()) == b"TEXT"

    def test_udp(self, run):
        socat = program("socat")

        class Shouting(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, address):
                self.transport.sendto(data.upper(), address)

        async def main():
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                Shouting, ("127.0.0.1", 0), family=socket.AF_INET
            )
            port = transport.get_extra_info("sockname")[1]
            out = await command(socat, "-t0.3", "-", f"UDP:127.0.0.1:{port}", data=b"a datagram")
            transport.close()
            return out

        assert run(main()) == b"A DATAGRAM"
