"""aiosqlite: a database in a thread of its own, which wakes the loop for each answer."""

import asyncio
import sqlite3

import pytest

from .asgi_apps import loop_kind

aiosqlite = pytest.importorskip("aiosqlite")


def test_a_database(run, kind, tmp_path):
    async def main():
        assert loop_kind() == kind
        async with aiosqlite.connect(tmp_path / "db") as db:
            await db.execute("create table t (id integer primary key, name text)")
            await db.executemany("insert into t (name) values (?)", [(f"n{i}",) for i in range(1000)])
            await db.commit()
            db.row_factory = aiosqlite.Row
            async with db.execute("select * from t where id > ? order by id", (990,)) as cursor:
                assert [row["name"] async for row in cursor] == [f"n{i}" for i in range(990, 1000)]

            await db.create_function("double", 1, lambda n: 2 * n)
            rows = await db.execute_fetchall("select sum(double(id)) from t")
            assert [tuple(row) for row in rows] == [(1000 * 1001,)]
            with pytest.raises(sqlite3.IntegrityError):
                await db.execute("insert into t (id) values (1)")
            await db.rollback()

    run(main())


def test_many_connections_at_once(run, tmp_path):
    async def add(i):
        async with aiosqlite.connect(tmp_path / "db", timeout=30) as db:
            for _ in range(5):
                await db.execute("insert into t values (?)", (i,))
            await db.commit()

    async def main():
        async with aiosqlite.connect(tmp_path / "db") as db:
            await db.execute("pragma journal_mode=wal")
            await db.execute("create table t (n integer)")
            await db.commit()
            await asyncio.gather(*[add(i) for i in range(10)])
            async with db.execute("select n, count(*) from t group by n order by n") as cursor:
                assert await cursor.fetchall() == [(i, 5) for i in range(10)]

    run(main())


def test_a_long_statement_is_interrupted(run):
    """And the loop goes on meanwhile."""

    async def main():
        async with aiosqlite.connect(":memory:") as db:
            endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
            asking = asyncio.create_task(db.execute_fetchall(endless))
            for _ in range(5):
                await asyncio.sleep(0.01)
            assert not asking.done()
            while not asking.done():
                await db.interrupt()
                await asyncio.sleep(0.01)
            with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                await asking

    run(main())
