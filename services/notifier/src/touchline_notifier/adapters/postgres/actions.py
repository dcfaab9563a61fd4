"""Actions in PostgreSQL, and everything that a decision about a customer needs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson
from touchline_schemas.ids import step_action_id

from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres.audiences.statements import MEMBERSHIPS
from touchline_notifier.adapters.postgres.customers import Customers
from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.adapters.postgres.sequences import statements as sequences
from touchline_notifier.adapters.postgres.sequences.runs import Runs
from touchline_notifier.application.ports import Effect, OtherAction, WatchedAction
from touchline_notifier.core.decisions.action import Action, StepOf
from touchline_notifier.core.decisions.customer_history import ActedStall, Counted, CustomerHistory
from touchline_notifier.core.decisions.stage_events import Fact, LifecyclePosition


class Actions:
    """Implements :class:`~touchline_notifier.application.ports.ActionRepository` on one connection."""

    def __init__(self, connection: Connection, customers: Customers, runs: Runs) -> None:
        self._connection = connection
        self._customers = customers
        self._runs = runs

    async def sending_is_off(self) -> bool:
        return await self._connection.fetchval(sql.SENDING_OFF) is not None

    async def histories(
        self,
        customer_ids: Iterable[str],
        now: datetime,
        *,
        counted_since: datetime | None,
        stalled: Iterable[str] = (),
        asked: Sequence[str] = (),
    ) -> dict[str, CustomerHistory]:
        """Customers as of now; see the protocol."""
        ids = sorted(set(customer_ids))
        found = {customer_id: CustomerHistory(customer_id) for customer_id in ids}
        if not ids:
            return found
        for customer_id, profile in (await self._customers.profiles(ids)).items():
            found[customer_id].profile = profile
        addresses = {history.profile.email for history in found.values() if history.profile.email is not None}
        suppressions = await self._customers.suppressions(addresses)
        for history in found.values():
            history.suppressions = suppressions.get(history.profile.email or "")
        for row in await self._connection.fetch(MEMBERSHIPS, ids):
            found[row["customer_id"]].audiences.add(row["audience"])
        for row in await self._connection.fetch(sql.STANDING, ids):
            fields = dict(row)
            customer_id, lifecycle = fields.pop("customer_id"), fields.pop("lifecycle")
            found[customer_id].positions[lifecycle] = LifecyclePosition(**fields)
        if counted_since is not None:
            await self._add_actions(found, ids, now, counted_since)
        acted = sorted(set(stalled))
        for row in await self._connection.fetch(sql.ACTED_STALLS, acted) if acted else []:
            fields = dict(row)
            found[fields.pop("customer_id")].acted_stalls.add(ActedStall(**fields))
        rows = await self._connection.fetch(sql.KNOWN_ACTIONS, asked) if asked else []
        known = {str(row["action_id"]) for row in rows}
        for history in found.values():
            history.known = known
        return found

    async def _add_actions(
        self, found: Mapping[str, CustomerHistory], ids: Sequence[str], now: datetime, since: datetime
    ) -> None:
        runs = await self._runs.running(ids)
        for row in await self._connection.fetch(sql.COUNTED, ids, since):
            found[row["customer_id"]].counted.append(_counted(row, now))
        for action in await self._actions(await self._connection.fetch(sql.WAITING, ids)):
            found[action.customer_id].waiting.append(action)
        for run in runs:
            found[run.customer_id].runs.append(run)
        await self._add_messages(found)
        for row in await self._connection.fetch(sql.ASSIGNMENTS, ids):
            found[row["customer_id"]].assignments[row["play"]] = row["held_out"]

    async def _add_messages(self, found: Mapping[str, CustomerHistory]) -> None:
        """The actions of the steps that runs are at."""
        runs = {
            str(step_action_id(run.run_id, run.step)): run
            for history in found.values()
            for run in history.running
            if run.node.step.send is not None
        }
        if not runs:
            return
        waiting = {action.action_id: action for history in found.values() for action in history.waiting}
        rows = await self._connection.fetch(sql.ACTIONS_TO_SEND, list(runs))
        for row, action in zip(rows, await self._actions(rows), strict=True):
            run = runs[action.action_id]
            # One object, so that a decision about it is seen by both.
            run.action, run.concluded_at = waiting.get(action.action_id, action), row["finished_at"]

    async def _actions(self, rows: Sequence[asyncpg.Record]) -> list[Action]:
        steps = await self._runs.steps(rows)
        return [_action(row, steps.get(row["action_id"])) for row in rows]

    async def due(
        self, partition: int, now: datetime, at_most: int, *, sending: bool, leave_out: Collection[str] = ()
    ) -> list[tuple[str, str]]:
        """(customer, action id) of a partition's waiting actions whose time has come."""
        rows = await self._connection.fetch(sql.DUE, partition, now, at_most, sending, list(leave_out))
        return [(row["customer_id"], str(row["action_id"])) for row in rows]

    async def due_partitions(
        self, partitions: Sequence[int], now: datetime, *, sending: bool, leave_out: Collection[str] = ()
    ) -> list[int]:
        rows = await self._connection.fetch(sql.DUE_PARTITIONS, list(partitions), now, sending, list(leave_out))
        return [row["partition"] for row in rows]

    async def retrying(self, customer_ids: Sequence[str]) -> list[Action]:
        return await self._actions(await self._connection.fetch(sql.RETRYING, list(customer_ids)))

    async def cancel_deliveries(self, action_ids: Sequence[str], now: datetime) -> None:
        await self._connection.execute(sql.CANCEL_DELIVERIES, list(action_ids), now)

    async def save(self, actions: Iterable[Action], partition: int) -> None:
        rows = [_row(action, partition) for action in sorted(actions, key=lambda action: action.action_id)]
        if rows:
            await self._connection.execute(sql.SAVE_ACTIONS, *_columns(rows))

    async def save_assignments(self, assigned: Mapping[tuple[str, str], bool], now: datetime) -> None:
        if assigned:
            customers, plays = _columns(list(assigned))
            await self._connection.execute(sql.SAVE_ASSIGNMENTS, customers, plays, list(assigned.values()), now)

    async def save_positions(self, histories: Iterable[CustomerHistory]) -> None:
        rows = [
            (history.customer_id, name, at.incarnation, at.fact_no, at.stage, at.entered_at, at.sequence,
             at.stalled_level, at.era)
            for history in histories
            for name, at in history.positions.items()
        ]  # fmt: skip
        if rows:
            await self._connection.execute(sql.SAVE_STANDING, *_columns(rows))

    async def record_recoveries(self, recovered: Sequence[Fact]) -> None:
        if recovered:
            rows = [(fact.customer_id, fact.lifecycle, fact.at) for fact in recovered]
            await self._connection.execute(sql.RECOVERED, *_columns(rows))
            await self._connection.execute(sequences.RECOVERED, *_columns(rows))

    async def watched(self, customer_ids: Iterable[str], since: datetime) -> list[WatchedAction]:
        ids = list(customer_ids)
        rows = await self._connection.fetch(sql.OBSERVED, ids, since)
        rows += await self._connection.fetch(sequences.OBSERVED, ids, since)
        return [WatchedAction(row["action_id"], row["customer_id"], row["play"], row["decided_at"]) for row in rows]

    async def record_effects(self, effects: Sequence[Effect]) -> None:
        if effects:
            await self._connection.execute(sql.SAVE_OBSERVED, *_columns(effects))
            await self._connection.execute(sequences.SAVE_OBSERVED, *_columns(effects))

    async def cancel_removed_plays(self, partitions: Sequence[int], plays: Sequence[str], now: datetime) -> None:
        await self._connection.execute(sql.PLAYS_GONE, list(partitions), list(plays), now)
        await self._connection.execute(sequences.PLAYS_GONE, list(partitions), list(plays), now)

    async def lock_customers(self, customer_ids: Iterable[str]) -> None:
        await self._connection.execute(sql.LOCK_CUSTOMERS, sorted(set(customer_ids)))

    async def to_send(self, action_ids: Sequence[str]) -> list[tuple[Action, int]]:
        rows = await self._connection.fetch(sql.ACTIONS_TO_SEND, list(action_ids))
        partitions = [int(row["partition"]) for row in rows]
        return list(zip(await self._actions(rows), partitions, strict=True))

    async def others(self, customer_ids: Iterable[str], now: datetime, since: datetime) -> list[OtherAction]:
        rows = await self._connection.fetch(sql.COUNTED, list(customer_ids), since)
        return [
            OtherAction(action, _counted(row, now), row["outcome"] == "sent", row["under_way"])
            for row, action in zip(rows, await self._actions(rows), strict=True)
        ]

    async def read_through(self, stream: str) -> dict[int, datetime | None]:
        rows = await self._connection.fetch(sql.READ_THROUGH, stream)
        return {row["partition"]: row["read_through"] for row in rows}


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _counted(row: asyncpg.Record, now: datetime) -> Counted:
    # What is decided and not delivered yet reaches the customer at this moment at the earliest.
    at = row["delivered_at"] if row["outcome"] == "sent" else now
    return Counted(at, row["channel"], row["play"], row["contact"])


def _action(row: asyncpg.Record, step: StepOf | None) -> Action:
    """The action in a row with at least the columns ``decision_statements.ACTION_FIELDS``."""
    fields = {name: row[name] for name in sql.ACTION_FIELDS}
    fields["action_id"] = str(fields["action_id"])
    fields["fact"] = Fact.from_row(orjson.loads(fields["fact"]))
    return Action(**fields, step=step)


def _row(action: Action, partition: int) -> tuple[Any, ...]:
    fact, step = action.fact, action.step
    return (
        action.action_id, partition, action.play, fact.id, fact.type, orjson.dumps(fact.to_row()).decode(),
        action.customer_id, fact.lifecycle, fact.stage, action.channel, action.endpoint, action.priority,
        action.outcome, action.reason_code, action.reason, action.counts, fact.at, action.decide_at,
        action.decided_at, action.events, action.contact, action.held_out, action.play_version,
        None if step is None else step.run_id, None if step is None else step.name, None if step is None else step.at,
    )  # fmt: skip
