"""PostgreSQL's lease and tables do what the in-memory ones do."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from touchline_runtime.config.settings import read_settings
from touchline_stage_engine import bootstrap
from touchline_stage_engine.adapters.postgres.catch_up import PostgresCatchUps
from touchline_stage_engine.adapters.postgres.partition.lease import PostgresLease
from touchline_stage_engine.application.batches.changes import Changes
from touchline_stage_engine.application.values import PartitionKey
from touchline_stage_engine.core.folding.corrections import Published
from touchline_stage_engine.settings import StageEngineSettings

from tests.support.engine.catch_up_suite import CatchUpTableSuite
from tests.support.engine.lease_suite import Acquire, PartitionLeaseSuite, customer


class TestPostgresLease(PartitionLeaseSuite):
    @pytest.fixture
    async def acquire(self, database_url: str) -> AsyncIterator[Acquire]:
        settings = read_settings(StageEngineSettings, database_url=database_url)
        await bootstrap.migrate(settings)
        leases: list[PostgresLease] = []

        async def acquire(partition: int) -> PostgresLease:
            key = PartitionKey("cluster", "topic", "identity", partition)
            leases.append(await PostgresLease.acquire(settings, key, "test"))
            return leases[-1]

        yield acquire
        for lease in leases:
            await lease.close()

    async def test_many_stages_are_written_as_few_are(self, acquire: Acquire, database_url: str) -> None:
        def publish(number: int, sequence: int) -> Published | None:
            # Some leave the lifecycle, and some of them come back.
            left = sequence == 2 and number % 7 == 0
            level = number % 2
            return None if left else Published(sequence, sequence, 1, f"s{number % 5}", number, level, level * number)

        numbers = range(600)
        for partition, (name, at_once) in enumerate((("few", 50), ("many", len(numbers)))):
            lease = await acquire(partition)
            made = {number: customer(f"{name}-{number:03}") for number in numbers}
            for sequence in (1, 2, 3):
                # New customers come with those who have stages already; and a stage may be a customer's second.
                present = [number for number in numbers if number < 400 or sequence > 1]
                for start in range(0, len(present), at_once):
                    changes = Changes()
                    for number in present[start : start + at_once]:
                        one = made[number]
                        changes.customers[one.customer_id] = one
                        for lifecycle in ("trial", "other")[: 1 if sequence == 1 else 2]:
                            changes.stages[one.customer_id, lifecycle] = publish(number, sequence)
                    async with lease.fenced_transaction() as tables:
                        await tables.write(changes, [], sequence)
        connection = await asyncpg.connect(database_url)
        try:
            rows = await connection.fetch("SELECT * FROM stage_engine.stages ORDER BY customer_id, lifecycle")
        finally:
            await connection.close()
        few, many = ([tuple(row.values())[1:] for row in rows if row["partition"] == partition] for partition in (0, 1))
        assert len(few) == 2 * len(numbers)
        assert [(row[0].replace("few", "many"), *row[1:]) for row in few] == many


class TestPostgresCatchUps(CatchUpTableSuite):
    @pytest.fixture
    async def table(self, database_url: str) -> AsyncIterator[PostgresCatchUps]:
        settings = read_settings(StageEngineSettings, database_url=database_url)
        await bootstrap.migrate(settings)
        path = {"search_path": bootstrap.search_path(settings)}
        async with asyncpg.create_pool(database_url, min_size=1, max_size=1, server_settings=path) as pool:
            # What another topic has is not this one's.
            await PostgresCatchUps(pool, "cluster", "another").save({0: 99})
            yield PostgresCatchUps(pool, "cluster", "topic")
