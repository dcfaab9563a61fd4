"""Kind: a view of all customers that leaves out those whom a stage of an earlier version holds (`on_change: pin`)."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from touchline_runtime.config.settings import read_settings
from touchline_runtime.database import pools as database
from touchline_stage_engine import bootstrap
from touchline_stage_engine.adapters.postgres.reads.analysis import AnalysisReads
from touchline_stage_engine.adapters.postgres.reads.lifecycles import LifecycleReads
from touchline_stage_engine.application.queries.values import AnalysisFilter
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.settings import StageEngineSettings

FORMER = "lifecycle: l\nversion: 1\nstages: [{name: a}, {name: b}, {name: c}]\noff_path: [{name: x}]\n"
RENAMED = {
    "in the middle": "stages: [{name: a}, {name: new}, {name: c}]\noff_path: [{name: x}]",
    "everywhere": "stages: [{name: p}, {name: q}, {name: r}]\noff_path: [{name: y}]",
    "one stage less": "stages: [{name: a}, {name: c}]\noff_path: [{name: x}]",
    "nothing beside": "stages: [{name: a}, {name: b}, {name: c}]",
    "the first": "stages: [{name: start}, {name: b}, {name: c}]\noff_path: [{name: x}]",
}


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    settings = read_settings(StageEngineSettings, database_url=database_url)
    await bootstrap.migrate(settings)
    path = f'"{settings.schema_name}"'
    async with database.sqlalchemy_engine(settings, application_name="test", search_path=path) as engine:
        yield engine


@pytest.mark.parametrize("renamed", RENAMED)
async def test_the_funnel_shows_every_customer_after_stages_were_renamed(engine: AsyncEngine, renamed: str) -> None:
    newest = f"lifecycle: l\nversion: 2\n{RENAMED[renamed]}\n"
    async with engine.begin() as connection:
        for version, definition in enumerate((FORMER, newest), 1):
            await connection.execute(
                text("INSERT INTO lifecycles VALUES ('l', :version, :text, :text, NULL, 0, true)"),
                {"version": version, "text": definition},
            )
        for number, stage in enumerate("aabbcx"):
            key = {"key": f"c{number}", "stage": stage, "last": 1 if stage == "a" else 2}
            await connection.execute(
                text("INSERT INTO stages VALUES (0, :key, 'l', 1, :stage, 0, :last, 0, NULL, 0)"), key
            )
            moves = [(None, "a", 1)] + ([("a", stage, 2)] if stage != "a" else [])
            for before, to, no in moves:
                await connection.execute(
                    text(
                        "INSERT INTO history (customer_id, lifecycle, no, fact, sequence, occurred_at, version, stage, "
                        "from_stage, move, previous_stage_seconds, backfill) "
                        "VALUES (:key, 'l', :no, 'move', :no, :at, 1, :to, :before, 'enter', 60, false)"
                    ),
                    key | {"before": before, "to": to, "no": no, "at": no * 60_000_000},
                )
    lifecycles = LifecycleReads(engine)
    reads, everybody = AnalysisReads(engine, lifecycles), AnalysisFilter()
    parsed: Definition = read_definition(newest, "l.yaml")
    funnel = await reads.funnel(parsed, everybody)
    path, beside = funnel["stages"], funnel["off_path"]
    assert sum(stage["customers"] for stage in (*path, *beside)) == 6
    assert path[0]["reached"] == 6
    assert path[-1]["customers"] == 1
    assert path[0]["median_seconds"] == 60
    assert len(await reads.effort(parsed, everybody)) == len(parsed.every_stage)
    assert {"a", "b", "c", "x"} <= set(await lifecycles.stages(parsed))
