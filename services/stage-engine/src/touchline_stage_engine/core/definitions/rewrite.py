"""Change values at the top of a definition's text and keep the rest of the text, with its comments, as it is."""

import json
import re
from collections.abc import Mapping

from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition

HEADER_KEYS = ("version", "on_change", "effective_from")


def with_header(text: str, definition: Definition, header: Mapping[str, int | str | None]) -> str:
    """The text of a definition with other values of some `HEADER_KEYS`; None removes a key.

    Where the text is in a form in which a line cannot be exchanged (brackets, quoted keys), it is written anew
    from its meaning, as JSON (which is YAML): such a text loses its comments.
    """
    content = definition.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for key, value in header.items():
        content.pop(key, None)
        if value is not None:
            content[key] = value
    wanted = Definition.model_validate(content)
    if wanted.fingerprint == definition.fingerprint:
        return text
    rewritten = text
    for key, value in header.items():
        rewritten = _with_line(rewritten, key, value)
    try:
        if read_definition(rewritten, "").fingerprint == wanted.fingerprint:
            return rewritten
    except ValueError:
        pass
    first = ("lifecycle", "version", "title", "about", "cyclic", "on_change", "effective_from")
    ordered = {key: content[key] for key in (*(key for key in first if key in content), *content)}
    return json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"


def _with_line(text: str, key: str, value: int | str | None) -> str:
    """The text with the line of a key at the top exchanged, removed, or added after the version's."""
    line = re.compile(rf"^{key}[ \t]*:[^\n]*\n?", re.MULTILINE)
    written = "" if value is None else f"{key}: {_quoted(value)}\n"
    if line.search(text):
        return line.sub(lambda _: written, text, count=1)
    after_version = re.compile(r"^version[ \t]*:[^\n]*(\n|\Z)", re.MULTILINE)
    return after_version.sub(lambda found: f"{found[0].rstrip()}\n{written}", text, count=1)


def _quoted(value: int | str) -> str:
    # An instant is a text in YAML 1.2, and a time in some editors that read YAML 1.1.
    return f'"{value}"' if isinstance(value, str) and ":" in value else str(value)
