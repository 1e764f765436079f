"""OpenTelemetry instruments for what asyncloop's loops count and measure.

    import asyncloop.otel

    asyncloop.otel.instrument()

The instruments are named after OpenTelemetry's conventions for the runtime of Node.js: asyncio.eventloop.delay.p99,
asyncio.eventloop.utilization, asyncio.eventloop.time and so on. docs/observability.md lists them.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from ._metrics import Interval, Metrics, metrics

try:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider
except ImportError as exc:
    raise ImportError("asyncloop.otel needs the package opentelemetry-api: pip install asyncloop-ev[otel]") from exc
from ._version import __version__

__all__ = ["instrument"]

# One collection asks all instruments: within this many seconds they answer from one snapshot.
_SAME_COLLECTION = 0.1

_PERCENTILES = (50, 90, 99)


class _Source:
    """Takes one snapshot for each collection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = metrics()
        self._between = self._last - self._last

    def take(self) -> tuple[Metrics, Interval]:
        """Return a snapshot, and what happened since the collection before."""
        with self._lock:
            now = metrics()
            if now.time - self._last.time >= _SAME_COLLECTION or self._last.turns == 0:
                self._between, self._last = now - self._last, now
            return self._last, self._between


def instrument(meter_provider: MeterProvider | None = None) -> None:
    """Make the instruments, which observe all loops of the process together. Call it once.

    meter_provider: whose meter makes them; None: the global one.
    """
    meter = (meter_provider or get_meter_provider()).get_meter("asyncloop", __version__)
    source = _Source()

    def observed(read: Callable[[Metrics, Interval], Any]) -> list[Callable[[CallbackOptions], Iterable[Observation]]]:
        """The callback of an instrument: `read` returns a number, or a list of (number, attributes)."""

        def callback(options: CallbackOptions) -> Iterable[Observation]:
            found = read(*source.take())
            if not isinstance(found, list):
                found = [(found, {})]
            return [Observation(value, attributes) for value, attributes in found]

        return [callback]

    def gauge(name: str, unit: str, text: str, read: Callable[[Metrics, Interval], Any]) -> None:
        meter.create_observable_gauge(f"asyncio.{name}", observed(read), unit, text)

    def counter(name: str, unit: str, text: str, read: Callable[[Metrics, Interval], Any]) -> None:
        meter.create_observable_counter(f"asyncio.{name}", observed(read), unit, text)

    def level(name: str, unit: str, text: str, read: Callable[[Metrics, Interval], Any]) -> None:
        meter.create_observable_up_down_counter(f"asyncio.{name}", observed(read), unit, text)

    since = "since the last collection"
    gauge("eventloop.utilization", "1", f"Part of the time that was not idle, {since}.", lambda m, i: i.utilization)
    gauge("eventloop.delay.min", "s", f"Event loop minimum delay, {since}.", lambda m, i: i.delay.min)
    gauge("eventloop.delay.mean", "s", f"Event loop mean delay, {since}.", lambda m, i: i.delay.mean)
    gauge("eventloop.delay.max", "s", f"Event loop maximum delay, {since}.", lambda m, i: i.delay.max)
    for percent in _PERCENTILES:
        gauge(
            f"eventloop.delay.p{percent}",
            "s",
            f"Event loop {percent} percentile delay, {since}.",
            lambda m, i, percent=percent: i.delay.percentile(percent),  # type: ignore[misc]
        )
    counter(
        "eventloop.time",
        "s",
        "Time that the event loops were in each state.",
        lambda m, i: [
            (m.busy_seconds, {"asyncio.eventloop.state": "busy"}),
            (m.poll_seconds, {"asyncio.eventloop.state": "poll"}),
            (m.idle_seconds, {"asyncio.eventloop.state": "idle"}),
        ],
    )
    counter("eventloop.turns", "{turn}", "Turns of the event loops.", lambda m, i: m.turns)
    counter("eventloop.callbacks", "{callback}", "Callbacks and steps of tasks.", lambda m, i: m.callbacks)
    counter("eventloop.slow_callbacks", "{callback}", "Those that were logged as slow.", lambda m, i: m.slow_callbacks)
    counter(
        "eventloop.exceptions",
        "{exception}",
        "Calls of the exception handlers.",
        lambda m, i: m.exceptions_reported,
    )
    level("eventloop.ready", "{callback}", "Callbacks in the ready queues.", lambda m, i: m.ready)
    level("eventloop.timers", "{timer}", "Timers that are armed.", lambda m, i: m.timers)
    level("eventloop.descriptors", "{descriptor}", "Descriptors that are watched.", lambda m, i: m.descriptors)
    counter("task.created", "{task}", "Tasks that were made.", lambda m, i: m.tasks_made)
    level("task.active", "{task}", "Tasks that are not done.", lambda m, i: m.tasks_alive)
    level("executor.jobs", "{job}", "Jobs that no thread has begun.", lambda m, i: m.executor_jobs_waiting)
    counter("connection.created", "{connection}", "Stream connections made.", lambda m, i: m.connections_made)
    counter("connection.accepted", "{connection}", "Those that servers accepted.", lambda m, i: m.connections_accepted)
    counter("connection.failed", "{connection}", "Those that an exception ended.", lambda m, i: m.connections_failed)
    level("connection.open", "{connection}", "Stream connections that are open.", lambda m, i: m.connections_open)
    counter("tls.handshakes", "{handshake}", "TLS handshakes that succeeded.", lambda m, i: m.tls_handshakes)
    counter(
        "network.io",
        "By",
        "Bytes that transports and sockets have moved.",
        lambda m, i: [
            (m.bytes_in, {"network.io.direction": "receive"}),
            (m.bytes_out, {"network.io.direction": "transmit"}),
        ],
    )
