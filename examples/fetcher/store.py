"""Where the pages go: facts into SQLite, the HTML into files. Both block, so both happen in threads."""

import asyncio
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

TABLES = """
    CREATE TABLE pages (url TEXT, title TEXT, words INTEGER, seconds REAL, file TEXT);
    CREATE TABLE links (source TEXT, target TEXT);
"""


class Store:
    """`async with Store(directory) as store`: directory/pages.db and directory/pages/*.html."""

    def __init__(self, directory):
        self.database_path = directory / "pages.db"
        self.files = directory / "pages"
        # A SQLite connection belongs to the thread that made it: one thread for everything, which also puts the
        # writes in a row.
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self.connection = None
        self.saved = 0

    async def __aenter__(self):
        await self.in_database_thread(self.open)
        return self

    async def __aexit__(self, *exc_info):
        await self.in_database_thread(self.connection.close)
        self.thread.shutdown()

    def in_database_thread(self, function, *args):
        return asyncio.get_running_loop().run_in_executor(self.thread, function, *args)

    async def add(self, pages, facts):
        """Keep a batch: a list of Page and the list of their Facts."""
        names = [self.file_name(page.url) for page in pages]
        await asyncio.gather(
            asyncio.to_thread(self.write_files, names, pages),
            self.in_database_thread(self.insert, names, pages, facts),
        )

    async def query(self, sql):
        """Return all rows of a SELECT."""
        return await self.in_database_thread(lambda: self.connection.execute(sql).fetchall())

    def file_name(self, url):
        self.saved += 1
        path = re.sub(r"[^A-Za-z0-9]+", "-", urlsplit(url).path).strip("-")
        return f"{self.saved:05}-{path[:60] or 'index'}.html"

    # --- in threads

    def open(self):
        self.files.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(self.database_path)
        self.remove_earlier_run()
        self.connection.executescript(TABLES)

    def remove_earlier_run(self):
        """Remove what an earlier run has left here: the files that its table names, and no other."""
        if not self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pages'").fetchone():
            return
        for (name,) in self.connection.execute("SELECT file FROM pages"):
            (self.files / name).unlink(missing_ok=True)
        self.connection.executescript("DROP TABLE pages; DROP TABLE links;")

    def write_files(self, names, pages):
        for name, page in zip(names, pages, strict=True):
            (self.files / name).write_text(page.html, encoding="utf-8")

    def insert(self, names, pages, facts):
        with self.connection:  # one transaction a batch: each costs a sync of the disk
            self.connection.executemany(
                "INSERT INTO pages VALUES (?, ?, ?, ?, ?)",
                [
                    (page.url, fact.title, fact.words, page.seconds, name)
                    for name, page, fact in zip(names, pages, facts, strict=True)
                ],
            )
            self.connection.executemany(
                "INSERT INTO links VALUES (?, ?)",
                [(page.url, link) for page, fact in zip(pages, facts, strict=True) for link in fact.links],
            )
