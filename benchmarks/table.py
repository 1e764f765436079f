"""A report of run.py as text. Ratios are of speed: 2.0x uvloop takes half of uvloop's time (or memory)."""

SUBJECT = "asyncloop"  # whose ratios the Markdown table shows
BASES = ("uvloop", "asyncio")


def figure(value, unit):
    """Return nanoseconds or bytes so that digits which matter stay: 85.3 ns, 4,512 ns, 16.0 us, 951 bytes."""
    if unit == "bytes":
        return f"{value:,.0f} bytes"
    if value >= 1e7:
        return f"{value / 1e6:,.1f} ms"
    if value >= 1e4:
        return f"{value / 1e3:,.1f} us"
    return f"{value:,.0f} ns" if value >= 100 else f"{value:.1f} ns"


def ratio(case, loop, base):
    """Return how many times as fast as `base` the loop is in the case, or None when one of them has no result."""
    if loop not in case["loops"] or base not in case["loops"]:
        return None
    return case["loops"][base]["median"] / case["loops"][loop]["median"]


def written(ratio):
    return "" if ratio is None else f"{ratio:.2f}x" if ratio < 9.95 else f"{ratio:.1f}x"


def heading(report):
    versions = ", ".join(name if name == "asyncio" else f"{name} {v}".strip() for name, v in report["loops"].items())
    return (
        f"Python {report['python']}, {report['platform']}; {versions}; "
        f"median of {report['rounds']} x {report['seconds']:g} s"
    )


def plain(report):
    """Return the report for a terminal: a paragraph a case, a line a loop."""
    lines = [heading(report)]
    width = max(map(len, report["loops"]))
    for name, case in report["cases"].items():
        what = "bytes" if case["unit"] == "bytes" else "CPU"
        lines += ["", f"{case['title']} ({name}): {what} per operation: {case['operation']}"]
        for loop, result in case["loops"].items():
            line = f"  {loop:{width}} {figure(result['median'], case['unit']):>12} +-{result['spread']:4.0%}"
            for base in BASES:
                if (of_base := ratio(case, loop, base)) is not None:
                    line += f" {written(of_base):>8} {base}"
            if case["unit"] == "ns":
                line += f"   {result['rate']:>10,}/s"
            lines.append(line)
    return "\n".join(lines + failures(report, "\n{loop} failed at {case}: {why}"))


def markdown(report):
    """Return the report as a Markdown table: a row a case, a column a loop."""
    loops = list(report["loops"])
    bases = [base for base in BASES if base in loops and SUBJECT in loops]
    rows = [
        ["case", *loops, *(f"x {base}" for base in bases)],
        ["---", *["---:"] * (len(loops) + len(bases))],
    ]
    for case in report["cases"].values():
        cells = [
            f"{figure(case['loops'][loop]['median'], case['unit'])} ±{case['loops'][loop]['spread']:.0%}"
            if loop in case["loops"]
            else "failed"
            for loop in loops
        ]
        rows.append([case["title"], *cells, *(written(ratio(case, SUBJECT, base)) for base in bases)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([heading(report), "", *lines, *failures(report, "\n{loop} failed at {case}: `{why}`")])


def failures(report, template):
    return [template.format(**failure) for failure in report["failed"]]
