"""Draws the pictures of docs/observability.md: a frame of `top`, and a plot of what Prometheus scrapes.

    python tools/observability_pictures.py       # docs/top.svg, docs/delay.svg; takes half a minute

It needs rich and prometheus_client. A loop of this process serves clients of its own, and is blocked now and then. For
the first picture a viewer connects as `python -m asyncloop top` does. For the second one the exporter of
asyncloop.prometheus is scraped over HTTP, and quantiles are computed as Prometheus does it:
histogram_quantile(0.99, rate(..._bucket[2s])).
"""

import asyncio
import io
import math
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import prometheus_client  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from rich.console import Console  # noqa: E402

import asyncloop  # noqa: E402
import asyncloop.prometheus  # noqa: E402
from asyncloop import _top  # noqa: E402

SECONDS = 24
STEP = 0.5  # seconds between two scrapes
WINDOW = 4  # scrapes, which a rate is over
QUANTILES = {0.5: "#2a9d8f", 0.9: "#e9a23b", 0.99: "#c8402f"}


# --- the program ------------------------------------------------------------------------------------------------------


async def handle(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def client(address, pause):
    reader, writer = await asyncio.open_connection(*address)
    try:
        while True:
            writer.write(b"hello\n" * 20)
            for _ in range(20):
                await reader.readline()
            await asyncio.sleep(pause)
    finally:
        writer.close()


def parse_large_document():
    time.sleep(0.08)


async def reports(end):
    """In the second third of the time, a callback blocks the loop again and again."""
    begin = time.monotonic()
    while time.monotonic() < end:
        await asyncio.sleep(0.3)
        if 1 / 3 < (time.monotonic() - begin) / (end - begin) < 2 / 3:
            asyncio.get_running_loop().call_soon(parse_large_document)


async def program(end):
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    async with server, asyncio.TaskGroup() as group:
        tasks = [group.create_task(client(address, 0.02)) for _ in range(12)]
        await reports(end)
        for task in tasks:
            task.cancel()


# --- top --------------------------------------------------------------------------------------------------------------


def look(path):
    """Return a frame of `top` from the middle of the program's time."""
    time.sleep(SECONDS / 2 - 3)
    viewer = _top.Viewer(path)
    earlier = viewer.sample()
    for _ in range(3):
        time.sleep(_top.INTERVAL)
        sample = viewer.sample()
        shown, earlier = _top.frame(sample, earlier), sample
    viewer.close()
    return shown


def draw_top(shown):
    console = Console(record=True, width=120, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    console.save_svg(str(ROOT / "docs" / "top.svg"), title="python -m asyncloop top")


# --- the exporter -----------------------------------------------------------------------------------------------------


def scrape(port):
    """Return the buckets of the delay, {limit: seconds}, and the utilization's parts."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        families = {family.name: family for family in text_string_to_metric_families(response.read().decode())}
    delay = families["asyncio_eventloop_delay_seconds"].samples
    buckets = {float(sample.labels["le"]): sample.value for sample in delay if sample.name.endswith("_bucket")}
    spent = {sample.labels["state"]: sample.value for sample in families["asyncio_eventloop_seconds"].samples}
    return buckets, spent


def quantile(part, buckets):
    """Return what histogram_quantile(part, buckets) is in PromQL."""
    limits = sorted(buckets)
    wanted = part * buckets[limits[-1]]
    low = below = 0.0
    for limit in limits:
        if buckets[limit] >= wanted:
            if limit == math.inf:
                return low
            inside = buckets[limit] - below
            return low + (limit - low) * ((wanted - below) / inside if inside > 0 else 1)
        low, below = limit, buckets[limit]
    return low


def watch(port, points):
    begin = time.monotonic()
    scrapes = []
    while (passed := time.monotonic() - begin) < SECONDS:
        scrapes.append(scrape(port))
        if len(scrapes) > WINDOW:
            (old, old_spent), (new, new_spent) = scrapes[-1 - WINDOW], scrapes[-1]
            rate = {limit: new[limit] - old[limit] for limit in new}
            spent = {state: new_spent[state] - old_spent[state] for state in new_spent}
            used = 1 - spent["idle"] / sum(spent.values())
            points.append((passed, {part: quantile(part, rate) for part in QUANTILES}, used))
        time.sleep(STEP)


def draw_plot(points):
    width, height, left, top, plot = 860, 420, 64, 46, 200
    first, last = points[0][0], points[-1][0]
    lowest, highest = 1e-5, 1.0

    def x(seconds):
        return left + (seconds - first) / (last - first) * (width - left - 20)

    def y(delay):
        part = math.log10(max(delay, lowest) / lowest) / math.log10(highest / lowest)
        return top + plot * (1 - min(part, 1))

    def line(values, color, place):
        found = " ".join(f"{x(seconds):.1f},{place(value):.1f}" for seconds, value in values)
        return f'<polyline points="{found}" fill="none" stroke="{color}" stroke-width="2"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#16181d"/>',
        f'<text x="{left}" y="24" fill="#e6e6e6" font-size="15">Event loop delay: '
        "histogram_quantile(q, rate(asyncio_eventloop_delay_seconds_bucket[2s]))</text>",
    ]
    for exponent in range(-5, 1):
        place = y(10.0**exponent)
        name = {-5: "10 µs", -4: "100 µs", -3: "1 ms", -2: "10 ms", -1: "100 ms", 0: "1 s"}[exponent]
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{place:.1f}" y2="{place:.1f}" stroke="#333842"/>')
        parts.append(f'<text x="{left - 8}" y="{place + 4:.1f}" fill="#9aa0aa" text-anchor="end">{name}</text>')
    for i, (part, color) in enumerate(QUANTILES.items()):
        parts.append(line([(seconds, delays[part]) for seconds, delays, _ in points], color, y))
        parts.append(f'<text x="{width - 170 + 52 * i}" y="{top + 14}" fill="{color}">p{part * 100:.0f}</text>')
    base = top + plot + 56
    parts.append(f'<text x="{left}" y="{base - 14}" fill="#e6e6e6" font-size="15">Utilization</text>')
    for used in (0, 0.5, 1):
        place = base + 90 * (1 - used)
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{place:.1f}" y2="{place:.1f}" stroke="#333842"/>')
        parts.append(f'<text x="{left - 8}" y="{place + 4:.1f}" fill="#9aa0aa" text-anchor="end">{used:.0%}</text>')
    parts.append(line([(seconds, used) for seconds, _, used in points], "#5b9bd5", lambda used: base + 90 * (1 - used)))
    for seconds in range(math.ceil(first), math.floor(last) + 1, 4):
        parts.append(
            f'<text x="{x(seconds):.1f}" y="{height - 6}" fill="#9aa0aa" text-anchor="middle">{seconds} s</text>'
        )
    parts.append("</svg>")
    (ROOT / "docs" / "delay.svg").write_text("\n".join(parts) + "\n")


def main():
    asyncloop.prometheus.register()
    server, _ = prometheus_client.start_http_server(0, "127.0.0.1")
    points, frames = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/metrics.sock"
        sys.argv[:] = ["server.py"]  # the name that the frame shows
        with asyncloop.serve_metrics(path):
            threads = [
                threading.Thread(target=watch, args=(server.server_port, points)),
                threading.Thread(target=lambda: frames.append(look(path))),
            ]
            for thread in threads:
                thread.start()
            asyncloop.run(program(time.monotonic() + SECONDS + 1))
            for thread in threads:
                thread.join()
    draw_top(frames[0])
    draw_plot(points)
    print("docs/top.svg, docs/delay.svg")


if __name__ == "__main__":
    main()
