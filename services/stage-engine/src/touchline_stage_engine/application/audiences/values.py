"""Values that the use cases of audiences and the adapters exchange. Times are microseconds since the epoch."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class StoredAudience(NamedTuple):
    """An audience as people see it. ``members``: as far as it is evaluated; ``evaluated``: partitions that are done.

    ``filter`` is the JSON object that was written.
    """

    id: int
    name: str
    incarnation: int
    version: int
    title: str
    description: str
    filter: Mapping[str, Any]
    author: str
    created_at: int
    changed_at: int
    members: int = 0
    evaluated: int = 0


class Progress(NamedTuple):
    """How far a partition has evaluated an audience.

    Attributes:
        version: by which every customer was evaluated; 0: none yet.
        through: the latest instant by which spans were evaluated.
    """

    version: int = 0
    through: int = 0


class Standing(NamedTuple):
    """A customer beside an audience.

    Attributes:
        matches: the filter holds for them.
        summarised: their summary says what was folded; where it does not, `matches` may be out of date.
        merged: the key is part of another customer.
        incarnation: of the customer; None: the key has no row.
        member, change_no: as recorded; a customer who never was a member has change_no 0.
    """

    customer_id: str
    matches: bool
    summarised: bool
    merged: bool
    incarnation: int | None
    member: bool
    change_no: int

    @property
    def differs(self) -> bool:
        """Whether the record says something else than the filter."""
        return self.matches != self.member


class Membership(NamedTuple):
    """A recorded member, or former member, of an audience."""

    audience: int
    customer_id: str
    incarnation: int
    change_no: int
    member: bool
    changed_at: int


class Described(NamedTuple):
    """What an event says of an audience."""

    name: str
    incarnation: int
    version: int
