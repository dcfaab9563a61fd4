"""Kind: a process that starts after a later release has migrated. It runs where it can, and says why where it can't."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from touchline_devstack.stack import Stack
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.database import pools as database
from touchline_runtime.errors import ConfigurationError

SCHEMA = "a_service"
ENV = "from touchline_runtime.database.pools import run_migrations\n\nrun_migrations()\n"
FIRST = (
    'revision = "0001"\ndown_revision = None\n\n'
    "from alembic import op\n\n\n"
    'def upgrade():\n    op.execute("CREATE TABLE things (id integer PRIMARY KEY)")\n'
)


def _later(revision: str, before: str, runs_with: tuple[str, ...]) -> str:
    return (
        f'revision = "{revision}"\ndown_revision = "{before}"\nruns_with = {runs_with!r}\n\n'
        "from alembic import op\n\n\n"
        f"def upgrade():\n    op.execute(\"ALTER TABLE things ADD COLUMN of_{revision} text DEFAULT ''\")\n"
    )


RELEASES = {
    "release_one": [FIRST],
    "release_two": [FIRST, _later("0002", "0001", ("0001",))],
    # It removes what the first release needs, and keeps what the second one does.
    "release_three": [FIRST, _later("0002", "0001", ("0001",)), _later("0003", "0002", ("0002",))],
}


@pytest.fixture
def settings(database_url: str) -> ServiceSettings:
    return read_settings(ServiceSettings, database_url=database_url, startup_timeout_seconds=60)


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, migrations in RELEASES.items():
        (tmp_path / name / "versions").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "env.py").write_text(ENV)
        for number, text in enumerate(migrations, 1):
            (tmp_path / name / f"versions/{number:04}_of_a_test.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))


async def _migrate(settings: ServiceSettings, release: str) -> None:
    await database.migrate(settings, package=release, schema=SCHEMA)


async def _version(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval(f"SELECT version_num FROM {SCHEMA}.alembic_version"))
    finally:
        await connection.close()


@pytest.mark.usefixtures("releases")
async def test_an_old_process_runs_on_newer_tables_its_code_can_work_on(
    settings: ServiceSettings, database_url: str
) -> None:
    for release in ("release_one", "release_two", "release_one", "release_one"):
        await _migrate(settings, release)
    assert await _version(database_url) == "0002", "the old process leaves the tables as they are"
    await _migrate(settings, "release_three")
    await _migrate(settings, "release_two")
    assert await _version(database_url) == "0003"


@pytest.mark.usefixtures("releases")
async def test_an_old_process_that_can_not_work_on_newer_tables_names_both_versions(settings: ServiceSettings) -> None:
    await _migrate(settings, "release_three")
    with pytest.raises(ConfigurationError, match=r"version 0003.*this one \(0001\).*start the later release"):
        await _migrate(settings, "release_one")


@pytest.mark.usefixtures("releases")
async def test_tables_of_a_later_release_that_says_nothing_are_refused(
    settings: ServiceSettings, database_url: str
) -> None:
    await _migrate(settings, "release_one")
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"UPDATE {SCHEMA}.alembic_version SET version_num = 'from-elsewhere'")
    await connection.execute(f"DROP TABLE {SCHEMA}.alembic_runs_with")
    await connection.close()
    with pytest.raises(ConfigurationError, match="from-elsewhere"):
        await _migrate(settings, "release_one")


@pytest.mark.usefixtures("releases")
async def test_old_and_new_processes_that_start_together_end_at_the_newest_version(
    settings: ServiceSettings, database_url: str
) -> None:
    await asyncio.gather(*(_migrate(settings, release) for release in ("release_one", "release_two") * 4))
    assert await _version(database_url) == "0002"


async def test_the_real_services_start_on_tables_of_a_later_release(stack: Stack, database_url: str) -> None:
    """Every table has one column more, as a later release may add it; and the version is one nobody here knows."""
    from touchline_notifier import bootstrap as notifier
    from touchline_notifier.settings import NotifierSettings
    from touchline_stage_engine import bootstrap as engine
    from touchline_stage_engine.settings import StageEngineSettings

    of_engine = read_settings(StageEngineSettings, database_url=database_url)
    of_notifier = read_settings(NotifierSettings, database_url=database_url)
    await engine.migrate(of_engine)
    await notifier.migrate(of_notifier)
    connection = await asyncpg.connect(database_url)
    for schema in (of_engine.schema_name, "notifier"):
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename NOT LIKE 'alembic%'", schema
        )
        assert tables
        for row in tables:
            await connection.execute(f'ALTER TABLE {schema}."{row["tablename"]}" ADD COLUMN later text DEFAULT $$x$$')
        await connection.execute(f"UPDATE {schema}.alembic_version SET version_num = '9999'")
    await engine.migrate(of_engine)
    await notifier.migrate(of_notifier)
    assert await connection.fetchval(f"SELECT version_num FROM {of_engine.schema_name}.alembic_version") == "9999"
    await connection.close()
