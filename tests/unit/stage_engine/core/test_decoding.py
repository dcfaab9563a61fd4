"""The quick way to read a record and the contract's model agree, whatever JSON a record holds."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from touchline_stage_engine.core import decoding
from touchline_stage_engine.core.decoding import Arrival, Poison, decode

GOOD: dict[str, Any] = {
    "id": "t1", "type": "page_viewed", "channel": "web", "direction": "inbound", "source": "shop",
    "occurred_at": "2026-03-01T12:00:00.000000Z", "received_at": "2026-03-01T12:00:01Z", "customer_id": "c1",
    "properties": {"a": [1, {"b": None}]}, "machine": False, "backfill": False,
}  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["", " ", " c", "c ", "c", "anon:x", "email:A@B", "ext:shop:1", "a@b", "A@b.c", "a@b@c", "a b@c"]),
    st.sampled_from(["web", "inbound", "sideways", "page viewed", "x" * 129, "y" * 257, "\x00", "\u2028", "é", "a\n"]),
    st.sampled_from(
        [
            "2026-03-01T12:00:00Z", "2026-03-01 12:00:00+02:00", "2026-03-01T12:00:00", "20260301T120000Z",
            "2026-W09-7T12:00:00Z", "1989-12-31T23:59:59Z", "2026-03-01", "2026-03-01T12:00:00.1234567Z",
            "2026-03-01T12Z", "2026-03-01T12:00Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00",
        ]
    ),
    st.text(max_size=8),
)  # fmt: skip
VALUES = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.just([]), st.just({}), st.just({"a": "\x00"}))
NAMES = (*GOOD, "anonymous_id", "email", "external_id", "unknown")


def raw_of(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3), st.sets(st.sampled_from(list(GOOD)), max_size=2))
def test_what_the_quick_way_takes_the_contracts_model_takes_as_the_same(
    changed: dict[str, Any], missing: set[str]
) -> None:
    data = {name: value for name, value in (GOOD | changed).items() if name not in missing}
    raw = raw_of(data)
    quick = decoding._decode_fast(data, raw)
    if quick is not None:
        assert quick == decoding._decode_with_model(raw)


@pytest.mark.parametrize("named", [{}, {"anonymous_id": "a"}, {"email": "a@b.c"}, {"external_id": "7"}])
def test_the_usual_record_is_read_the_quick_way(named: dict[str, str]) -> None:
    data = GOOD | named
    quick = decoding._decode_fast(data, raw_of(data))
    assert quick is not None
    assert quick == decoding._decode_with_model(raw_of(data)) == decode(raw_of(data), b"c1")
    assert len(quick.others) == len(named)


@pytest.mark.parametrize(
    ("raw", "key", "reason"),
    [
        (None, b"c1", "no_value"),
        (b"{broken", b"c1", "not_json"),
        (b"[]", b"c1", "invalid_touchpoint"),
        (b"7", b"c1", "invalid_touchpoint"),
        (b"null", b"c1", "invalid_touchpoint"),
        (raw_of(GOOD), b"somebody", "wrong_key"),
        (raw_of(GOOD), None, "wrong_key"),
        (raw_of(GOOD | {"customer_id": None}), b"c1", "invalid_touchpoint"),
        (raw_of(GOOD | {"properties": {"a": "\x00"}}), b"c1", "invalid_touchpoint"),
        (raw_of(GOOD | {"occurred_at": "1989-12-31T00:00:00Z"}), b"c1", "invalid_touchpoint"),
    ],
)
def test_what_can_not_be_understood_says_why(raw: bytes | None, key: bytes | None, reason: str) -> None:
    found = decode(raw, key)
    assert isinstance(found, Poison)
    assert found.reason == reason
    assert found.error


def test_a_customer_id_that_is_written_as_an_e_mail_key_is_normalised() -> None:
    found = decode(raw_of(GOOD | {"customer_id": "email:A@B.c"}), b"email:a@b.c")
    assert isinstance(found, Arrival)
    assert found.key == "email:a@b.c"
