"""The strip of health: short signals, each good or bad, each with the page that says what to do. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from touchline_console.core import formats

LAG_IS_BAD = 10_000
"""Touchpoints waiting from which the strip warns: some seconds of the engine's work."""


class Signal(NamedTuple):
    """One thing to know. ``href``: where to look."""

    text: str
    good: bool
    href: str


def health(
    *,
    engine: Mapping[str, Any] | None,
    dead_letters: Mapping[str, Any] | None,
    endpoints: Sequence[Mapping[str, Any]] | None,
    sending: Mapping[str, Any] | None,
) -> list[Signal]:
    """The signals; None where a service did not answer."""
    found = [*_engine(engine), *_dead_letters(dead_letters), *_endpoints(endpoints)]
    if sending is None:
        found.append(Signal("the notifier does not answer", False, "/operations"))
    elif sending["sending"]:
        found.append(Signal("sending is on", True, "/operations"))
    else:
        reason = f": {sending['reason']}" if sending.get("reason") else ""
        found.append(Signal(f"sending is switched off{reason}", False, "/operations"))
    return found


def _engine(engine: Mapping[str, Any] | None) -> list[Signal]:
    if engine is None:
        return [Signal("the stage engine does not answer", False, "/operations")]
    lag, outbox = engine["lag"], engine["outbox_waiting"]
    found = [
        Signal("Kafka does not answer", False, "/operations")
        if lag is None
        else Signal(f"{formats.plural(lag, 'touchpoint')} waiting", lag < LAG_IS_BAD, "/operations")
    ]
    if outbox > LAG_IS_BAD:
        found.append(Signal(f"{formats.number(outbox)} facts wait to be published", False, "/operations"))
    ownerless = sum(1 for one in engine["partitions"] if not one["owner"])
    if ownerless:
        found.append(Signal(f"{formats.plural(ownerless, 'partition')} without an owner", False, "/operations"))
    return found


def _dead_letters(counts: Mapping[str, Any] | None) -> list[Signal]:
    if counts is None:
        return [Signal("ingest does not answer", False, "/operations")]
    number = counts["total"]
    text = formats.plural(number, "dead letter") + (": not understood, and kept" if number else "")
    return [Signal(text, number == 0 or counts["last_day"] == 0, "/dead-letters")]


def _endpoints(endpoints: Sequence[Mapping[str, Any]] | None) -> list[Signal]:
    if endpoints is None or not endpoints:
        return []
    working = sum(1 for one in endpoints if not one.get("disabled_at") and one.get("breaker") == "closed")
    text = f"{working} of {formats.plural(len(endpoints), 'endpoint')} deliver"
    return [Signal(text, working == len(endpoints), "/endpoints")]
