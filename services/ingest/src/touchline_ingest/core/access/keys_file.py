"""Changing keys in a sources file: its comments, order and layout stay as the operator wrote them."""

import io
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from touchline_schemas.times import to_wire

from touchline_ingest.core.access.keys import key_end


class KeysFileError(ValueError):
    """The change can't be made; the text says why and what to do."""


def with_new_key(text: str, *, name: str, kind: str, sha256: str, now: datetime, overlap: timedelta) -> str:
    """The file with a key more; the source's earlier keys stay in force for the overlap, a missing source is added."""

    def change(sources: list[Any]) -> None:
        entry = _find(sources, name)
        if entry is None:
            sources.append(CommentedMap(name=name, kind=kind, key_sha256=sha256))
            return
        until = now + overlap
        kept = [key for key in (_ending(key, until) for key in _keys(entry)) if _in_force(key, now)]
        entry["key_sha256"] = [*kept, sha256] if kept else sha256

    return _changed(text, change)


def without_key(text: str, *, name: str, sha256: str) -> str:
    """The file without a key.

    Args:
        sha256: the key's hash, or the beginning of it.

    Raises:
        KeysFileError: no such key, more than one, or it is the source's only one.
    """

    def change(sources: list[Any]) -> None:
        entry = _find(sources, name)
        if entry is None:
            raise KeysFileError(f"there is no source {name!r} in the file")
        keys = _keys(entry)
        gone = [key for key in keys if _digest(key).startswith(sha256.lower())]
        if len(gone) != 1:
            known = ", ".join(_digest(key)[:12] for key in keys) or "none"
            found = "no key" if not gone else "more than one key"
            raise KeysFileError(f"{found} of {name!r} begins with {sha256!r}; its keys: {known}")
        left = [key for key in keys if key is not gone[0]]
        if not left:
            raise KeysFileError(
                f"it is the only key of {name!r}: make its successor first (`touchline-ingest keys new {name} "
                "--overlap 0` revokes this one at once), or take the source out of the file"
            )
        entry["key_sha256"] = left[0] if len(left) == 1 and isinstance(left[0], str) else left

    return _changed(text, change)


def _changed(text: str, change: Callable[[list[Any]], None]) -> str:
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        document = yaml.load(text) if text.strip() else None
    except YAMLError as error:
        raise KeysFileError(f"the file is not YAML: {error}") from None
    if document is None:
        document = CommentedMap(sources=[])
    if not isinstance(document, dict) or not isinstance(document.get("sources"), list):
        raise KeysFileError("the file has no list `sources:`")
    change(document["sources"])
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _find(sources: list[Any], name: str) -> Any:
    return next((entry for entry in sources if isinstance(entry, dict) and entry.get("name") == name), None)


def _keys(entry: Any) -> list[Any]:
    raw = entry.get("key_sha256")
    if raw is None:
        return []
    return list(raw) if isinstance(raw, list) else [raw]


def _digest(key: Any) -> str:
    return str(key.get("sha256") if isinstance(key, dict) else key).lower()


def _until(key: Any) -> datetime | None:
    value = key.get("until") if isinstance(key, dict) else None
    return key_end(str(value)) if value is not None else None


def _ending(key: Any, until: datetime) -> Any:
    """The key with an end, at the latest then."""
    earlier = _until(key)
    if earlier is not None and earlier <= until:
        return key
    return CommentedMap(sha256=_digest(key), until=to_wire(until))


def _in_force(key: Any, now: datetime) -> bool:
    until = _until(key)
    return until is None or until > now
