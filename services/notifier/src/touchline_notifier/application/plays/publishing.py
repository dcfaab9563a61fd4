"""Publish a version of a play while notifiers run, turn its switch, or withdraw it.

Each change is one transaction. Notifiers decide by it as soon as it is committed (:mod:`.live`).
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from touchline_runtime.audit.entry import Actor, AuditEntry
from touchline_runtime.publishing.publication import Publication, PublicationRefusedError

from touchline_notifier.application.plays.ports import PlayStore, PlayTable, PlayVersion, PublishedPlay
from touchline_notifier.application.plays_in_force import PlaysInForce


async def record_files(store: PlayStore, of_files: PlaysInForce) -> None:
    """Record which plays change with their files alone, so that every process refuses to publish them."""
    async with store.transaction() as table:
        await table.record_files(sorted(of_files.in_files))


@dataclass(frozen=True, slots=True)
class Draft:
    """A play to publish, checked before.

    Attributes:
        text: the YAML.
        base: the version that it was made from; 0: none was in force. None: nothing may be in force.
    """

    play: str
    text: str
    comment: str
    base: int | None


async def publish(store: PlayStore, draft: Draft, actor: Actor, now: datetime, in_files: frozenset[str]) -> Publication:
    """Make a draft the version in force of its play. The switch stays as it is.

    A draft whose text is in force already changes nothing, so that a failed request can be repeated.

    Args:
        in_files: plays of this process's folder.

    Raises:
        PublicationRefusedError: the play is managed by a file, or another version is in force than the draft's base.
    """
    async with store.transaction() as table:
        present = await table.state(draft.play)
        number = 0 if present is None else present.version or 0
        await _check_origin(table, draft.play, number, in_files)
        if present is not None and present.version is not None and present.definition == draft.text:
            return Publication(number, changed=False)
        if (draft.base or 0) != number:
            await _refuse_outdated(table, draft, number)
        version = await table.last_version(draft.play) + 1
        await table.add(PlayVersion(draft.play, version, draft.text, actor.name, draft.comment, now))
        before = None if present is None or not number else _described(number, present.definition)
        after = _described(version, draft.text)
        await table.audit(
            AuditEntry(actor, "play_published", f"play/{draft.play}", before, after, draft.comment or None)
        )
    return Publication(version, changed=True)


async def switch(
    store: PlayStore, play: str, enabled: bool, actor: Actor, reason: str | None, in_files: frozenset[str]
) -> PublishedPlay:
    """Switch a published play on or off, whatever its version. Waiting actions of a play that is off are cancelled.

    Raises:
        LookupError: no version of it is in force.
        PublicationRefusedError: it is managed by a file.
    """
    async with store.transaction() as table:
        present = await _in_force(table, play, in_files)
        if present.enabled != enabled:
            await table.switch(play, enabled)
            action = "play_switched_on" if enabled else "play_switched_off"
            before, after = {"enabled": present.enabled}, {"enabled": enabled}
            await table.audit(AuditEntry(actor, action, f"play/{play}", before, after, reason))
    return present._replace(enabled=enabled)


async def withdraw(
    store: PlayStore, play: str, actor: Actor, reason: str | None, in_files: frozenset[str]
) -> PublishedPlay:
    """Stop a published play; a shipped one that TOUCHLINE_PLAYS names returns to the shipped text. Versions are kept.

    Raises:
        LookupError: no version of it is in force.
        PublicationRefusedError: it is managed by a file.
    """
    async with store.transaction() as table:
        present = await _in_force(table, play, in_files)
        await table.withdraw(play)
        before = _described(present.version or 0, present.definition)
        await table.audit(AuditEntry(actor, "play_withdrawn", f"play/{play}", before, None, reason))
    return present


async def _in_force(table: PlayTable, play: str, in_files: frozenset[str]) -> PublishedPlay:
    present = await table.state(play)
    await _check_origin(table, play, 0 if present is None else present.version or 0, in_files)
    if present is None or present.version is None:
        raise LookupError(play)
    return present


async def _check_origin(table: PlayTable, play: str, number: int, in_files: frozenset[str]) -> None:
    if play in in_files or await table.is_in_files(play):
        raise PublicationRefusedError(
            f"play {play} is managed by file: change its file in TOUCHLINE_PLAYS_DIR and restart the notifiers",
            "managed-by-file",
            number or None,
        )


async def _refuse_outdated(table: PlayTable, draft: Draft, number: int) -> NoReturn:
    if not number:
        text = f"no version of play {draft.play} is in force, and the draft was made from version {draft.base}"
        raise PublicationRefusedError(f"{text}: publish it with base 0", "conflict", None)
    author = await table.author(draft.play, number)
    made = "does not say from which version it was made" if draft.base is None else f"was made from {draft.base}"
    raise PublicationRefusedError(
        f"version {number} of play {draft.play} is in force (published by {author}), and the draft {made}: compare "
        f"them, then publish it with base {number}",
        "conflict",
        number,
    )


def _described(version: int, text: str) -> dict[str, int | str]:
    return {"version": version, "sha256": hashlib.sha256(text.encode()).hexdigest()}
