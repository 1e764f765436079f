"""What programs read of transports besides their public methods, and what they replace in asyncio's classes of them."""

import asyncio
import os
import sys
from unittest import mock

import pytest
import stock


@pytest.fixture
def make(loop, run, connect, Recorder):
    """Makes a transport of a kind: "sock", "datagram", "read pipe" or "write pipe". All are closed in the end."""
    made, files = [], []

    async def endpoint():
        return await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))

    def make(which):
        if which == "sock":
            transport, _ = connect(Recorder())
        elif which == "datagram":
            transport, _ = run(endpoint())
        else:
            ends = [open(fd, "wb" if i else "rb", 0) for i, fd in enumerate(os.pipe())]
            mine, other = ends if which == "read pipe" else ends[::-1]
            files.append(other)
            how = loop.connect_read_pipe if which == "read pipe" else loop.connect_write_pipe
            transport, _ = run(how(Recorder, mine))
        made.append(transport)
        return transport

    yield make
    for transport in made:
        transport.close()
    run(asyncio.sleep(0))
    for file in files:
        file.close()


KINDS = ["sock", "datagram", "read pipe", "write pipe"]


class TestAttributes:
    @pytest.mark.parametrize("which", KINDS)
    def test_closing(self, make, turn, which):
        transport = make(which)
        assert transport._closing is False
        transport.close()
        assert transport._closing is True
        turn(3)
        assert transport._closing is True

    @pytest.mark.parametrize("which", KINDS[:3])
    def test_paused(self, make, kind, which):
        if kind == "asyncio" and which == "datagram" and not stock.DATAGRAMS_PAUSE:
            pytest.skip("asyncio's datagram transports of this patch release have none")
        transport = make(which)
        assert transport._paused is False
        if hasattr(transport, "pause_reading"):  # of datagrams asyncio has none
            transport.pause_reading()
            assert transport._paused is True
            transport.resume_reading()
            assert transport._paused is False

    @pytest.mark.parametrize("which", KINDS)
    def test_force_close(self, make, kind, turn, which):
        if kind == "asyncio" and "pipe" in which:
            pytest.skip("asyncio's pipes have none; those of uvloop do")
        transport = make(which)
        protocol = transport.get_protocol()
        exc = OSError("forced")
        with mock.patch.object(type(protocol), "connection_lost") as connection_lost:
            transport._force_close(exc)
            assert transport.is_closing()
            transport._force_close(None)
            turn(3)
        connection_lost.assert_called_once_with(exc)

    def test_they_are_read_only(self, make, kind):
        if kind == "asyncio":
            pytest.skip("asyncio's are plain attributes")
        transport = make("sock")
        for name in "_closing", "_paused":
            with pytest.raises(AttributeError):
                setattr(transport, name, True)


class TestReplacedMethods:
    """Of the classes in asyncio.transports, those that asyncio's transports inherit and ours have in C."""

    @pytest.mark.parametrize("which", KINDS)
    @pytest.mark.parametrize("cls", [asyncio.BaseTransport, asyncio.Transport], ids=lambda cls: cls.__name__)
    def test_get_extra_info(self, make, monkeypatch, which, cls, kind):
        if which == "datagram" and cls is asyncio.Transport and kind == "asyncio" and sys.version_info < (3, 12):
            pytest.skip("asyncio's class does not derive from DatagramTransport before Python 3.12")
        if cls is asyncio.Transport and which != "sock":
            cls = {"datagram": asyncio.DatagramTransport, "read pipe": asyncio.ReadTransport}.get(
                which, asyncio.WriteTransport
            )
        transport = make(which)
        stock, calls = cls.get_extra_info, []

        def get_extra_info(self, name, default=None):
            calls.append((self, name, default))
            return "mine" if name == "mine" else stock(self, name, default)

        names = ["sockname", "peername", "socket", "pipe"]
        before = [transport.get_extra_info(name) for name in names]
        with monkeypatch.context() as patch:
            patch.setattr(cls, "get_extra_info", get_extra_info)
            assert transport.get_extra_info("mine", 5) == "mine"
            assert transport.get_extra_info("none", default=6) == 6
            assert [transport.get_extra_info(name) for name in names] == before
            assert calls[:2] == [(transport, "mine", 5), (transport, "none", 6)]
            with pytest.raises(TypeError):
                transport.get_extra_info()
            calls.clear()
        assert transport.get_extra_info("mine") is None
        assert calls == []

    def test_what_raises(self, make, monkeypatch):
        transport = make("sock")
        monkeypatch.setattr(asyncio.Transport, "get_extra_info", mock.Mock(side_effect=ZeroDivisionError))
        with pytest.raises(ZeroDivisionError):
            transport.get_extra_info("peername")
        asyncio.Transport.get_extra_info.assert_called_once_with("peername")  # a Mock is not bound

    def test_writelines(self, loop, run, connect, Recorder, monkeypatch):
        """asyncio's TCP transport inherits it before Python 3.12 and has its own from then on."""
        transport, peer = connect(Recorder())
        stock = asyncio.WriteTransport.writelines
        seen = []

        def writelines(self, list_of_data):
            seen.append(list_of_data)
            stock(self, list_of_data)

        monkeypatch.setattr(asyncio.Transport, "writelines", writelines)
        run(asyncio.sleep(0))
        transport.writelines([b"ab", b"c"])
        run(asyncio.sleep(0))
        assert peer.recv(10) == b"abc"
        assert seen == ([[b"ab", b"c"]] if sys.version_info < (3, 12) else [])

    def test_writelines_of_a_pipe(self, make, monkeypatch):
        transport = make("write pipe")
        seen = []
        monkeypatch.setattr(asyncio.WriteTransport, "writelines", lambda self, data: seen.append(data))
        transport.writelines([b"x"])
        assert seen == [[b"x"]]


def test_what_is_replaced_before_the_import_is_called(script):
    source = """
        import asyncio
        stock = asyncio.BaseTransport.get_extra_info
        def get_extra_info(self, name, default=None):
            return "mine" if name == "mine" else stock(self, name, default)
        asyncio.BaseTransport.get_extra_info = get_extra_info

        import asyncloop

        async def main():
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            _, writer = await asyncio.open_connection(*address)
            print(writer.get_extra_info("mine"), writer.get_extra_info("peername") == address)
            writer.close()
            server.close()

        asyncloop.run(main())
    """
    assert script(source).stdout == "mine True\n"
