"""Fetch a few thousand pages, parse them, store them: a real asyncio program, on asyncloop.

python examples/fetch.py                          a local site, then the same under the other loops
python examples/fetch.py --once                   without the comparison
python examples/fetch.py http://example.com/ ...  these pages instead of the local site

The program is the package fetcher/; its __init__.py says what is where.
"""

# The processes that parse import this file once more (they are spawned, not forked). The guard keeps them from
# starting a second program, and the import inside it keeps aiohttp, which they do not need, out of them.
if __name__ == "__main__":
    import sys

    try:
        from fetcher.app import main
    except ModuleNotFoundError as error:
        sys.exit(f"{error}. This example needs: pip install aiohttp tqdm")
    main()
