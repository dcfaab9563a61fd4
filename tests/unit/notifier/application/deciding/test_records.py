"""Records that cannot be decoded become dead letters that the outbox can hold, whatever they consist of."""

from dataclasses import dataclass, field

import pytest
from touchline_notifier.application.deciding.records import read_events, read_touchpoints
from touchline_schemas.topics import DEAD_LETTERS


@dataclass(frozen=True)
class ARecord:
    """A record as a consumer returns it."""

    value: bytes | None
    key: bytes | None = b"c-1"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    topic: str = "touchpoints"
    partition: int = 0
    offset: int = 7


@pytest.mark.parametrize(
    "headers",
    [
        [("x", None)],
        [("ce_id", None), ("ce_type", None), ("traceparent", None)],
        [("", None), ("reason", None), ("x", b"\xff\x00")],
    ],
)
@pytest.mark.parametrize("key", [None, b"", b"\xff\x00"])
@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff"])
def test_headers_without_values_are_no_fault(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    record = ARecord(value, key, headers)
    for batch in (read_touchpoints([record]), read_events([record])):  # type: ignore[list-item]
        (dead,) = batch.dead_letters
        assert dead.topic == DEAD_LETTERS.name
        assert "\x00" not in dead.key
        assert all(b"\x00" not in content and content.decode() is not None for _, content in dead.headers)
        assert dict(dead.headers)["reason"] == b"unreadable_record"
