"""The outcome of a publication."""

from typing import NamedTuple


class Publication(NamedTuple):
    """The version in force now. ``changed``: False where it was in force already."""

    version: int
    changed: bool


class PublicationRefusedError(Exception):
    """A publication that conflicts with what is in force; the text says what to do.

    Attributes:
        kind: `managed-by-file` or `conflict`.
        in_force: the version in force; None: none.
    """

    def __init__(self, text: str, kind: str, in_force: int | None) -> None:
        super().__init__(text)
        self.kind = kind
        self.in_force = in_force
