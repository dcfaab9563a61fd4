"""Derived identifiers and partitions: the same for everybody, for all time."""

import uuid

import pytest
from aiokafka.partitioner import murmur2 as murmur2_of_a_kafka_client
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st
from touchline_schemas.cloudevents import Context, NotACloudEventError, from_headers, to_headers
from touchline_schemas.events.dead_letters import MAX_VALUE, dead_letter
from touchline_schemas.ids import action_id, fact_id, idempotent_touchpoint_id
from touchline_schemas.partitions import murmur2, partition_of


@given(st.binary(max_size=64))
def test_our_murmur2_is_the_kafka_clients(data: bytes) -> None:
    assert murmur2(data) == murmur2_of_a_kafka_client(data) & 0xFFFFFFFF


@given(st.text(max_size=40), st.integers(1, 64))
def test_a_key_has_a_partition_among_those_there_are(key: str, count: int) -> None:
    assert 0 <= partition_of(key, count) < count


def test_derived_ids_never_change() -> None:
    assert fact_id("c-17", "service-cycle", 0, 1) == uuid.UUID("fc0899f2-92e8-5ff5-aa01-86fcfcc92731")
    fact = "fc0899f2-92e8-5ff5-aa01-86fcfcc92731"
    assert action_id("win-back", fact) == uuid.UUID("30139a7f-10f2-5a90-968b-d162f1a3ac4c")
    assert idempotent_touchpoint_id("shop", "key-1", 0) == uuid.UUID("9fb0ca9a-4007-57aa-9a6a-e57c229764ac")


def test_every_part_of_a_fact_makes_another_id() -> None:
    ids = {fact_id("a", "b", 0, 1), fact_id("a", "b", 1, 1), fact_id("a", "b", 0, 2), fact_id("ab", "", 0, 1)}
    assert len(ids) == 4


def test_a_context_survives_the_headers() -> None:
    headers = to_headers(id="1", type="touchline.touchpoint", source="/s", time="2026-01-01T00:00:00Z", subject="Zoë")
    assert from_headers(headers) == Context("1", "touchline.touchpoint", "/s", "2026-01-01T00:00:00Z", "Zoë")


@pytest.mark.parametrize("missing", ["ce_specversion", "ce_id", "ce_type", "ce_source"])
def test_a_record_without_a_required_attribute_is_no_event(missing: str) -> None:
    headers = to_headers(id="1", type="t", source="/s", time="2026-01-01T00:00:00Z", subject="c")
    with pytest.raises(NotACloudEventError, match=missing):
        from_headers([header for header in headers if header[0] != missing])


def test_a_dead_letter_keeps_the_bytes_and_headers_it_came_with() -> None:
    value, headers = dead_letter(
        b"\xff{", [("x", b"1"), ("reason", b"forged")], reason="not_json", error="…", origin="t/0/1"
    )
    assert value == b"\xff{"
    assert ("x", b"1") in headers
    assert [content for name, content in headers if name == "reason"] == [b"not_json"]
    assert not any(name == "truncated" for name, _ in headers)


def test_a_header_without_a_value_is_not_there_for_an_event_and_empty_in_a_dead_letter() -> None:
    headers = to_headers(id="1", type="t", source="/s", time="2026-01-01T00:00:00Z", subject="c")
    context = from_headers([*headers[:-2], ("ce_subject", None), ("x", None)])
    assert (context.id, context.subject) == ("1", None)
    with pytest.raises(NotACloudEventError, match="ce_id"):
        from_headers([header if header[0] != "ce_id" else ("ce_id", None) for header in headers])
    _, kept = dead_letter(b"{", [("x", None), ("reason", None)], reason="not_json", error="…", origin="t/0/1")
    assert kept[0] == ("x", b"")
    assert [content for name, content in kept if name == "reason"] == [b"not_json"]


@pytest.mark.parametrize(
    "headers",
    [
        [("", b"")] * 500_000,
        [("", None)] * 500_000,
        [("n" * 10, b"")] * 90_000,
        [("\U0001f600" * 59_000, b"x")],
        [("x", b"y" * 59_000)] * 2,
    ],
)
def test_a_dead_letter_fits_on_its_topic_whatever_its_headers_are(headers: list[tuple[str, bytes | None]]) -> None:
    value, kept = dead_letter(b"v" * 2_000_000, headers, reason="r", error="\U0001f600" * 9000, origin="o" * 300)
    size = DefaultRecordBatchBuilder.estimate_size_in_bytes(b"k" * 16_384, value, kept)
    assert size < 1_000_000
    assert ("truncated", b"true") in kept


def test_a_dead_letter_too_large_for_the_topic_is_cut_and_says_so() -> None:
    value, headers = dead_letter(b"x" * (MAX_VALUE + 1), [], reason="r", error="e", origin="o")
    assert len(value) == MAX_VALUE
    assert ("truncated", b"true") in headers
