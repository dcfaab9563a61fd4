"""The command `touchline-checker`: collect what a run left behind, and check it."""

import asyncio
import shutil
import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from aiokafka.errors import KafkaError
from asyncpg.exceptions import PostgresError

from touchline_checker.check import check as check_evidence
from touchline_checker.checks.folded import Tolerance
from touchline_checker.collect.kafka import TopicsMissingError, read_topics
from touchline_checker.collect.postgres import read_tables
from touchline_checker.evidence import BadEvidenceError, Evidence, Row, read_lines, read_plays, received_message
from touchline_checker.semantics.times import duration

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Check from outside that a Touchline deployment lost, doubled, reordered and miscalculated nothing.",
)

FOUND, CANNOT_CHECK = 1, 2


@app.command()
def collect(
    folder: Annotated[Path, typer.Argument(help="where to write the evidence")],
    kafka: Annotated[str, typer.Option(envvar="TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS", help="host:port,…")],
    database: Annotated[str, typer.Option(envvar="TOUCHLINE_DATABASE_URL", help="postgresql://…")],
    prefix: Annotated[str, typer.Option(envvar="TOUCHLINE_TOPIC_PREFIX", help="prefix of the topics")] = "touchline",
    accepted: Annotated[Path | None, typer.Option(help="NDJSON of touchpoints that were answered as accepted")] = None,
    received: Annotated[Path | None, typer.Option(help="NDJSON of messages that receivers got")] = None,
    plays: Annotated[
        Path | None, typer.Option(envvar="TOUCHLINE_PLAYS_DIR", help="the folder of plays in force")
    ] = None,
    shared_key_limit: Annotated[int, typer.Option(envvar="TOUCHLINE_SHARED_KEY_LIMIT")] = 50,
) -> None:
    """Write the topics and tables of a deployment into a folder. Let it come to rest first."""
    try:
        evidence = asyncio.run(_collect(kafka, database, prefix))
        evidence.shared_key_limit = shared_key_limit
        if accepted is not None:
            evidence.accepted = read_lines(accepted)
        if received is not None:
            evidence.received = [received_message(row) for row in read_lines(received)]
        if plays is not None:
            evidence.plays = read_plays(plays)
    except (BadEvidenceError, TopicsMissingError, OSError, KafkaError, PostgresError) as error:
        _refuse(f"the evidence cannot be collected: {error}")
    if folder.exists():
        shutil.rmtree(folder / "plays", ignore_errors=True)
    evidence.write(folder)
    for name, records in evidence.topics.items():
        typer.echo(f"{name}: {len(records)} records")


async def _collect(kafka: str, database: str, prefix: str) -> Evidence:
    collected_at = time.time_ns() // 1000
    tables: dict[str, list[Row]] = await read_tables(database, prefix)
    topics = await read_topics(kafka, prefix)
    return Evidence(collected_at, topics=topics, tables=tables)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="the evidence, as `collect` writes it")],
    json: Annotated[Path | None, typer.Option(help="write the report as JSON, too")] = None,
    settling: Annotated[str, typer.Option(help="timers due this long before the collection have fired")] = "30s",
    late_timer: Annotated[str, typer.Option(help="a timer is late when it fires later than this")] = "5m",
    unsubscribe: Annotated[str, typer.Option(help="messages may be under way this long")] = "30s",
) -> None:
    """Check a folder of evidence. Exit code 0: no findings; 1: findings; 2: it cannot be checked."""
    try:
        tolerance = Tolerance(duration(settling), duration(late_timer), duration(unsubscribe))
        report = check_evidence(Evidence.read(folder), tolerance)
    except BadEvidenceError as error:
        _refuse(str(error))
    except (ValueError, KeyError, TypeError) as error:
        _refuse(f"the evidence cannot be understood: {type(error).__name__}: {error}")
    typer.echo(report.as_text(), nl=False)
    if json is not None:
        json.write_bytes(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    raise typer.Exit(FOUND if report.findings else 0)


def _refuse(text: str) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(CANNOT_CHECK)


if __name__ == "__main__":
    app()
