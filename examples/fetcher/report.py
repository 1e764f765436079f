"""What the reader sees at the end."""

import collections
import sqlite3
import statistics


def show_findings(result, directory):
    """Print what the job has found, read back from its database in `directory`."""
    database = directory / "pages.db"
    connection = sqlite3.connect(database)
    (words,) = connection.execute("SELECT total(words) FROM pages").fetchone()
    (links,) = connection.execute("SELECT count(*) FROM links").fetchone()
    favourites = connection.execute(
        "SELECT title, count(*) AS times FROM links JOIN pages ON url = target GROUP BY url ORDER BY times DESC LIMIT 1"
    ).fetchall()
    connection.close()

    print(f"  pages      {result.pages:,}, with {words:,.0f} words and {links:,} links")
    for title, times in favourites:
        print(f"  favourite  {title!r}: {times} links lead to it")
    print(f"  retries    {result.retries:,}")
    for reason, count in collections.Counter(result.errors.values()).most_common():
        url = next(url for url, why in result.errors.items() if why == reason)
        print(f"  failed     {count:,} x {reason}, such as {url}")
    print(f"  saved in   {database} and {directory / 'pages'}")


def show_table(results, baseline=None):
    """Print a table of `results`, a dict from loop name to a list of Result; medians where there are several.

    With a `baseline`, the name of a loop, two more columns say how the others differ from it.
    """
    line = "{:<10} {:>6} {:>7} {:>9}   {:>10} {:>6}   {:>11} {:>6}"
    change = "change" if baseline else ""
    header = line.format("loop", "pages", "errors", "requests", "requests/s", change, "CPU seconds", change).rstrip()
    print(header, "-" * len(header), sep="\n")
    for name, runs in results.items():
        pages, errors, requests, rate, cpu = medians(runs)
        rate_change = cpu_change = ""
        if baseline not in (None, name):
            *_, rate_before, cpu_before = medians(results[baseline])
            rate_change, cpu_change = f"{rate / rate_before - 1:+.0%}", f"{cpu / cpu_before - 1:+.0%}"
        cells = (name, f"{pages:,.0f}", f"{errors:,.0f}", f"{requests:,.0f}")
        print(line.format(*cells, f"{rate:,.0f}", rate_change, f"{cpu:.2f}", cpu_change).rstrip())


def medians(runs):
    """Return the medians of pages, errors, requests, requests per second and CPU seconds over some Results."""
    figures = [(run.pages, len(run.errors), run.requests, run.rate, run.cpu_seconds) for run in runs]
    return [statistics.median(column) for column in zip(*figures, strict=True)]
