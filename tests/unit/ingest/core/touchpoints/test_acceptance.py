"""The gate every touchpoint goes through."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchline_ingest.core.touchpoints.acceptance import Accepted, Rejected, Terms, judge, named_by
from touchline_ingest.core.touchpoints.bodies import BrokenItem
from touchline_ingest.core.touchpoints.fast_path import fast_record
from touchline_ingest.core.touchpoints.records import touchpoint_record
from touchline_schemas.cloudevents import from_headers
from touchline_schemas.times import to_micros, to_wire
from touchline_schemas.touchpoint import PostedTouchpoint, Touchpoint

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GOOD = {"type": "purchased", "customer_id": "c-1", "occurred_at": "2026-03-01T11:00:00Z"}


def verdict_on(item: Any, terms: Terms | None = None) -> Any:
    (verdict,) = judge([item], terms or Terms("shop"), now=NOW, name_item=lambda index: f"id-{index}")
    return verdict


def test_a_good_touchpoint_becomes_a_cloud_event_keyed_by_its_customer() -> None:
    verdict = verdict_on(GOOD | {"id": "order-1", "properties": {"amount": 5}})
    assert isinstance(verdict, Accepted)
    context = from_headers(verdict.record.headers)
    assert (context.id, context.type, context.subject) == ("order-1", "touchline.touchpoint", "c-1")
    assert context.source == "/touchline/ingest/shop"
    assert context.time == "2026-03-01T11:00:00Z"
    assert verdict.record.key == b"c-1"
    stored = Touchpoint.model_validate_json(verdict.record.value)
    assert (stored.channel, stored.direction, stored.source, stored.received_at) == ("commerce", "inbound", "shop", NOW)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"occurred_at": "2026-03-01T12:05:01Z"}, "more than 5 minutes ahead"),
        ({"occurred_at": "9999-01-01T00:00:00Z"}, "after 2099"),
        ({"occurred_at": "1989-12-31T23:59:59Z"}, "before 1990"),
        ({"occurred_at": "2026-03-01T11:00:00"}, "occurred_at"),
        ({"occurred_at": 1772366400}, "RFC 3339"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"customer_id": "a\x00b"}, "control characters"),
        ({"customer_id": "\ud800"}, "customer_id"),
        ({"customer_id": "x" * 10_000}, "customer_id"),
        ({"id": "x" * 10_000}, "id: "),
        ({"id": ""}, "id: "),
        ({"customer_id": None}, "names no customer"),
        ({"customer_id": "   "}, "customer_id"),
        ({"email": "nobody"}, "email"),
        ({"type": "no blanks please"}, "type"),
        ({"properties": {"a": "\x00"}}, "NUL"),
        ({"properties": {"a": {"b": "\udfff"}}}, "surrogate"),
        ({"properties": []}, "properties"),
        ({"properties": {"a": 2**70}}, "64 bits"),
        ({"properties": {"text": "x" * 40_000}}, "too large"),
        ({"tpye": "x"}, "not a field"),
        ({"type": "stage_set"}, "may not set stages"),
        ({"direction": "sideways"}, "direction"),
    ],
)
def test_a_bad_touchpoint_is_rejected_with_what_to_send_instead(fields: dict[str, Any], message: str) -> None:
    verdict = verdict_on(GOOD | fields)
    assert isinstance(verdict, Rejected)
    assert message in verdict.error
    orjson.dumps(verdict.error)


def test_deep_nesting_is_rejected_and_not_an_error_of_ours() -> None:
    deep: Any = 1
    for _ in range(1000):
        deep = [deep]
    verdict = verdict_on(GOOD | {"properties": {"deep": deep}})
    assert isinstance(verdict, Rejected)
    assert "nested" in verdict.error


def test_an_occurrence_up_to_five_minutes_ahead_is_a_matter_of_clocks() -> None:
    assert isinstance(verdict_on(GOOD | {"occurred_at": "2026-03-01T12:05:00Z"}), Accepted)


def test_one_bad_item_costs_no_other() -> None:
    verdicts = judge([GOOD, 7, GOOD, BrokenItem("not JSON"), None], Terms("s"), now=NOW, name_item=str)
    assert [type(verdict) for verdict in verdicts] == [Accepted, Rejected, Accepted, Rejected, Rejected]
    assert [verdict.index for verdict in verdicts] == [0, 1, 2, 3, 4]


def test_an_idempotency_key_names_the_items_of_the_same_request_the_same() -> None:
    def ids(source: str, key: str) -> list[Any]:
        return [v.id for v in judge([GOOD, GOOD], Terms(source), now=NOW, name_item=named_by(source, key))]

    assert ids("shop", "k") == ids("shop", "k")
    assert len({*ids("shop", "k"), *ids("shop", "l"), *ids("crm", "k")}) == 6


def test_stages_are_set_only_by_sources_that_may_and_only_with_a_lifecycle_and_a_stage() -> None:
    staff = Terms("staff", may_set_stage=True)
    to = {"lifecycle": "service-cycle", "stage": "reach"}
    assert isinstance(verdict_on(GOOD | {"type": "stage_set", "properties": to}, staff), Accepted)
    assert "lifecycle" in verdict_on(GOOD | {"type": "stage_set"}, staff).error
    assert (
        "stage" in verdict_on(GOOD | {"type": "stage_set", "properties": {"lifecycle": "x", "stage": 1}}, staff).error
    )


def test_a_source_limited_to_types_may_post_no_others() -> None:
    terms = Terms("few", types=frozenset({"purchased"}))
    assert isinstance(verdict_on(GOOD, terms), Accepted)
    assert "not among the types" in verdict_on(GOOD | {"type": "refunded"}, terms).error


def test_an_import_flags_everything_as_history_whatever_was_posted() -> None:
    verdict = verdict_on(GOOD | {"backfill": False}, Terms("crm", backfill=True))
    assert orjson.loads(verdict.record.value)["backfill"] is True


def test_the_key_is_the_first_identifier_present_with_its_prefix() -> None:
    nobody = {"customer_id": None}
    assert verdict_on(GOOD | nobody | {"anonymous_id": "a"}).record.key == b"anon:a"
    assert verdict_on(GOOD | nobody | {"email": " Ada@Example.org "}).record.key == b"email:ada@example.org"
    assert verdict_on(GOOD | nobody | {"external_id": "9"}).record.key == b"ext:shop:9"


_texts = st.text(max_size=20)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(_texts, children, max_size=3),
    max_leaves=8,
)
_moments = st.integers(631_238_400, 1_767_225_600).map(lambda s: datetime.fromtimestamp(s + 0.25, UTC).isoformat())
_posted = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["purchased", "email_delivered", "brand_new", "stage.set"]),
        "occurred_at": _moments,
        "customer_id": st.text("abcäö:- ", min_size=1, max_size=9).filter(str.strip),
    },
    optional={
        "anonymous_id": st.just("a-1"),
        "email": st.just(" Ada@Example.org"),
        "external_id": st.just("9"),
        "channel": st.sampled_from(["web", "sales"]),
        "direction": st.sampled_from(["inbound", "outbound"]),
        "properties": st.dictionaries(_texts, _values, max_size=3),
        "machine": st.booleans(),
        "backfill": st.booleans(),
    },
)


@given(_posted, st.sampled_from([None, True, False]))
def test_the_short_way_to_a_record_says_the_same_as_the_models(fields: dict[str, Any], backfill: bool | None) -> None:
    verdict = judge([fields], Terms("shop"), now=NOW, name_item=str)[0]
    if isinstance(verdict, Rejected):
        return
    posted = PostedTouchpoint.model_validate(fields)
    model = posted.accepted(id="i", source="shop", received_at=NOW, backfill=backfill)
    record = touchpoint_record(posted, id="i", source="shop", received_at=to_wire(NOW), backfill=backfill)
    assert orjson.loads(record.value) == orjson.loads(model.to_json())
    assert list(orjson.loads(record.value)) == list(orjson.loads(model.to_json()))
    assert record.key == model.key.encode()
    assert Touchpoint.model_validate_json(record.value) == model


def test_the_latest_moment_moves_with_the_clock() -> None:
    item = GOOD | {"occurred_at": to_wire(NOW + timedelta(minutes=10))}
    assert isinstance(verdict_on(item), Rejected)
    later = NOW + timedelta(minutes=5)
    assert isinstance(judge([item], Terms("s"), now=later, name_item=str)[0], Accepted)


_odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 1, "", " ", "a b", "x" * 300, "\x00", "ü", "\ud800", [], {}, "email:A@b.c", "plain"]
)
_odd_times = st.sampled_from(
    [
        "2026-03-01T11:00:00Z", "2026-03-01T11:00:00.120Z", "2026-03-01T11:00:00.000Z", "2026-03-01T11:00:00.123456Z",
        "2026-03-01T11:00:00.000000Z", "2026-03-01T12:00:00+01:00", "2026-02-30T11:00:00Z", "2026-03-01T24:00:00Z",
        "2026-03-01T11:00:60Z", "2026-03-01T12:05:00Z", "2026-03-01T12:05:01Z", "1989-12-31T23:59:59Z",
        "1990-01-01T00:00:00Z", "2026-03-01", "2026-03-01T11:00Z", "２０２６-03-01T11:00:00Z", 7, None,
    ]
)  # fmt: skip
_any_items = st.fixed_dictionaries(
    {"type": st.sampled_from(["purchased", "stage_set", "my.own/type", "", "-x", None, 3]), "occurred_at": _odd_times},
    optional={
        "id": _odd,
        "customer_id": _odd,
        "anonymous_id": _odd,
        "email": st.sampled_from([None, "a@b.c"]),
        "external_id": _odd,
        "channel": st.sampled_from([None, "web", "Web", "my_own", 1, []]),
        "direction": st.sampled_from([None, "inbound", "outbound", "up", []]),
        "properties": st.dictionaries(
            _texts | st.just("\x00"), _values | st.just(2**70) | st.just("\udc00"), max_size=3
        )
        | st.sampled_from([None, 1]),
        "machine": st.sampled_from([True, False, None, "yes"]),
        "backfill": st.sampled_from([True, False, None, 0]),
        "received_at": st.just("x"),
        "unknown": st.just(1),
    },
)


@settings(max_examples=600)
@given(_any_items, st.sampled_from([None, True]))
def test_the_short_way_accepts_nothing_that_the_long_way_would_not_and_writes_the_same(
    item: dict[str, Any], backfill: bool | None
) -> None:
    named: dict[str, Any] = {"id": "named", "source": "shop", "received_at": to_wire(NOW), "backfill": backfill}
    record = fast_record(item, latest=to_micros(NOW + timedelta(minutes=5)), **named)
    if record is None:
        return
    posted = PostedTouchpoint.model_validate(item)
    assert posted.type != "stage_set"
    assert posted.occurred_at <= NOW + timedelta(minutes=5)
    assert record == touchpoint_record(posted, **named | {"id": posted.id or "named"})


@pytest.mark.parametrize(
    "fields", [{}, {"id": "a"}, {"anonymous_id": "a"}, {"properties": {"a": {"b": [1]}}}, {"channel": "x"}]
)
def test_the_short_way_is_the_usual_one(fields: dict[str, Any]) -> None:
    named: dict[str, Any] = {"id": "i", "source": "s", "received_at": to_wire(NOW), "backfill": None}
    assert fast_record(GOOD | fields, latest=to_micros(NOW), **named)
