"""A collector for prometheus_client, of what asyncloop's loops count and measure.

    import asyncloop.prometheus

    asyncloop.prometheus.register()
    prometheus_client.start_http_server(8000)

The delay is a histogram over time: its buckets count seconds, not events. So that

    histogram_quantile(0.99, rate(asyncio_eventloop_delay_seconds_bucket[5m]))

is the delay that was not exceeded during 99 % of the time. docs/observability.md lists all metrics.
"""

from collections.abc import Iterator
from typing import Any

from ._metrics import Delay, metrics

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
except ImportError as exc:
    raise ImportError(
        "asyncloop.prometheus needs the package prometheus_client: pip install asyncloop-ev[prometheus]"
    ) from exc

__all__ = ["Collector", "register"]

# The buckets of the delay, in seconds.
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Collector:
    """Collects the metrics of all loops of the process: for CollectorRegistry.register()."""

    def describe(self) -> Iterator[Any]:
        """Yield the same: by their names a registry refuses a second collector."""
        return self.collect()

    def collect(self) -> Iterator[Any]:
        """Yield the metric families, of one snapshot."""
        now = metrics()

        def counter(name: str, text: str, value: float) -> Any:
            return CounterMetricFamily(f"asyncio_{name}", text, value=value)

        def gauge(name: str, text: str, value: float) -> Any:
            return GaugeMetricFamily(f"asyncio_{name}", text, value=value)

        spent = CounterMetricFamily("asyncio_eventloop_seconds", "Time in each state.", labels=["state"])
        spent.add_metric(["busy"], now.busy_seconds)
        spent.add_metric(["poll"], now.poll_seconds)
        spent.add_metric(["idle"], now.idle_seconds)
        yield spent
        yield _delay(now.delay)
        yield gauge("eventloop_delay_max_seconds", "The longest delay ever.", now.delay.max)
        yield gauge("eventloops", "Event loops that there are.", now.loops)
        yield counter("eventloop_turns", "Turns.", now.turns)
        yield counter("eventloop_callbacks", "Callbacks and steps of tasks.", now.callbacks)
        yield counter("eventloop_slow_callbacks", "Those that were logged as slow.", now.slow_callbacks)
        yield counter("eventloop_exceptions", "Calls of the exception handlers.", now.exceptions_reported)
        yield gauge("eventloop_ready", "Callbacks in the ready queues.", now.ready)
        yield gauge("eventloop_ready_max", "The most with which a turn began.", now.ready_max)
        yield gauge("eventloop_timers", "Timers that are armed.", now.timers)
        yield gauge("eventloop_descriptors", "Descriptors that are watched.", now.descriptors)
        yield counter("tasks_created", "Tasks that were made.", now.tasks_made)
        yield gauge("tasks_active", "Tasks that are not done.", now.tasks_alive)
        yield gauge("executor_jobs_waiting", "Jobs that no thread has begun.", now.executor_jobs_waiting)
        yield counter("connections_created", "Stream connections made.", now.connections_made)
        yield counter("connections_accepted", "Those that servers accepted.", now.connections_accepted)
        yield counter("connections_failed", "Those that an exception ended.", now.connections_failed)
        yield gauge("connections_open", "Stream connections that are open.", now.connections_open)
        yield counter("tls_handshakes", "TLS handshakes that succeeded.", now.tls_handshakes)
        moved = CounterMetricFamily("asyncio_network_bytes", "Bytes moved.", labels=["direction"])
        moved.add_metric(["receive"], now.bytes_in)
        moved.add_metric(["transmit"], now.bytes_out)
        yield moved


def _delay(delay: Delay) -> Any:
    total = delay.total_seconds
    buckets = [(str(float(limit)), min(delay.seconds_within(limit), total)) for limit in _BUCKETS]
    family = HistogramMetricFamily(
        "asyncio_eventloop_delay_seconds",
        "How late what becomes due is run: seconds of time in which the delay was at most so long.",
    )
    family.add_metric([], [*buckets, ("+Inf", total)], sum_value=delay.mean * total)
    return family


def register(registry: CollectorRegistry | None = None) -> Collector:
    """Register a collector, and return it.

    registry: where; None: prometheus_client's own, which its exporters show. Raises ValueError if it has one already.
    """
    collector = Collector()
    (REGISTRY if registry is None else registry).register(collector)
    return collector
