"""One touchpoint, one verdict: the fast path, the model, ingest and stage engine agree on any bytes.

The bytes are touchpoints, touchpoints with odd values, missing and repeated fields, JSON written in other ways, and
JSON with bytes changed.
"""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from touchline_ingest.core.touchpoints import acceptance
from touchline_ingest.core.touchpoints.acceptance import Accepted, Rejected, Terms, judge
from touchline_ingest.core.touchpoints.decoding import parse
from touchline_ingest.core.touchpoints.fast_path import fast_record
from touchline_ingest.core.touchpoints.refusals import NotReadable
from touchline_schemas.times import micros_to_wire, to_micros, to_wire
from touchline_schemas.touchpoint import PostedTouchpoint
from touchline_schemas.touchpoint_fast_path import has_long_number, wire_micros
from touchline_stage_engine.core import decoding
from touchline_stage_engine.core.decoding import Arrival, Poison, decode

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATEST = NOW + timedelta(minutes=5)
TERMS = Terms("shop")
PUBLISHED: dict[str, Any] = {
    "id": "t1", "type": "page_viewed", "channel": "web", "direction": "inbound", "source": "shop",
    "occurred_at": "2026-03-01T11:00:00.000000Z", "received_at": "2026-03-01T12:00:01Z", "customer_id": "c1",
    "properties": {"a": 1}, "machine": False, "backfill": False,
}  # fmt: skip
NAMES = (*PUBLISHED, "anonymous_id", "email", "external_id", "unknown")

TEXTS = st.one_of(st.text(max_size=6), st.text('aA \u00e9\u00a0\u2028\ufffd\x00\n"\\/:@', max_size=5))
LONG = st.sampled_from(["x" * 64, "x" * 65, "x" * 100, "x" * 101, "x" * 128, "x" * 129, "y" * 256, "y" * 257])
IDENTIFIERS = st.one_of(
    st.sampled_from(["", " ", " c", "c ", "c d", "\U0001f600" * 256, "undefined", "null", "{{ id }}", "0000", "nil"]),
    LONG,
)
CUSTOMER_IDS = st.one_of(
    IDENTIFIERS, st.sampled_from(["anon:x", "anon:undefined", "email:A@B", "email:a@b", "ext:shop:1", "ext:shop:"])
)
EMAILS = st.one_of(
    st.sampled_from(
        ["a@b", "A@b.c", " a@b.c ", "a@b@c", "a b@c", "null@null.com", "\u0130@b.c", "\u00df@b.c", "\u017f@b.c"]
    ),
    st.text("aB@. \u0130", min_size=1, max_size=5),
    st.sampled_from(["x" * 250 + "@b.c", "x" * 251 + "@b.c"]),
)
TYPES = st.one_of(st.sampled_from(["purchased", "aliased", "stage_set", "my.own/type", "-x", "a b", "a\n"]), LONG)
CHANNELS = st.one_of(st.sampled_from(["web", "Web", "my_own", "1a", "a\n"]), LONG)
TIMES = st.one_of(
    st.integers(to_micros(datetime(1989, 12, 30, tzinfo=UTC)), to_micros(datetime(2100, 1, 2, tzinfo=UTC))).map(
        micros_to_wire
    ),
    st.sampled_from(
        [
            "2026-03-01T11:00:00Z", "2026-03-01T11:00:00.120Z", "2026-03-01T11:00:00.12Z", "2026-03-01T11:00:00.000Z",
            "2026-03-01 12:00:00+02:00", "2026-03-01T11:00:00", "20260301T110000Z", "2026-W09-7T11:00:00Z",
            "2026-02-30T11:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T23:59:60Z", "2026-03-01t11:00:00z",
            "2026-03-01", "2026-03-01T11:00Z", "2026-03-01T11:00:00.1234567Z", "2026-03-01T12:05:00Z",
            "2026-03-01T12:05:00.000001Z", "1989-12-31T23:59:59.999999Z", "1990-01-01T00:00:00Z", "2026-060T00:00:00Z",
            "2099-12-31T23:59:59.999999Z", "2100-01-01T00:00:00Z", "9999-12-31T23:59:59-05:00", "0000-01-01T00:00:00Z",
            "\uff12\uff10\uff12\uff16-03-01T11:00:00Z", "2026-03-01T11:00:00Z\n", "2026-03-01T11:00:00+00:00",
        ]
    ),
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**19, 10**25, 2.0**62, 1e300]),
)


def nested(depth: int, bottom: Any) -> Any:
    for level in range(depth):
        bottom = [bottom] if level % 2 else {"a": bottom}
    return bottom


DEEP = st.builds(nested, st.sampled_from([1, 5, 28, 29, 30, 31, 32, 33, 40, 150]), st.sampled_from([1, "x", 2**64]))
VALUES = st.one_of(TEXTS, IDENTIFIERS, TIMES, NUMBERS, st.none(), st.booleans(), st.just([]), st.just({}), DEEP)
PROPERTIES = st.one_of(
    st.dictionaries(TEXTS, st.one_of(VALUES, st.lists(VALUES, max_size=3)), max_size=3),
    st.fixed_dictionaries({"a": NUMBERS}),
    st.fixed_dictionaries({"a": st.builds(nested, st.integers(1, 4), NUMBERS)}),
    st.fixed_dictionaries({"a": DEEP}),
    st.fixed_dictionaries({"a": TEXTS}, optional={"previous_id": IDENTIFIERS}),
)
FITTING = {
    "id": st.one_of(TEXTS, LONG), "type": TYPES, "channel": CHANNELS,
    "direction": st.sampled_from(["inbound", "outbound", "sideways"]), "source": IDENTIFIERS, "occurred_at": TIMES,
    "received_at": TIMES, "customer_id": CUSTOMER_IDS, "anonymous_id": IDENTIFIERS, "email": EMAILS,
    "external_id": IDENTIFIERS, "properties": PROPERTIES,
}  # fmt: skip
SEVERAL_NAMES = st.fixed_dictionaries(
    {},
    optional={
        "customer_id": st.sampled_from(["c1", None, "anon:x", "email:a@b", "ext:shop:1", "undefined", "email:A@B"]),
        "anonymous_id": st.sampled_from(["x", "null", None]),
        "email": st.sampled_from(["a@b", "null@null.com", None]),
        "external_id": st.sampled_from(["1", "0", None]),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A touchpoint as published, perhaps with a few fields changed, added or left out."""
    document = dict(PUBLISHED)
    match draw(st.integers(0, 9)):
        case 0:
            document |= draw(SEVERAL_NAMES)
        case 1 | 2:
            document["properties"] = draw(PROPERTIES)
        case 3:
            document |= {name: draw(VALUES) for name in draw(st.lists(st.sampled_from(NAMES), max_size=3))}
        case 4:
            document.pop(draw(st.sampled_from(NAMES)), None)
        case _:
            names = draw(st.lists(st.sampled_from(list(FITTING)), min_size=1, max_size=2))
            document |= {name: draw(FITTING[name]) for name in names}
    return document


@st.composite
def hostile_bytes(draw: st.DrawFn) -> bytes:
    """A document as some JSON writer might write it, perhaps damaged."""
    document = draw(documents())
    text = json.dumps(document, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([None, (",", ":")])))
    if draw(st.integers(0, 5)) == 0:
        # A field that is there twice: the last one counts.
        name = draw(st.sampled_from(NAMES))
        text = f"{text[:-1]}, {json.dumps(name)}: {json.dumps(draw(VALUES))}}}"
    raw = text.encode(errors="surrogatepass")
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = (
            raw[:at]
            + draw(st.sampled_from([b"", b"\x00", b"\xff", b"\\", b'"', b"}", b"9" * 19, b"e9"]))
            + raw[at + 1 :]
        )
    return raw


def any_examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=number, deadline=None, suppress_health_check=slow)


def source_and_receipt(raw: bytes) -> bytes | None:
    """A document as a caller of ingest would post it."""
    try:
        document = parse(raw)
    except NotReadable:
        return None
    if not isinstance(document, dict):
        return None
    posted = {name: value for name, value in document.items() if name not in ("source", "received_at")}
    return json.dumps(posted).encode()


@any_examples(1000)
@given(hostile_bytes())
def test_the_engine_decodes_every_record_as_the_model_does(raw: bytes) -> None:
    by_model = decoding._decode_with_model(raw)
    if isinstance(by_model, Arrival):
        assert decode(raw, by_model.key.encode()) == by_model
    else:
        assert isinstance(decode(raw, b"c1"), Poison)


@any_examples(1000)
@given(hostile_bytes(), st.sampled_from([None, True, False]))
def test_ingest_judges_every_item_as_the_model_does(raw: bytes, backfill: bool | None) -> None:
    posted = source_and_receipt(raw)
    if posted is None:
        return
    item = parse(posted)
    terms = Terms("shop", backfill=backfill)
    (verdict,) = judge([item], terms, now=NOW, name_item=lambda index: "named")
    name = "named" if item.get("id") is None else ""
    assert verdict == acceptance._judge(0, item, terms, to_wire(NOW), LATEST, name)


@any_examples(1000)
@given(hostile_bytes())
def test_the_engine_folds_what_ingest_accepts_with_the_same_values(raw: bytes) -> None:
    posted = source_and_receipt(raw)
    if posted is None:
        return
    item = parse(posted)
    (verdict,) = judge([item], TERMS, now=NOW, name_item=lambda index: "named")
    if isinstance(verdict, Rejected):
        return
    arrival = decode(verdict.record.value, verdict.record.key)
    assert isinstance(arrival, Arrival), arrival
    model = PostedTouchpoint.model_validate(item).accepted(id=verdict.id, source="shop", received_at=NOW)
    touchpoint = arrival.touchpoint
    assert [arrival.key, *arrival.others] == model.keys or arrival.previous is not None or touchpoint.type == "aliased"
    assert (touchpoint.occurred_at, touchpoint.received_at) == (to_micros(model.occurred_at), to_micros(NOW))
    for name in ("id", "source", "type", "channel", "direction", "properties", "machine", "backfill"):
        assert getattr(touchpoint, name) == getattr(model, name), name


@pytest.mark.parametrize(
    "named", [{}, {"anonymous_id": "a"}, {"email": "a@b.c"}, {"external_id": "7"}, {"customer_id": "Zoë Ångström"}]
)
@pytest.mark.parametrize("properties", [{}, {"note": 'say "hi"\n', "n": 1.5}, {"items": [{"sku": "a"}, {"sku": "b"}]}])
def test_both_services_take_the_fast_path_for_common_touchpoints(
    named: dict[str, str], properties: dict[str, Any]
) -> None:
    document = PUBLISHED | named | {"properties": properties}
    raw = orjson.dumps(document)
    assert decoding._decode_fast(document, raw) is not None
    item = {name: value for name, value in document.items() if name not in ("source", "received_at")}
    record = fast_record(item, id="", source="shop", received_at=to_wire(NOW), latest=to_micros(LATEST), backfill=None)
    assert record is not None
    (verdict,) = judge([item], TERMS, now=NOW, name_item=str)
    assert isinstance(verdict, Accepted)
    assert verdict.record == record


@given(TIMES)
def test_a_time_on_the_wire_is_read_as_the_model_reads_it(text: str) -> None:
    micros = wire_micros(text)
    if micros is not None:
        posted = PostedTouchpoint.model_validate({"type": "a", "customer_id": "c", "occurred_at": text})
        assert to_micros(posted.occurred_at) == micros


def test_long_numbers_are_found_wherever_they_are() -> None:
    chance = random.Random(7)
    for _ in range(2000):
        text = "".join(chance.choices("0123456789", k=chance.randrange(16, 22)))
        position = chance.choice(['{{"a": {}}}', "[1.{}e3]", '"x{}y"', "[{},1]", "{} {}"])
        raw = position.replace("{}", text).encode()
        assert has_long_number(raw) == (len(text) >= 19)
