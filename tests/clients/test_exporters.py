"""asyncloop.otel and asyncloop.prometheus with the real libraries."""

import asyncio
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import asyncloop


def work():
    """Run a loop for a while, with a stall."""

    async def main():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await reader.read()
            writer.close()
        time.sleep(0.1)
        await asyncio.sleep(0.1)

    asyncloop.run(main())


class TestOpenTelemetry:
    @pytest.fixture
    def reader(self):
        pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        import asyncloop.otel

        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        asyncloop.otel.instrument(provider)
        yield reader
        provider.shutdown()

    @staticmethod
    def collect(reader):
        """{name: (metric, its points)}"""
        time.sleep(0.12)  # else it is the collection before
        (resource,) = reader.get_metrics_data().resource_metrics
        (scope,) = resource.scope_metrics
        assert scope.scope.name == "asyncloop"
        assert scope.scope.version == asyncloop.__version__
        return {metric.name: (metric, list(metric.data.data_points)) for metric in scope.metrics}

    def test_delay_and_utilization_since_the_last_collection(self, reader):
        self.collect(reader)
        work()
        found = self.collect(reader)
        for name in "min", "mean", "max", "p50", "p90", "p99":
            metric, (point,) = found[f"asyncio.eventloop.delay.{name}"]
            assert metric.unit == "s"
        assert found["asyncio.eventloop.delay.max"][1][0].value >= 0.09
        assert found["asyncio.eventloop.delay.p99"][1][0].value >= 0.09
        assert found["asyncio.eventloop.delay.min"][1][0].value == 0
        metric, (point,) = found["asyncio.eventloop.utilization"]
        assert metric.unit == "1"
        assert 0.2 < point.value < 0.9
        again = self.collect(reader)
        assert again["asyncio.eventloop.delay.max"][1][0].value == 0
        assert again["asyncio.eventloop.utilization"][1][0].value == 0

    def test_counters(self, reader):
        def values(name, attribute=None):
            return {
                point.attributes.get(attribute): point.value for point in self.collect(reader)[f"asyncio.{name}"][1]
            }

        before = values("connection.accepted")[None]
        work()
        assert values("connection.accepted")[None] == before + 1
        spent = values("eventloop.time", "asyncio.eventloop.state")
        assert set(spent) == {"busy", "poll", "idle"}
        assert spent["idle"] >= 0.09 and spent["busy"] >= 0.09
        assert set(values("network.io", "network.io.direction")) == {"receive", "transmit"}

    def test_each_counter_is_monotonic(self, reader):
        work()
        earlier = self.collect(reader)
        work()
        later = self.collect(reader)
        for name, (metric, points) in earlier.items():
            if getattr(metric.data, "is_monotonic", False):
                for before, after in zip(points, later[name][1], strict=True):
                    assert before.value <= after.value, name

    def test_each_instrument_has_unit_and_description(self, reader):
        for metric, points in self.collect(reader).values():
            assert metric.unit and metric.description and points


class TestPrometheus:
    @pytest.fixture
    def scrape(self):
        """scrape(): {name of a sample: {labels: value}}, as a real server has shown them over HTTP."""
        client = pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")
        from prometheus_client.parser import text_string_to_metric_families

        import asyncloop.prometheus

        registry = client.CollectorRegistry()
        asyncloop.prometheus.register(registry)
        server, thread = client.start_http_server(0, "127.0.0.1", registry)

        def scrape():
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as response:
                text = response.read().decode()
            found = {}
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
            return found

        yield scrape
        server.shutdown()
        server.server_close()
        thread.join()

    def test_a_scrape(self, scrape):
        before = scrape()
        work()
        after = scrape()
        accepted = "asyncio_connections_accepted_total"
        assert after[accepted][()] == before[accepted][()] + 1
        spent = after["asyncio_eventloop_seconds_total"]
        assert spent[("idle",)] >= before["asyncio_eventloop_seconds_total"][("idle",)] + 0.09
        assert set(spent) == {("busy",), ("poll",), ("idle",)}
        assert set(after["asyncio_network_bytes_total"]) == {("receive",), ("transmit",)}

    def test_the_delay_is_a_histogram_over_time(self, scrape):
        before = scrape()["asyncio_eventloop_delay_seconds_bucket"]
        work()
        after = scrape()["asyncio_eventloop_delay_seconds_bucket"]
        gained = {float(limit): round(after[(limit,)] - before[(limit,)], 9) for (limit,) in after}
        assert list(gained.values()) == sorted(gained.values())
        assert gained[float("inf")] - gained[0.05] >= 0.09  # so long the delay was longer
        assert gained[0.05] >= 0.09  # the time in which it waited

    def test_another_scraper_changes_nothing(self, scrape):
        first = scrape()
        second = scrape()
        assert first["asyncio_eventloop_turns_total"] == second["asyncio_eventloop_turns_total"]

    def test_registered_once(self, scrape):
        import prometheus_client

        registry = prometheus_client.CollectorRegistry()
        asyncloop.prometheus.register(registry)
        with pytest.raises(ValueError):
            asyncloop.prometheus.register(registry)


@pytest.mark.parametrize("module, package", [("otel", "opentelemetry-api"), ("prometheus", "prometheus_client")])
def test_a_missing_library_is_named(module, package):
    source = f"""
import sys
sys.path.insert(0, {str(Path(asyncloop.__file__).parents[1])!r})
sys.modules["opentelemetry.metrics"] = sys.modules["prometheus_client"] = None
import asyncloop
try:
    import asyncloop.{module}
except ImportError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == f"asyncloop.{module} needs the package {package}: pip install asyncloop-ev[{module}]\n"


def test_nothing_is_imported_unasked():
    source = f"""
import sys
sys.path.insert(0, {str(Path(asyncloop.__file__).parents[1])!r})
import asyncloop
print([name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "prometheus_client", "rich")])
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
