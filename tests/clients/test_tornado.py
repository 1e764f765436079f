"""tornado: its HTTP server, client and websockets, and its IOLoop in both of its forms."""

import asyncio
import datetime

import pytest

from .asgi_apps import loop_kind

pytest.importorskip("tornado")
from tornado import gen, httpclient, httpserver, iostream, netutil, process, tcpclient, tcpserver, web  # noqa: E402
from tornado import websocket as websockets  # noqa: E402
from tornado.ioloop import IOLoop, PeriodicCallback  # noqa: E402

STREAM = process.Subprocess.STREAM


class Hello(web.RequestHandler):
    async def get(self, name):
        await asyncio.sleep(0)
        upper = await IOLoop.current().run_in_executor(None, name.upper)
        self.write({"hello": upper, "loop": loop_kind()})


class Coroutine(web.RequestHandler):
    @gen.coroutine
    def get(self):
        for i in range(20):
            self.write(f"{i} " * 1000)
            yield self.flush()
            yield gen.moment


@web.stream_request_body
class Upload(web.RequestHandler):
    def prepare(self):
        self.size = 0

    async def data_received(self, chunk):
        await asyncio.sleep(0)
        self.size += len(chunk)

    def put(self):
        self.write({"size": self.size})


class Echo(websockets.WebSocketHandler):
    async def on_message(self, message):
        await self.write_message(message[::-1], binary=isinstance(message, bytes))


@pytest.fixture
def serve():
    """Starts the application; returns the server and its port."""

    def serve(**options):
        routes = [("/hello/(.*)", Hello), ("/coroutine", Coroutine), ("/upload", Upload), ("/echo", Echo)]
        server = httpserver.HTTPServer(web.Application(routes, log_function=lambda handler: None), **options)
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        return server, sockets[0].getsockname()[1]

    return serve


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_http(run, kind, loop, serve, tls, scheme):
    async def main():
        assert IOLoop.current().asyncio_loop is loop
        server, port = serve(ssl_options=tls.server if scheme == "https" else None)
        client = httpclient.AsyncHTTPClient(force_instance=True, defaults={"ssl_options": tls.client})
        url = f"{scheme}://localhost:{port}"

        answers = await asyncio.gather(*[client.fetch(f"{url}/hello/{i}x") for i in range(30)])
        assert [answer.body.decode() for answer in answers] == [
            f'{{"hello": "{i}X", "loop": "{kind}"}}' for i in range(30)
        ]
        answer = await client.fetch(f"{url}/coroutine")
        assert answer.body.decode() == "".join(f"{i} " * 1000 for i in range(20))
        answer = await client.fetch(f"{url}/upload", method="PUT", body=bytes(2_000_000))
        assert answer.body == b'{"size": 2000000}'
        with pytest.raises(httpclient.HTTPClientError, match="404"):
            await client.fetch(f"{url}/nowhere")

        client.close()
        server.stop()
        await server.close_all_connections()

    run(main())


def test_websocket(run, serve):
    async def main():
        server, port = serve()
        connection = await websockets.websocket_connect(f"ws://127.0.0.1:{port}/echo")
        for message in "hello", "x" * 300_000, bytes(range(256)):
            await connection.write_message(message, binary=isinstance(message, bytes))
            assert await connection.read_message() == message[::-1]
        connection.close(1000, "bye")
        assert await connection.read_message() is None
        server.stop()
        await server.close_all_connections()

    run(main())


def test_streams(run):
    """IOStream, which reads and writes its sockets by add_handler()."""

    class Lines(tcpserver.TCPServer):
        async def handle_stream(self, stream, address):
            try:
                while True:
                    line = await stream.read_until(b"\n")
                    await stream.write(line.upper() * 1000)
            except iostream.StreamClosedError:
                pass

    async def main():
        server = Lines()
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        stream = await tcpclient.TCPClient().connect("127.0.0.1", sockets[0].getsockname()[1])
        for i in range(20):
            line = b"%d" % i * 100 + b"a\n"
            await stream.write(line)
            assert await stream.read_bytes(len(line) * 1000) == line.upper() * 1000
        stream.close()
        server.stop()

    run(main())


def test_timers_and_callbacks(run):
    async def main():
        io_loop = IOLoop.current()
        seen = []
        periodic = PeriodicCallback(lambda: seen.append("tick"), 5)
        periodic.start()
        begin = io_loop.time()
        io_loop.call_later(0.02, seen.append, "later")
        removed = io_loop.add_timeout(datetime.timedelta(milliseconds=5), seen.append, "removed")
        io_loop.remove_timeout(removed)
        io_loop.add_callback(seen.append, "first")
        await gen.sleep(0.05)
        while seen.count("tick") < 3:
            await gen.sleep(0.001)
        periodic.stop()
        assert io_loop.time() - begin >= 0.05
        assert seen[0] == "first"
        assert seen.count("later") == 1 and "removed" not in seen
        with pytest.raises(gen.TimeoutError):
            await gen.with_timeout(datetime.timedelta(milliseconds=5), asyncio.Event().wait())

    run(main())


def test_subprocess(run):
    async def main():
        child = process.Subprocess(
            ["sh", "-c", "tr a-z A-Z; exec >&-; sleep 0.05; exit 3"], stdin=STREAM, stdout=STREAM
        )
        await child.stdin.write(b"hello")
        child.stdin.close()
        assert await child.stdout.read_until_close() == b"HELLO"
        try:
            assert await child.wait_for_exit(raise_error=False) == 3  # tornado's own handler of SIGCHLD
        finally:
            process.Subprocess.uninitialize()  # it stays with the loop where it is first used

    run(main())


def test_a_program_without_coroutines(script, kind):
    """IOLoop.current() makes the loop, of the current policy, and start() runs it."""
    done = script(
        """
        import threading, warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # policies are deprecated from Python 3.14
            if new_loop.__module__.startswith("asyncloop"):
                import asyncloop
                asyncloop.install()
        from tornado.httpclient import AsyncHTTPClient
        from tornado.ioloop import IOLoop
        from tornado.netutil import bind_sockets
        from tornado.web import Application, RequestHandler
        from tornado.httpserver import HTTPServer

        class Main(RequestHandler):
            def get(self):
                self.write("hello")

        def ask():
            future = AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/")
            io_loop.add_future(future, answered)

        def answered(future):
            print(future.result().body.decode())
            threading.Thread(target=io_loop.add_callback, args=[io_loop.stop]).start()

        io_loop = IOLoop.current()
        print(type(io_loop.asyncio_loop).__module__.partition(".")[0])
        server = HTTPServer(Application([("/", Main)]))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        port = sockets[0].getsockname()[1]
        io_loop.add_callback(ask)
        io_loop.start()

        async def again():
            return "again"

        print(io_loop.run_sync(again))
        server.stop()
        io_loop.close(all_fds=True)
        """
    )
    assert done.stdout.split() == [kind, "hello", "again"]
