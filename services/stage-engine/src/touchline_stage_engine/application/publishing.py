"""Publish a version of a lifecycle while engines run, or withdraw what was published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from touchline_runtime.audit.entry import Actor, AuditEntry
from touchline_runtime.publishing.publication import Publication, PublicationRefusedError
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError
from touchline_schemas.times import parse_instant

from touchline_stage_engine.application.ports import DefinitionStore
from touchline_stage_engine.application.values import BUILTIN, FILE, PUBLISHED, StoredDefinition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.rewrite import with_header


@dataclass(frozen=True)
class Draft:
    """A definition to publish.

    Attributes:
        text: the YAML.
        base: the version that it was made from; 0: none was in force. None: as the number in the text says.
        header: values that replace those of the text: on_change, effective_from (None: from now on).
    """

    name: str
    text: str
    comment: str
    base: int | None = None
    header: Mapping[str, str | None] = field(default_factory=dict)


async def publish(
    store: DefinitionStore, draft: Draft, actor: Actor, now: int, in_files: frozenset[str] = frozenset()
) -> Publication:
    """Make a draft the version in force of its lifecycle. Running engines take it up by themselves.

    Args:
        in_files: lifecycles of this process's folder.

    Raises:
        FaultyDocumentError: the definition is wrong.
        PublicationRefusedError: the lifecycle is managed by a file, or another version is in force than the draft's
            base.
    """
    definition = read_definition(draft.text, "")
    if definition.lifecycle != draft.name:
        fault = Fault("", 1, "lifecycle", f"is {definition.lifecycle}", f"write {draft.name}, or publish it there")
        raise FaultyDocumentError([fault])
    async with store.transaction() as table:
        recorded = await table.versions_of([draft.name])
        present = in_force(recorded)
        _check_origin(draft.name, present, in_files)
        number = present.version if present is not None else 0
        last = max((version.version for version in recorded), default=0)
        next_number = last + 1 if recorded else definition.version
        if present is not None and draft.base is None and definition.version == number:
            text = with_header(draft.text, definition, {"version": number, **draft.header})
            if read_definition(text, "").fingerprint == present.fingerprint:
                return Publication(number, changed=False)
        if not _is_based_on(draft.base, definition.version, number, last, present):
            raise PublicationRefusedError(_outdated(draft, definition.version, present, last), "conflict", number)
        if present is None:
            next_number = max(next_number, definition.version)
        text = with_header(draft.text, definition, {"version": next_number, **draft.header})
        final = read_definition(text, "")
        await table.add(
            StoredDefinition(
                draft.name, next_number, final.fingerprint, text,
                None if final.effective_from is None else parse_instant(final.effective_from),
                PUBLISHED, numbered=draft.base is not None or definition.version == next_number,
                author=actor.name, comment=draft.comment,
            ),
            now,
        )  # fmt: skip
        await table.audit(
            AuditEntry(
                actor, "lifecycle_published", f"lifecycle/{draft.name}",
                None if present is None else {"version": number, "sha256": present.fingerprint},
                {
                    "version": next_number, "sha256": final.fingerprint, "on_change": final.on_change,
                    "effective_from": final.effective_from,
                },
                draft.comment or None,
            )
        )  # fmt: skip
    return Publication(next_number, changed=True)


def in_force(recorded: Sequence[StoredDefinition]) -> StoredDefinition | None:
    """The version in force of one lifecycle: the newest that runs."""
    running = [version for version in recorded if version.running]
    return max(running, key=lambda version: version.version, default=None)


def is_managed_by_file(name: str, present: StoredDefinition | None, in_files: frozenset[str]) -> bool:
    """Whether a lifecycle changes with a file of a folder alone: of this process's folder, or of an engine's."""
    return name in in_files or (present is not None and present.origin == FILE)


def _check_origin(name: str, present: StoredDefinition | None, in_files: frozenset[str]) -> None:
    if is_managed_by_file(name, present, in_files):
        raise PublicationRefusedError(
            f"lifecycle {name} is managed by file: change its file in TOUCHLINE_LIFECYCLES_DIR and restart the engines",
            "managed-by-file",
            None if present is None else present.version,
        )


def _is_based_on(base: int | None, written: int, number: int, last: int, present: StoredDefinition | None) -> bool:
    """Whether a draft was made from the version in force (`number`; 0: none).

    Without a base, the number in the text says it: a draft is numbered one higher than the last version. A draft with
    the number of the version in force was made from it too, unless that number was written by another author: both may
    have made their draft from the version before.
    """
    if base is not None:
        return base == number
    if present is None or written == last + 1:
        return True
    return written == number and (present.origin == BUILTIN or not present.numbered)


def _outdated(draft: Draft, written: int, present: StoredDefinition | None, last: int) -> str:
    if present is None:
        return f"no version of {draft.name} is in force, and the draft was made from version {draft.base}"
    by = "" if present.author is None else f" (published by {present.author})"
    made = f"version {draft.base}" if draft.base is not None else f"another version (it says version: {written})"
    return (
        f"version {present.version} of {draft.name} is in force{by}, and the draft was made from {made}: compare them, "
        f"then publish it with base {present.version}, or with version: {last + 1} in its text"
    )


async def withdraw(store: DefinitionStore, name: str, actor: Actor, reason: str | None) -> list[int]:
    """Stop a published lifecycle; a built-in one returns to the built-in version. Its stages are kept.

    Returns:
        The versions that do not run any more.

    Raises:
        LookupError: no version of it was published.
        PublicationRefusedError: it is managed by a file.
    """
    async with store.transaction() as table:
        recorded = [version for version in await table.versions_of([name]) if version.running]
        present = in_force(recorded)
        _check_origin(name, present, frozenset())
        gone = [version.version for version in recorded if version.origin == PUBLISHED]
        if not gone:
            raise LookupError(name)
        await table.stop(name)
        await table.audit(
            AuditEntry(actor, "lifecycle_withdrawn", f"lifecycle/{name}", {"version": gone[-1]}, None, reason)
        )
    return gone
