"""The rows of a history file, and how far an import of it has come."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        number: number of the line on which it ends, from 1; for messages.
        end: byte position after it.
        content: column → text, or the line's JSON value; None when it can't be read, and ``error`` says why.
    """

    number: int
    end: int
    content: dict[str, Any] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has come. Everything before ``position`` is acknowledged.

    Attributes:
        content: SHA-256 of the file's bytes before ``position``; it detects another file with the same name.
        plan: fingerprint of the destination and the mapping; another mapping makes other touchpoints of the same rows.
    """

    position: int = 0
    line: int = 0
    accepted: int = 0
    rejected: int = 0
    source: str = ""
    size: int = 0
    content: str = ""
    plan: str = ""

    def after(self, row: Row, accepted: int, rejected: int) -> "Progress":
        """The progress after a batch that ends with a row."""
        return replace(
            self,
            position=row.end,
            line=row.number,
            accepted=self.accepted + accepted,
            rejected=self.rejected + rejected,
        )
