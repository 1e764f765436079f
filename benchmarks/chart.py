"""Draws a report of run.py as a bar chart: how many times as fast as asyncio each loop is."""

from html import escape

from table import figure, heading, ratio

MEASURE = "operations per second of CPU time, asyncio = 1"
WIDTH = 860
MARGIN = 28
LABELS = 236  # the column of case titles
NOTES = 130  # the space right of the longest bar, for its ratio and time
TOP = 92
BAR = 12
GAP = 3  # between the bars of a case
SPACE = 18  # between cases

# (light, dark): asyncloop has a strong colour, the other loops have pale ones that differ.
PAPER = ("#ffffff", "#0d1117")
FRAME = ("#d8dee4", "#30363d")
INK = ("#1f2328", "#e6edf3")
PALE = ("#656d76", "#8d96a0")
COLOURS = {
    "asyncloop": ("#0f9d76", "#2ecc9a"),
    "uvloop": ("#7c9bd6", "#5f82c7"),
    "asyncio": ("#b6bec8", "#59626d"),
    "rloop": ("#d9a273", "#b9824f"),
    "zuvloop": ("#c08bc9", "#9a67a5"),
    "floor": ("#57606a", "#aab2bb"),
}
OTHER = ("#c9b458", "#a08d3a")


def svg(report, title=""):
    """Return the chart as the text of an SVG file for light and dark pages. Cases about memory are left out.

    title: what the chart is about, as the first words of its heading.

    It has a background of its own, because the theme of a page may not be the one that the browser tells the image.
    """
    cases = [case for case in report["cases"].values() if case["unit"] != "bytes" and "asyncio" in case["loops"]]
    loops = list(report["loops"])
    if not cases:
        raise SystemExit("The chart shows speed relative to asyncio: it needs asyncio's figures of some timed case.")
    longest = max(ratio(case, loop, "asyncio") for case in cases for loop in case["loops"])
    scale = (WIDTH - 2 * MARGIN - LABELS - NOTES) / longest

    body, y = [], TOP
    for case in cases:
        height = len(case["loops"]) * (BAR + GAP) - GAP
        body.append(text(MARGIN + LABELS - 14, y + height / 2 + 4.5, case["title"], "title", "end"))
        for loop, result in case["loops"].items():
            speed = ratio(case, loop, "asyncio")
            body += bar(y, loop, speed, speed * scale, figure(result["median"], case["unit"]))
            y += BAR + GAP
        y += SPACE - GAP
    height = y + 26
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' role="img" aria-label="{escape(described(cases))}">',
            style(loops),
            f'<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
            text(MARGIN, 38, f"{title}: {MEASURE}" if title else MEASURE[0].upper() + MEASURE[1:], "head"),
            *legend(loops),
            *body,
            text(MARGIN, height - 16, heading(report), "foot"),
            "</svg>\n",
        ]
    )


def described(cases):
    parts = [
        f"{case['title']}: " + ", ".join(f"{loop} {ratio(case, loop, 'asyncio'):.1f}" for loop in case["loops"])
        for case in cases
    ]
    return "Speed relative to asyncio. " + "; ".join(parts)


def style(loops):
    def rules(theme):
        colours = [(loop, COLOURS.get(loop, OTHER)[theme]) for loop in loops]
        return "".join(
            [
                f".paper{{fill:{PAPER[theme]};stroke:{FRAME[theme]}}}",
                f".head,.title,.ratio{{fill:{INK[theme]}}}",
                f".foot,.time,.key{{fill:{PALE[theme]}}}",
                *(f".{css(loop)}{{fill:{colour}}}" for loop, colour in colours),
            ]
        )

    return (
        "<style>text{font:13px -apple-system,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif}"
        ".head{font-size:18px;font-weight:600}.foot{font-size:11px}.ratio{font-weight:600}.ratio,.time{font-size:12px}"
        f"{rules(0)}@media(prefers-color-scheme:dark){{{rules(1)}}}</style>"
    )


def legend(loops):
    shapes, x = [], MARGIN
    for loop in loops:
        shapes.append(f'<rect class="{css(loop)}" x="{x}" y="56" width="12" height="12" rx="3"/>')
        shapes.append(text(x + 18, 66.5, loop, "key"))
        x += 18 + 7.5 * len(loop) + 22
    return shapes


def bar(y, loop, speed, length, time):
    x = MARGIN + LABELS
    kind = "ratio" if loop == "asyncloop" else "time"
    return [
        f'<rect class="{css(loop)}" x="{x}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" rx="2"/>',
        f'<text x="{x + length + 8:.1f}" y="{y + BAR - 1.8:g}"><tspan class="{kind}">{speed:.1f}×</tspan>'
        f'<tspan class="time" dx="9">{time}</tspan></text>',
    ]


def css(loop):
    return "loop-" + "".join(letter if letter.isalnum() else "-" for letter in loop)


def text(x, y, content, css_class, anchor="start"):
    anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{css_class}" x="{x:g}" y="{y:g}"{anchored}>{escape(content)}</text>'
