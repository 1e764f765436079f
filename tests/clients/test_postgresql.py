"""asyncpg and psycopg with a PostgreSQL server."""

import asyncio

import pytest


class TestAsyncpg:
    @pytest.fixture(autouse=True)
    def asyncpg(self):
        self.asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is not to be had for this Python")

    def test_pool_serves_many(self, run, postgres):
        async def main():
            async with self.asyncpg.create_pool(**postgres, min_size=2, max_size=5) as pool:
                numbers = await asyncio.gather(*[pool.fetchval("SELECT $1::int * 2", i) for i in range(200)])
                assert numbers == [i * 2 for i in range(200)]

        run(main())

    def test_rows_transactions_and_large_values(self, run, postgres):
        async def main():
            connection = await self.asyncpg.connect(**postgres)
            try:
                await connection.execute("CREATE TEMP TABLE t (id int, body text)")
                await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(i, "x" * i) for i in range(500)])
                with pytest.raises(ZeroDivisionError):
                    async with connection.transaction():
                        await connection.execute("DELETE FROM t")
                        raise ZeroDivisionError
                assert await connection.fetchval("SELECT count(*) FROM t") == 500
                assert await connection.fetchval("SELECT repeat('y', 3000000)") == "y" * 3_000_000
                async with connection.transaction():
                    lengths = [len(row["body"]) async for row in connection.cursor("SELECT body FROM t ORDER BY id")]
                assert lengths == list(range(500))
            finally:
                await connection.close()

        run(main())

    def test_cancelled_query_ends_at_the_server_too(self, run, postgres):
        async def main():
            connection = await self.asyncpg.connect(**postgres)
            try:
                with pytest.raises(TimeoutError):
                    await connection.fetchval("SELECT pg_sleep(20)", timeout=0.05)
                assert await connection.fetchval("SELECT 1") == 1
            finally:
                await connection.close()

        run(main())

    def test_notifications(self, run, postgres):
        async def main():
            listener = await self.asyncpg.connect(**postgres)
            sender = await self.asyncpg.connect(**postgres)
            heard = asyncio.Queue()
            await listener.add_listener("news", lambda *event: heard.put_nowait(event[3]))
            for i in range(5):
                await sender.execute(f"NOTIFY news, '{i}'")
            assert [await heard.get() for _ in range(5)] == list("01234")
            await listener.close()
            await sender.close()

        run(main())


class TestPsycopg:
    @pytest.fixture(autouse=True)
    def psycopg(self):
        self.psycopg = pytest.importorskip("psycopg", reason="psycopg is not to be had for this Python")

    async def connect(self, postgres):
        options = {**postgres, "dbname": postgres["database"]}
        del options["database"]
        return await self.psycopg.AsyncConnection.connect(**options, autocommit=True)

    def test_many_connections_at_once(self, run, postgres):
        async def one(i):
            async with await self.connect(postgres) as connection:
                cursor = await connection.execute("SELECT %s::int + 1", [i])
                return (await cursor.fetchone())[0]

        async def main():
            return await asyncio.gather(*[one(i) for i in range(20)])

        assert run(main()) == list(range(1, 21))

    def test_copy_and_cancel(self, run, postgres):
        async def main():
            async with await self.connect(postgres) as connection:
                await connection.execute("CREATE TEMP TABLE t (id int, body text)")
                async with connection.cursor() as cursor:
                    async with cursor.copy("COPY t FROM STDIN") as copy:
                        for i in range(2000):
                            await copy.write_row((i, "z" * 100))
                    await cursor.execute("SELECT sum(length(body)) FROM t")
                    assert (await cursor.fetchone())[0] == 200_000
                sleeping = asyncio.ensure_future(connection.execute("SELECT pg_sleep(20)"))
                await asyncio.sleep(0.05)
                sleeping.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sleeping

        run(main())
