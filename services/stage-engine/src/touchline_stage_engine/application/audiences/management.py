"""Create, change and delete audiences. Running engines take a change up by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from touchline_runtime.audit.entry import Actor, AuditEntry
from touchline_runtime.publishing.publication import PublicationRefusedError

from touchline_stage_engine.application.audiences.ports import AudienceStore, AudienceTransaction
from touchline_stage_engine.application.audiences.values import StoredAudience
from touchline_stage_engine.core.audiences.audience import FaultyAudienceError, FilterFault, check_name, read_filter

MOST_AUDIENCES = 200
"""Each is evaluated for every customer who changes."""


@dataclass(frozen=True)
class Draft:
    """An audience to save. ``filter``: {condition: value}, as people write it."""

    name: str
    title: str
    description: str
    filter: Mapping[str, Any]
    comment: str = ""

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions that are set."""
        return {name: value for name, value in self.filter.items() if value is not None}


async def create(store: AudienceStore, draft: Draft, actor: Actor) -> StoredAudience:
    """Add an audience.

    Raises:
        FaultyAudienceError: the name or the filter is wrong, or there are too many.
        PublicationRefusedError: there is one of this name.
    """
    check_name(draft.name)
    read_filter(draft.filter)
    async with store.transaction() as table:
        present = await table.find(draft.name)
        if present is not None:
            raise PublicationRefusedError(
                f"there is an audience {draft.name} already (version {present.version}): change it with PUT and that "
                "base, or choose another name",
                "conflict",
                present.version,
            )
        if await table.count() >= MOST_AUDIENCES:
            fault = FilterFault("name", f"there are {MOST_AUDIENCES} audiences, which is the most: delete one first")
            raise FaultyAudienceError([fault])
        await table.add(draft.name, draft.title, draft.description, draft.conditions, actor.name)
        saved = await _present(table, draft.name)
        await table.audit(_entry(actor, "audience_created", draft.name, None, _said(saved), draft.comment))
    return saved


async def change(store: AudienceStore, draft: Draft, base: int, actor: Actor) -> tuple[StoredAudience, bool]:
    """Replace an audience; whether anything in it changed.

    Args:
        base: the version that the draft was made from.

    Raises:
        FaultyAudienceError: the filter is wrong.
        PublicationRefusedError: another version is in force than the base.
        LookupError: there is no audience of this name.
    """
    read_filter(draft.filter)
    async with store.transaction() as table:
        present = await _present(table, draft.name)
        _check_base(present, base)
        before = _said(present)
        after = {"title": draft.title, "description": draft.description, "filter": draft.conditions}
        if {name: before[name] for name in after} == after:
            return present, False
        await table.change(present.id, draft.title, draft.description, draft.conditions, actor.name)
        saved = await _present(table, draft.name)
        await table.audit(_entry(actor, "audience_changed", draft.name, before, _said(saved), draft.comment))
    return saved, True


async def delete(store: AudienceStore, name: str, base: int | None, actor: Actor, reason: str | None) -> StoredAudience:
    """Delete an audience: every member leaves, one event each.

    Raises:
        PublicationRefusedError: another version is in force than the base.
        LookupError: there is no audience of this name.
    """
    async with store.transaction() as table:
        present = await _present(table, name)
        if base is not None:
            _check_base(present, base)
        await table.delete(present.id)
        await table.audit(_entry(actor, "audience_deleted", name, _said(present), None, reason or ""))
    return present


async def _present(table: AudienceTransaction, name: str) -> StoredAudience:
    found = await table.find(name)
    if found is None:
        raise LookupError(name)
    return found


def _check_base(present: StoredAudience, base: int) -> None:
    if base != present.version:
        raise PublicationRefusedError(
            f"version {present.version} of {present.name} is in force (saved by {present.author}), and the change was "
            f"made from version {base}: compare them, then save with base {present.version}",
            "conflict",
            present.version,
        )


def _said(audience: StoredAudience) -> dict[str, Any]:
    return {
        "version": audience.version,
        "title": audience.title,
        "description": audience.description,
        "filter": dict(audience.filter),
    }


def _entry(actor: Actor, action: str, name: str, before: Any, after: Any, comment: str) -> AuditEntry:
    return AuditEntry(actor, action, f"audience/{name}", before, after, comment or None)
