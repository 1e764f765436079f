"""Flow control: water marks, and when exactly the protocol is told to pause and to resume."""

import random
import re

import pytest
import stock


@pytest.fixture
def stuffed(connect, Recorder, stuff):
    """stuffed() -> (transport, peer, protocol, size): the kernel takes no more, `size` bytes wait, not paused yet."""

    def make(protocol=None):
        protocol = protocol or Recorder()
        transport, peer = connect(protocol)
        transport.set_write_buffer_limits(high=1 << 30)
        stuff(transport)
        assert "pause_writing" not in protocol.calls
        return transport, peer, protocol, transport.get_write_buffer_size()

    return make


class TestLimits:
    def test_are_16_and_64_kib_to_begin_with(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)

    @pytest.mark.parametrize(
        ("arguments", "limits"),
        [
            ({}, (16384, 65536)),
            ({"high": 1000}, (250, 1000)),
            ({"low": 1000}, (1000, 4000)),
            ({"high": 100, "low": 100}, (100, 100)),
            ({"high": 100, "low": 0}, (0, 100)),
            ({"high": 0}, (0, 0)),
            ({"high": 1 << 40}, (1 << 38, 1 << 40)),
        ],
    )
    def test_missing_one_follows_from_the_other(self, connect, Recorder, arguments, limits):
        transport, _ = connect(Recorder())
        transport.set_write_buffer_limits(**arguments)
        assert transport.get_write_buffer_limits() == limits

    def test_high_comes_first(self, connect, Recorder):
        transport, _ = connect(Recorder())
        transport.set_write_buffer_limits(20, 10)
        assert transport.get_write_buffer_limits() == (10, 20)

    @pytest.mark.parametrize(("high", "low"), [(1, 2), (-1, None), (10, -1), (None, -1)])
    def test_must_make_sense(self, connect, Recorder, high, low):
        transport, _ = connect(Recorder())
        with pytest.raises(ValueError, match=r"high \(-?\d+\) must be >= low \(-?\d+\) must be >= 0"):
            transport.set_write_buffer_limits(high=high, low=low)
        assert transport.get_write_buffer_limits() == (16384, 65536)

    def test_error_names_both(self, connect, Recorder):
        transport, _ = connect(Recorder())
        with pytest.raises(ValueError, match=re.escape("high (1) must be >= low (2) must be >= 0")):
            transport.set_write_buffer_limits(high=1, low=2)

    @pytest.mark.parametrize("wrong", ["10", b"10", []])
    def test_must_be_numbers(self, connect, Recorder, wrong):
        transport, _ = connect(Recorder())
        with pytest.raises(TypeError):
            transport.set_write_buffer_limits(high=wrong)

    def test_lowered_below_the_queue_pause_at_once(self, stuffed):
        transport, _, protocol, size = stuffed()
        transport.set_write_buffer_limits(high=size)
        assert "pause_writing" not in protocol.calls
        transport.set_write_buffer_limits(high=size - 1)
        assert protocol.calls[-1] == "pause_writing"


class TestPauseWriting:
    def test_comes_when_the_high_water_mark_is_passed_not_reached(self, stuffed):
        transport, _, protocol, size = stuffed()
        transport.set_write_buffer_limits(high=size + 10)
        transport.write(b"0123456789")
        assert "pause_writing" not in protocol.calls
        transport.write(b"x")
        assert protocol.calls == ["connection_made", "pause_writing"]

    def test_comes_once(self, stuffed):
        transport, _, protocol, _ = stuffed()
        transport.set_write_buffer_limits(high=0)
        transport.write(b"more")
        transport.write(b"more")
        assert protocol.calls.count("pause_writing") == 1

    def test_does_not_come_for_bytes_that_the_kernel_takes(self, connect, Recorder, receive, settle):
        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.set_write_buffer_limits(high=0)
        for _ in range(10):
            transport.write(b"small")
        settle()
        assert receive(peer, 50) == b"small" * 10
        assert protocol.calls == ["connection_made"]

    @pytest.mark.stock_needs(stock.WRITELINES_PAUSES, reason="stock's writelines() does not pause (gh-127655)")
    def test_comes_for_writelines_too(self, stuffed):
        transport, _, protocol, size = stuffed()
        transport.set_write_buffer_limits(high=size + 3)
        transport.writelines([b"ab", b"c"])
        assert "pause_writing" not in protocol.calls
        transport.writelines([b"d", b"e"])
        assert protocol.calls[-1] == "pause_writing"

    def test_tells_the_protocol_that_is_set_now(self, stuffed, Recorder):
        transport, _, first, _ = stuffed()
        second = Recorder()
        transport.set_protocol(second)
        transport.set_write_buffer_limits(high=0)
        assert "pause_writing" not in first.calls
        assert second.calls == ["pause_writing"]

    def test_failing_is_reported_and_nothing_else(self, stuffed, Recorder, take_reports, receive_all):
        class Failing(Recorder):
            def pause_writing(self):
                super().pause_writing()
                raise ZeroDivisionError

        transport, peer, protocol, size = stuffed(Failing())
        transport.set_write_buffer_limits(high=size)
        transport.write(b"tail")
        [report] = take_reports()
        assert report["message"] == "protocol.pause_writing() failed"
        assert isinstance(report["exception"], ZeroDivisionError)
        assert report["transport"] is transport
        assert report["protocol"] is protocol
        assert not transport.is_closing()
        transport.close()
        assert receive_all(peer).endswith(b"tail")

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_interrupts_come_out_of_write(self, stuffed, Recorder, error):
        class Failing(Recorder):
            def pause_writing(self):
                raise error

        transport, _, _, size = stuffed(Failing())
        transport.set_write_buffer_limits(high=size)
        with pytest.raises(error):
            transport.write(b"x")

    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_may_end_the_transport(self, stuffed, Recorder, eventually, receive_all, how):
        class Ending(Recorder):
            def pause_writing(self):
                super().pause_writing()
                getattr(self.transport, how)()

        transport, peer, protocol, size = stuffed(Ending())
        transport.set_write_buffer_limits(high=size)
        transport.write(b"x")
        assert transport.is_closing()
        try:
            receive_all(peer)
        except ConnectionResetError:
            assert how == "abort"
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]


class TestResumeWriting:
    def test_comes_once_at_or_below_the_low_water_mark(self, stuffed, Recorder, receive_all):
        class Measuring(Recorder):
            size = None

            def resume_writing(self):
                super().resume_writing()
                self.size = self.transport.get_write_buffer_size()

        transport, peer, protocol, size = stuffed(Measuring())
        transport.set_write_buffer_limits(high=size, low=size // 2)
        transport.write(b"x")
        assert protocol.calls[-1] == "pause_writing"
        transport.close()
        receive_all(peer)
        assert protocol.calls == ["connection_made", "pause_writing", "resume_writing", "connection_lost"]
        assert protocol.size <= size // 2

    def test_waits_for_an_empty_buffer_with_low_0(self, stuffed, Recorder, receive):
        class Measuring(Recorder):
            size = None

            def resume_writing(self):
                super().resume_writing()
                self.size = self.transport.get_write_buffer_size()

        transport, peer, protocol, size = stuffed(Measuring())
        transport.set_write_buffer_limits(high=0, low=0)
        assert protocol.calls[-1] == "pause_writing"
        receive(peer, size)
        if "resume_writing" in protocol.calls:
            assert protocol.size == 0
        else:
            assert transport.get_write_buffer_size() > 0

    def test_does_not_come_while_the_buffer_is_above_the_mark(self, stuffed, settle):
        transport, _, protocol, _ = stuffed()
        transport.set_write_buffer_limits(high=0)
        settle()
        assert protocol.calls[-1] == "pause_writing"

    def test_does_not_come_after_abort(self, stuffed, settle):
        transport, _, protocol, _ = stuffed()
        transport.set_write_buffer_limits(high=0)
        transport.abort()
        settle()
        assert protocol.calls == ["connection_made", "pause_writing", "connection_lost"]

    def test_may_write_again(self, loop, connect, Recorder, receive_all):
        data = random.Random(6).randbytes(10_000_000)

        class Pump(Recorder):
            sent = 0
            paused = False

            def connection_made(self, transport):
                super().connection_made(transport)
                self.pump()

            def pause_writing(self):
                assert not self.paused
                super().pause_writing()
                self.paused = True

            def resume_writing(self):
                assert self.paused
                super().resume_writing()
                self.paused = False
                self.pump()

            def pump(self):
                while not self.paused and self.sent < len(data):
                    self.transport.write(data[self.sent : self.sent + 100_000])
                    self.sent += 100_000
                if self.sent >= len(data):
                    loop.call_soon(self.transport.close)

        protocol = Pump()
        _, peer = connect(protocol)
        assert receive_all(peer) == data
        pauses = protocol.calls.count("pause_writing")
        assert pauses >= 1
        assert pauses - protocol.calls.count("resume_writing") in (0, 1)

    def test_failing_is_reported_and_nothing_else(self, stuffed, Recorder, take_reports, receive_all):
        class Failing(Recorder):
            def resume_writing(self):
                super().resume_writing()
                raise ZeroDivisionError

        transport, peer, protocol, size = stuffed(Failing())
        transport.set_write_buffer_limits(high=size)
        transport.write(b"tail")
        transport.close()
        assert receive_all(peer).endswith(b"tail")
        [report] = take_reports()
        assert report["message"] == "protocol.resume_writing() failed"
        assert isinstance(report["exception"], ZeroDivisionError)
        assert report["transport"] is transport
        assert report["protocol"] is protocol
        assert protocol.lost == [None]

    def test_may_abort(self, kind, stuffed, Recorder, eventually, receive_all, settle, take_reports):
        class Aborting(Recorder):
            def resume_writing(self):
                super().resume_writing()
                self.transport.abort()

        transport, peer, protocol, size = stuffed(Aborting())
        transport.set_write_buffer_limits(high=size, low=size // 2)
        transport.write(b"x")
        receive_all(peer)
        settle()
        if kind == "asyncio":
            take_reports()  # with an emptied buffer stock ends the transport twice, and stumbles the second time
        assert protocol.lost == [None]
