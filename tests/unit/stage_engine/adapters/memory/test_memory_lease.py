"""The in-memory lease and tables do what PostgreSQL's do."""

import pytest
from touchline_stage_engine.adapters.memory.catch_up import MemoryCatchUps
from touchline_stage_engine.adapters.memory.database import MemoryDatabase
from touchline_stage_engine.adapters.memory.lease import MemoryLease
from touchline_stage_engine.application.values import PartitionKey

from tests.support.engine.catch_up_suite import CatchUpTableSuite
from tests.support.engine.lease_suite import Acquire, PartitionLeaseSuite


class TestMemoryLease(PartitionLeaseSuite):
    @pytest.fixture
    def acquire(self) -> Acquire:
        database = MemoryDatabase()

        async def acquire(partition: int) -> MemoryLease:
            return await MemoryLease.acquire(database, PartitionKey("cluster", "topic", "identity", partition))

        return acquire


class TestMemoryCatchUps(CatchUpTableSuite):
    @pytest.fixture
    def table(self) -> MemoryCatchUps:
        return MemoryCatchUps(MemoryDatabase())
