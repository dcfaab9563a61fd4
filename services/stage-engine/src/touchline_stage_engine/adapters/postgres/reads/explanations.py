"""Read what explains a customer's stages: evidence of the last move, progress of open rules, next timers."""

from typing import Any

import orjson
from sqlalchemy import text

from touchline_stage_engine.adapters.postgres.reads.customer_states import StateReads, stage_states
from touchline_stage_engine.adapters.postgres.reads.customers import BACKFILL, MACHINE, OUTBOUND
from touchline_stage_engine.adapters.postgres.reads.statements import wire_time, wire_time_or_none
from touchline_stage_engine.core.analysis.explanation import counts_after, evidence, open_rules, timers
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.folding.facts import ENTER, LAPSE
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Touchpoint

MAX_TOUCHPOINTS = 3000

# The latest moves of a customer in each lifecycle: the last one, and the one before it.
MOVES = text("""
    SELECT * FROM (
        SELECT lifecycle, no, move, from_stage, stage, occurred_at, version, reason_kind, reason_text, touchpoint_id,
               row_number() OVER (PARTITION BY lifecycle ORDER BY no DESC) AS back
        FROM history
        WHERE customer_id = :customer_id AND fact = 'move'
    ) AS numbered
    WHERE back <= 2
    ORDER BY lifecycle, no DESC
""")

# A customer's touchpoints from an instant on, the newest ones where there are more than the limit.
SINCE = text("""
    SELECT id, source, type, channel, flags, occurred_at, received_at, properties
    FROM touchpoints
    WHERE customer_id = :customer_id AND occurred_at >= :since
    ORDER BY occurred_at DESC, id DESC, source DESC
    LIMIT :limit
""")


class ExplanationReads(StateReads):
    """Implements the port `ExplanationQueries`. The explanation itself is in `core.analysis.explanation`."""

    async def explained(self, key: str, now: int) -> dict[str, Any] | None:
        """An explanation for each running lifecycle; None when no touchpoint has that key."""
        row = await self._customer(key)
        if row is None:
            return None
        customer_id = row["customer_id"]
        catalogue = await self._catalogue()
        definitions = {(v.definition.lifecycle, v.definition.version): v.definition for v in catalogue.versions}
        moves: dict[str, list[dict[str, Any]]] = {}
        for move in await self._rows(MOVES, customer_id=customer_id):
            moves.setdefault(move["lifecycle"], []).append(move)
        explained = {}
        for fold, state, _ in stage_states(row, catalogue.folds(now)):
            if fold.name in moves:
                versions = {version: found for (name, version), found in definitions.items() if name == fold.name}
                explained[fold.name] = await self._of_lifecycle(customer_id, state, versions, moves[fold.name], now)
        return {"customer_id": customer_id, "lifecycles": explained}

    async def _of_lifecycle(
        self,
        customer_id: str,
        state: StageState,
        definitions: dict[int, Definition],
        moves: list[dict[str, Any]],
        now: int,
    ) -> dict[str, Any]:
        last, before = moves[0], moves[1] if len(moves) > 1 else None
        definition = definitions[state.stage.version]
        since = before["occurred_at"] if before else last["occurred_at"]
        rows = await self._rows(SINCE, customer_id=customer_id, since=since, limit=MAX_TOUCHPOINTS)
        touchpoints = [_touchpoint(row) for row in reversed(rows)]
        inside = [point for point in touchpoints if _counts_after(last, point)]
        cause: list[Touchpoint] = []
        rule = None
        if last["move"] == ENTER:
            cause = [point for point in touchpoints if point.id == last["touchpoint_id"]][:1]
        elif last["reason_kind"] != LAPSE and before is not None:
            until = [point for point in touchpoints if _counts_after(before, point) and not _counts_after(last, point)]
            # The rule belongs to the version that applied before the move.
            older = definitions.get(before["version"], definition)
            found = evidence(older, last["from_stage"], last["stage"], last["reason_text"], until)
            rule, cause = found.rule, list(found.touchpoints)
        titles = {stage.name: stage.label for stage in definition.every_stage}
        return {
            "lifecycle_version": state.stage.version,
            "stage": state.stage.name,
            "title": titles[state.stage.name],
            "entered_at": wire_time(state.entered_at),
            "stalled_level": state.level,
            "last_activity_at": wire_time(state.base) if state.base > state.entered_at else None,
            "last_move": {
                "move": last["move"],
                "from_stage": last["from_stage"],
                "to_stage": last["stage"],
                "occurred_at": wire_time(last["occurred_at"]),
                "reason": {
                    "kind": last["reason_kind"],
                    "text": last["reason_text"],
                    "touchpoint_id": last["touchpoint_id"],
                },
                "rule": rule,
                "evidence": [_evidence(point) for point in cause],
            },
            "open_rules": [
                {
                    "to_stage": one.to_stage,
                    "to_title": titles.get(one.to_stage, one.to_stage),
                    "reason": one.reason,
                    "of_lifecycle": one.of_lifecycle,
                    "conditions": [
                        {
                            "text": condition.text,
                            "have": condition.have,
                            "need": condition.need,
                            "holds": condition.holds,
                            "last_at": wire_time_or_none(condition.last_at),
                            "counts_until": wire_time_or_none(condition.counts_until),
                        }
                        for condition in one.conditions
                    ],
                }
                for one in open_rules(definition, state.stage.name, inside, now)
            ],
            "timers": [
                {
                    "kind": timer["kind"],
                    "level": timer["level"],
                    "due_at": wire_time_or_none(timer["due_at"]),
                    "to_stage": timer["to_stage"],
                    "to_title": titles.get(timer["to_stage"] or "", timer["to_stage"]),
                    "after_seconds": timer["after"] / 1_000_000,
                }
                for timer in timers(state.stage, state.base, state.level)
            ],
        }


def _counts_after(move: dict[str, Any], point: Touchpoint) -> bool:
    return counts_after(move["move"], move["occurred_at"], move["touchpoint_id"], point)


def _touchpoint(row: dict[str, Any]) -> Touchpoint:
    properties = row["properties"]
    return Touchpoint(
        row["occurred_at"], row["id"], row["source"], row["type"], row["channel"],
        "outbound" if row["flags"] & OUTBOUND else "inbound",
        properties if isinstance(properties, dict) else orjson.loads(properties),
        bool(row["flags"] & MACHINE), bool(row["flags"] & BACKFILL), row["received_at"],
    )  # fmt: skip


def _evidence(point: Touchpoint) -> dict[str, Any]:
    return {
        "id": point.id,
        "source": point.source,
        "type": point.type,
        "channel": point.channel,
        "direction": point.direction,
        "occurred_at": wire_time(point.occurred_at),
        "properties": point.properties,
    }
