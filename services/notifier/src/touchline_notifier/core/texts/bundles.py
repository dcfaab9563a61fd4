"""Put the templates of a folder into the text of the play that names them.

So the text of a play says everything that it sends: what is checked, previewed, compared and published is one text.
"""

from collections.abc import Mapping
from typing import NamedTuple

from touchline_runtime.yaml.positions import Fault, FaultyDocumentError
from touchline_runtime.yaml.text import Document, read_document

from touchline_notifier.core.texts.named_templates import TOP, needed, texts_of

_HEADING = "# From the folder templates/ beside the file of the play:"


class Origin(NamedTuple):
    """Lines of a bundled text that are from another file: from ``first`` on, ``lines`` of them."""

    first: int
    lines: int
    file: str


class Bundle(NamedTuple):
    """The text of a play with the templates that it names."""

    text: str
    origins: tuple[Origin, ...] = ()

    def located(self, fault: Fault) -> Fault:
        """A fault with the file that its line is from."""
        for origin in self.origins:
            if fault.line is not None and origin.first - 1 <= fault.line < origin.first + origin.lines:
                return fault._replace(file=origin.file, line=max(fault.line - origin.first + 1, 1))
        return fault


def bundle(text: str, available: Mapping[str, str], files: Mapping[str, str] | None = None) -> Bundle:
    """The text of a play with those templates that its texts name.

    A play that has ``templates`` of its own takes none. What can't be read is left as it is: reading it as a play says
    what is wrong.

    Args:
        available: name → text.
        files: name → the file it is from.
    """
    document = _document(text)
    if document is None or TOP in document.value:
        return Bundle(text)
    given = {name: document.value[name] for name in ("action", "steps") if name in document.value}
    found = needed((one for _, one in texts_of(given)), available)
    if not found:
        return Bundle(text)
    lines = [*text.rstrip().splitlines(), "", _HEADING, f"{TOP}:"]
    origins = []
    for name, source in found.items():
        unix = source.replace("\r\n", "\n")
        lines.append(f"  {name}: {_indicator(unix)}")
        block = unix.rstrip("\n").split("\n") + [""] * max(len(unix) - len(unix.rstrip("\n")) - 1, 0)
        origins.append(Origin(len(lines) + 1, len(block), (files or {}).get(name, name)))
        lines += [f"    {line}" if line else "" for line in block]
    bundled = "\n".join(lines) + "\n"
    there = _document(bundled)
    same = there is not None and there.value == {**document.value, TOP: {k: _unix(v) for k, v in found.items()}}
    return Bundle(bundled, tuple(origins)) if same else Bundle(text)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _indicator(text: str) -> str:
    """How a block scalar keeps a text as it is: indented by two more than its key, its last line ends kept."""
    if not text.endswith("\n"):
        return "|2-"
    return "|2+" if text.endswith("\n\n") or text == "\n" else "|2"


def _document(text: str) -> Document | None:
    try:
        document = read_document(text)
    except FaultyDocumentError:
        return None
    return document if isinstance(document.value, dict) else None
