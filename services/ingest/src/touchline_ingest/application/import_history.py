"""Importing a history file: its rows are judged like the items of any request and published in batches."""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson
from touchline_runtime.errors import Unavailable
from touchline_schemas.ids import idempotent_touchpoint_id
from touchline_schemas.near_misses import near_miss
from touchline_schemas.topics import TOUCHPOINTS

from touchline_ingest.application.ports import History, ImportReport, ProgressStore, Publisher
from touchline_ingest.core.history.import_mapping import RowError, RowMapping
from touchline_ingest.core.history.rows import Progress, Row
from touchline_ingest.core.touchpoints.acceptance import Accepted, Rejected, Terms, judge
from touchline_ingest.core.touchpoints.bodies import BrokenItem
from touchline_ingest.core.touchpoints.records import Record

_BATCH = 1000
_ATTEMPTS = 30


@dataclass(frozen=True)
class Import:
    """What is imported, and on which terms."""

    file: History
    mapping: RowMapping
    terms: Terms


async def run_import(
    work: Import,
    progress: Progress,
    publisher: Publisher | None,
    store: ProgressStore | None,
    report: ImportReport,
) -> Progress:
    """Import the rows after a position, batch by batch. Without a publisher, rows are only judged.

    Raises:
        Unavailable: Kafka did not acknowledge a batch in thirty attempts; the progress up to it is saved.
    """
    types: set[str] = set()
    rows = work.file.rows(after=progress.position, line=progress.line)
    while batch := list(islice(rows, _BATCH)):
        verdicts = judge_rows(work, batch)
        accepted = [verdict.record for verdict in verdicts if type(verdict) is Accepted]
        if publisher is not None:
            await _publish(publisher, accepted, report)
        for verdict in verdicts:
            if type(verdict) is Rejected:
                report.rejected(batch[verdict.index], verdict.error)
        new = {verdict.type for verdict in verdicts if type(verdict) is Accepted} - types
        for type_name in sorted(new):
            meant = near_miss(type_name)
            if meant is not None:
                report.looks_misspelt(type_name, meant)
        types |= new
        progress = progress.after(batch[-1], len(accepted), len(batch) - len(accepted))
        if store is not None:
            store.advance(progress)
        report.advanced(progress)
    return progress


def judge_rows(work: Import, rows: list[Row]) -> list[Accepted | Rejected]:
    """Judge rows like the items of a request. A row without an id gets one derived from its content."""
    drafts: list[Any] = [_draft(work, row) for row in rows]

    def name(index: int) -> str:
        content = hashlib.sha256(_canonical(rows[index].content)).hexdigest()
        return str(idempotent_touchpoint_id(work.terms.source, f"import:{content}", 0))

    return judge(drafts, work.terms, now=datetime.now(UTC), name_item=name)


def _canonical(content: Any) -> bytes:
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # An integer beyond 64 bits, or deep nesting, maybe in a column that no field takes.
        return json.dumps(content, sort_keys=True).encode()


def _draft(work: Import, row: Row) -> Any:
    if row.content is None:
        return BrokenItem(row.error)
    if work.file.format == "ndjson" and not work.mapping.fields:
        return row.content
    try:
        return work.mapping.draft(row.content)
    except RowError as error:
        return BrokenItem(str(error))


async def _publish(publisher: Publisher, records: list[Record], report: ImportReport) -> None:
    """Publish a batch, again while Kafka is unavailable: the ids are the same each time."""
    reason = ""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            delivery = await publisher.publish(TOUCHPOINTS, records)
        except Unavailable as error:
            reason = str(error)
        else:
            if delivery.complete:
                return
            records = [records[index] for index in sorted(delivery.unacknowledged)]
            reason = delivery.reason
        report.retrying(reason, attempt, _ATTEMPTS)
        await asyncio.sleep(1)
    raise Unavailable(f"{reason}. What was acknowledged is saved: run the same command again to continue")
