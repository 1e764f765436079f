"""TLS connections: made, used, failed and dropped."""

import asyncio
import functools
import pathlib
import ssl
import subprocess
import tempfile


@functools.cache
def _contexts():
    """(of the server, of clients, of clients that trust nobody)"""
    with tempfile.TemporaryDirectory() as folder:
        both, key = pathlib.Path(folder) / "both.pem", pathlib.Path(folder) / "key.pem"
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", both]
        subprocess.run(command, check=True, capture_output=True)
        both.write_text(both.read_text() + key.read_text())
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(both)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(both)
    return server, client, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def _echo(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _serve(handler=_echo, context=True):
    options = {"ssl": _contexts()[0]} if context else {}
    server = await asyncio.start_server(handler, "127.0.0.1", 0, **options)
    return server, server.sockets[0].getsockname()


async def _end(server):
    server.close()
    await asyncio.sleep(0.005)


async def echo():
    server, address = await _serve()
    reader, writer = await asyncio.open_connection(*address, ssl=_contexts()[1], server_hostname="localhost")
    writer.write(bytes(200_000))
    await reader.readexactly(200_000)
    writer.close()
    await writer.wait_closed()
    await _end(server)


async def aborted():
    server, address = await _serve()
    _, writer = await asyncio.open_connection(*address, ssl=_contexts()[1], server_hostname="localhost")
    writer.write(bytes(200_000))
    writer.transport.abort()
    await _end(server)


async def mistrusted():
    server, address = await _serve()
    try:
        await asyncio.open_connection(*address, ssl=_contexts()[2], server_hostname="localhost")
    except ssl.SSLCertVerificationError:
        await _end(server)
    else:
        raise AssertionError("trusted")


async def not_tls():
    server, address = await _serve()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    try:
        await reader.read()
    except ConnectionResetError:
        pass
    writer.close()
    await _end(server)


async def cancelled_in_the_handshake():
    server, address = await _serve(context=False)
    connecting = asyncio.create_task(asyncio.open_connection(*address, ssl=_contexts()[1], server_hostname="localhost"))
    await asyncio.sleep(0.002)
    connecting.cancel()
    await asyncio.wait([connecting])
    await _end(server)


async def start_tls():
    async def handle(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        await writer.start_tls(_contexts()[0])
        await _echo(reader, writer)

    server, address = await _serve(handle, context=False)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"now\n")
    await reader.readline()
    await writer.start_tls(_contexts()[1], server_hostname="localhost")
    writer.write(b"hello\n")
    await reader.readline()
    writer.close()
    await writer.wait_closed()
    await _end(server)
