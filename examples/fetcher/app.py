"""The command line."""

import argparse
import dataclasses
import json
import os
import platform
import sys
from pathlib import Path

from loops import add_loop_option, run
from tqdm import tqdm

from .compare import run_comparison
from .job import run_on_site, run_on_urls
from .report import show_findings, show_table

PROGRAM = Path(os.path.relpath(__file__)).parents[1] / "fetch.py"  # relative: it is shown to the reader


def parse_arguments(argv):
    parser = argparse.ArgumentParser("fetch.py", description="Fetch many pages, parse them, store them.")
    parser.add_argument("urls", nargs="*", type=web_url, metavar="URL", help="fetch these, not the local site")
    add_loop_option(parser)
    parser.add_argument(
        "--pages", type=positive, default=2000, metavar="N", help="size of the local site (default: %(default)s)"
    )
    parser.add_argument(
        "--concurrency", type=positive, default=100, metavar="N", help="requests at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes that parse (default: one for each processor)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=PROGRAM.parent / "fetched",
        metavar="DIR",
        help="where the pages go (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="do not compare with the other loops")
    parser.add_argument(
        "--rounds", type=positive, default=3, metavar="N", help="of the comparison (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="with --once: print nothing but the result, as JSON")
    args = parser.parse_args(argv)
    if args.json and not args.once:
        parser.error("--json goes with --once")
    return args


def positive(text):
    """Check a number given on the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def web_url(text):
    """Check a URL given on the command line."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with http:// or https://")
    return text


def main(argv=None):
    """Run the program with the arguments `argv`, by default those of the command line."""
    args = parse_arguments(argv)
    try:
        if args.json:
            print(json.dumps(dataclasses.asdict(fetch(args))))
            return

        what = "the given URLs" if args.urls else f"a local site of {args.pages:,} pages"
        print(f"Fetching {what} on {args.loop}, Python {platform.python_version()}.", flush=True)
        result = fetch(args)
        show_findings(result, args.output)
        if args.urls or args.once:
            print()
            show_table({args.loop: [result]})
        else:
            options = [f"--pages={args.pages}", f"--concurrency={args.concurrency}", f"--workers={args.workers}"]
            run_comparison(PROGRAM, options, args.rounds)
    except KeyboardInterrupt:
        sys.exit("Interrupted.")


def fetch(args):
    """Do the job once, in this process, and return its Result."""
    # disable=None: no bar where nobody sees it move, such as in a log file.
    with tqdm(unit=" pages", leave=False, dynamic_ncols=True, disable=args.json or None) as bar:
        settings = {"directory": args.output, "concurrency": args.concurrency, "workers": args.workers, "bar": bar}
        if args.urls:
            job = run_on_urls(list(dict.fromkeys(args.urls)), **settings)
        else:
            job = run_on_site(args.loop, args.pages, **settings)
        return run(job, args.loop)
