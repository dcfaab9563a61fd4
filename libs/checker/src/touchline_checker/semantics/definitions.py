"""Reads lifecycle definitions from their YAML, with every default of the documentation filled in.

It does not check them: `touchline-stage-engine check` rejects what has no meaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML

from touchline_checker.semantics.times import duration

PASSIVE = frozenset(
    ("email_bounced", "email_complained", "unsubscribed", "meeting_missed", "cancelled", "refunded", "deal_lost")
)
"""Types that are no activity in every lifecycle."""


@dataclass(frozen=True)
class Condition:
    """Which touchpoints count; `within` in microseconds, None without a window."""

    types: frozenset[str]
    channels: frozenset[str] | None
    direction: str
    where: tuple[tuple[tuple[str, ...], tuple[tuple[str, Any], ...]], ...]
    count: int
    within: int | None


@dataclass(frozen=True)
class Rule:
    """A move: every condition must hold."""

    conditions: tuple[Condition, ...]
    to: str


@dataclass(frozen=True)
class Stage:
    """A stage with its timers: due times in microseconds after the base."""

    name: str
    stalls: tuple[int, ...]
    lapse: tuple[int, str] | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Lifecycle:
    """One version of a lifecycle."""

    name: str
    version: int
    cyclic: bool
    refold: bool
    passive: frozenset[str]
    rules: tuple[Rule, ...]
    path: tuple[str, ...]
    stages: Mapping[str, Stage]

    def target(self, origin: str, to: str) -> str | None:
        """The stage that a rule or lapse of a stage leads to; None: there is none, or it is the same stage."""
        on_path = self.path.index(origin) if origin in self.path else None
        if to == "first":
            found: str | None = self.path[0]
        elif to in ("next", "previous"):
            found = None
            if on_path is not None:
                place = on_path + (1 if to == "next" else -1)
                if place == len(self.path) and self.cyclic:
                    place = 0
                if 0 <= place < len(self.path):
                    found = self.path[place]
        else:
            found = to
        return None if found == origin else found

    def kind(self, origin: str | None, to: str) -> str:
        """The kind of a move that a rule or a person causes."""
        if to not in self.path:
            return "regress"
        if origin is None or origin not in self.path:
            return "advance"
        before, after = self.path.index(origin), self.path.index(to)
        if self.cyclic and after == 0 and before == len(self.path) - 1:
            return "renew"
        return "advance" if after > before else "regress"


@lru_cache(maxsize=64)
def read_lifecycle(text: str) -> Lifecycle:
    """A definition's YAML 1.2 text."""
    document: Any = YAML(typ="safe", pure=True).load(text)
    return lifecycle_of(document)


def lifecycle_of(document: Mapping[str, Any]) -> Lifecycle:
    """A definition's plain values."""
    path = [_stage(item) for item in document["stages"]]
    beside = [_stage(item) for item in document.get("off_path") or ()]
    return Lifecycle(
        name=document["lifecycle"],
        version=document["version"],
        cyclic=bool(document.get("cyclic", False)),
        refold=document.get("on_change") == "refold",
        passive=PASSIVE | frozenset(_names(document.get("passive") or ())),
        rules=_rules(document.get("rules")),
        path=tuple(stage.name for stage in path),
        stages={stage.name: stage for stage in (*path, *beside)},
    )


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _stage(item: Mapping[str, Any]) -> Stage:
    stall, lapse = item.get("stall"), item.get("lapse")
    durations = [] if stall is None else [stall["after"], *_names(stall.get("then") or ())]
    return Stage(
        item["name"],
        tuple(duration(text) for text in durations),
        None if lapse is None else (duration(lapse["after"]), lapse["to"]),
        _rules(item.get("rules")),
    )


def _rules(items: Sequence[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    return tuple(
        Rule(tuple(_condition(condition) for condition in item.get("all") or [item]), item["to"])
        for item in items or ()
    )


def _condition(item: Mapping[str, Any]) -> Condition:
    channel, within = item.get("channel"), item.get("within")
    where = (item.get("where") or {}).items()
    return Condition(
        types=frozenset(_names(item["when"])),
        channels=None if channel is None else frozenset(_names(channel)),
        direction=item.get("direction") or "inbound",
        where=tuple((tuple(path.split(".")), _operators(asked)) for path, asked in where),
        count=item.get("count") or 1,
        within=None if within is None else duration(within),
    )


def _operators(asked: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(asked.items()) if isinstance(asked, Mapping) else (("eq", asked),)
