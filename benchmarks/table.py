"""Prints a report of run.py as text. Ratios are of speed: 2.0x uvloop takes half of uvloop's time (or memory)."""

import statistics

SUBJECT = "asyncloop"  # the Markdown table has its ratios
BASES = ("uvloop", "zuvloop", "asyncio")
WHAT = {"ns": "CPU", "ns wall": "wall time", "bytes": "bytes"}


def figure(value, unit):
    """Return nanoseconds or bytes as text, with the digits that matter: 85.3 ns, 4,512 ns, 16.0 us, 951 bytes."""
    if unit == "bytes":
        return f"{value:,.0f} bytes"
    if value >= 1e7:
        return f"{value / 1e6:,.1f} ms"
    if value >= 1e4:
        return f"{value / 1e3:,.1f} us"
    return f"{value:,.0f} ns" if value >= 100 else f"{value:.1f} ns"


def ratio(case, loop, base):
    """Return how many times as fast as `base` the loop is in the case, or None if one of them has no result.

    It is the median of the ratios of the rounds: other work on the machine slows all loops of a round alike, but
    changes from round to round. If one of them failed in some round, it is the ratio of the medians.
    """
    if loop not in case["loops"] or base not in case["loops"]:
        return None
    theirs, ours = case["loops"][base], case["loops"][loop]
    if len(theirs["samples"]) != len(ours["samples"]):
        return theirs["median"] / ours["median"]
    return statistics.median(their / our for their, our in zip(theirs["samples"], ours["samples"], strict=True))


def written(ratio):
    return "" if ratio is None else f"{ratio:.2f}x" if ratio < 9.95 else f"{ratio:.1f}x"


def heading(report):
    versions = ", ".join(name if name == "asyncio" else f"{name} {v}".strip() for name, v in report["loops"].items())
    return (
        f"Python {report['python']}, {report['platform']}; {versions}; "
        f"median of {report['rounds']} x {report['seconds']:g} s"
    )


def plain(report):
    """Return the report for a terminal: a paragraph for each case, a line for each loop."""
    lines = [heading(report)]
    width = max(map(len, report["loops"]))
    for name, case in report["cases"].items():
        what = WHAT[case["unit"]]
        lines += ["", f"{case['title']} ({name}): {what} per operation: {case['operation']}"]
        for loop, result in case["loops"].items():
            line = f"  {loop:{width}} {figure(result['median'], case['unit']):>12} +-{result['spread']:4.0%}"
            for base in BASES:
                if (of_base := ratio(case, loop, base)) is not None:
                    line += f" {written(of_base):>8} {base}"
            if case["unit"] != "bytes":
                line += f"   {result['rate']:>10,}/s"
            lines.append(line)
    return "\n".join(lines + failures(report, "\n{loop} failed at {case}: {why}"))


def markdown(report):
    """Return the report as a Markdown table: a row for each case, a column for each loop."""
    loops = list(report["loops"])
    bases = [base for base in BASES if base in loops and SUBJECT in loops]
    rows = [
        ["case", *loops, *(f"x {base}" for base in bases)],
        ["---", *["---:"] * (len(loops) + len(bases))],
    ]
    for name, case in report["cases"].items():
        cells = [cell(case, loop) if loop in case["loops"] else absent(report, name, loop) for loop in loops]
        title = case["title"] + (", wall time" if case["unit"] == "ns wall" else "")
        rows.append([title, *cells, *(written(ratio(case, SUBJECT, base)) for base in bases)])
    table = markdown_lines(rows)
    return "\n".join([heading(report), "", *table, *failures(report, "\n{loop} failed at {case}: `{why}`")])


def cell(case, loop):
    result = case["loops"][loop]
    return f"{figure(result['median'], case['unit'])} ±{result['spread']:.0%}"


def absent(report, name, loop):
    """Say in a word why a loop has no result: it failed, it has no such method, or there is nothing to run."""
    if any(f["case"] == name and f["loop"] == loop for f in report["failed"]):
        return "failed"
    return "none" if loop in report.get("lacking", {}).get(name, ()) else "-"


def markdown_lines(rows):
    return [f"| {' | '.join(row)} |" for row in rows]


def latency(report):
    """Return a Markdown table of the latency of single operations, with a row for each case that has it."""
    loops = list(report["loops"])
    rows = [["latency: p50 / p99 / p99.9", *loops], ["---", *["---:"] * len(loops)]]
    for case in report["cases"].values():
        if any("latency" in result for result in case["loops"].values()):
            rows.append([case["title"], *(percentiles(case["loops"].get(loop, {})) for loop in loops)])
    return "\n".join(markdown_lines(rows)) if len(rows) > 2 else "No case that was run tells the latency."


def percentiles(result):
    return " / ".join(figure(ns, "ns") for ns in result["latency"].values()) if "latency" in result else "-"


def failures(report, template):
    return [template.format(**failure) for failure in report["failed"]]
