"""The versions of one lifecycle, and which version applies to a customer at which event time.

A version takes effect at an event time. A customer keeps their version (`on_change: pin`) until their first move at or
after that time; a new customer enters under the newest version in effect. A version with `on_change: refold` replaces
every earlier version over the whole history as soon as it is in the timeline. The application adds it when its time
has come, and folds every customer again.
"""

from collections.abc import Iterable
from typing import NamedTuple

from touchline_stage_engine.core.definitions.compile import CompiledLifecycle, CompiledStage


class UnknownVersionError(LookupError):
    """A state was folded under a version that is no longer in the timeline: fold the customer again."""


class Effective(NamedTuple):
    """A version, and the event time (microseconds) from which it is in effect."""

    effective_from: int
    lifecycle: CompiledLifecycle


class Timeline:
    """The versions of one lifecycle, in order.

    The earliest version is also in effect before its own `effective_from`.
    """

    def __init__(self, versions: Iterable[Effective]) -> None:
        ordered = sorted(versions, key=lambda version: version.lifecycle.version)
        if not ordered:
            raise ValueError("a timeline needs at least one version")
        if len({version.lifecycle.name for version in ordered}) > 1:
            raise ValueError("a timeline has the versions of one lifecycle only")
        if len({version.lifecycle.version for version in ordered}) < len(ordered):
            raise ValueError("a timeline has each version once")
        start = max(
            (index for index, version in enumerate(ordered) if version.lifecycle.on_change == "refold"), default=0
        )
        self._first, *self._later = ordered[start:]
        self._by_version = {version.lifecycle.version: version.lifecycle for version in ordered[start:]}
        self.name = self._first.lifecycle.name
        self.newest = ordered[-1].lifecycle
        self.only = None if self._later else self._first.lifecycle
        """The version in force, if there is only one."""

    @classmethod
    def of(cls, lifecycle: CompiledLifecycle) -> "Timeline":
        """The timeline of a single version."""
        return cls([Effective(0, lifecycle)])

    def at(self, occurred_at: int) -> CompiledLifecycle:
        """The newest version in effect at an event time."""
        for version in reversed(self._later):
            if version.effective_from <= occurred_at:
                return version.lifecycle
        return self._first.lifecycle

    def version(self, number: int) -> CompiledLifecycle:
        """The version of that number; UnknownVersionError when a later version has replaced it."""
        try:
            return self._by_version[number]
        except KeyError:
            raise UnknownVersionError(f"version {number} of {self.name} is not in force") from None

    def stage(self, version: int, name: str) -> CompiledStage:
        """A stage by version and name; UnknownVersionError when there is none."""
        try:
            return self.version(version).stages[name]
        except KeyError:
            raise UnknownVersionError(f"version {version} of {self.name} has no stage {name!r}") from None
