"""What every implementation of `ports.CatchUpTable` has to do: run on memory and on PostgreSQL."""

from touchline_stage_engine.application.ports import CatchUpTable


class CatchUpTableSuite:
    """Subclasses provide the fixture ``table``: one of a deployment of which nothing is stored."""

    async def test_nothing_is_known_at_first(self, table: CatchUpTable) -> None:
        assert dict(await table.load()) == {}

    async def test_what_processes_save_adds_up(self, table: CatchUpTable) -> None:
        await table.save({0: 10, 3: 30})
        await table.save({1: 20})
        await table.save({})
        assert dict(await table.load()) == {0: 10, 1: 20, 3: 30}

    async def test_an_instant_never_falls(self, table: CatchUpTable) -> None:
        await table.save({0: 10, 1: 2**62})
        await table.save({0: 9, 1: 1, 2: 5})
        await table.save({0: 10})
        assert dict(await table.load()) == {0: 10, 1: 2**62, 2: 5}
