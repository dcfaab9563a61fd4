"""Derived identifiers and partitions: the same for everybody, for all time."""

import uuid

import pytest
from aiokafka.partitioner import murmur2 as murmur2_of_a_kafka_client
from hypothesis import given
from hypothesis import strategies as st
from touchline_schemas.cloudevents import Context, NotACloudEventError, from_headers, to_headers
from touchline_schemas.dead_letters import MAX_VALUE, dead_letter
from touchline_schemas.ids import action_id, fact_id, idempotent_touchpoint_id, uuid7, uuid7_series
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


def test_the_names_of_one_request_are_uuid7s_that_rise_with_the_index() -> None:
    name = uuid7_series()
    names = [uuid.UUID(name(index)) for index in range(10_000)]
    assert {(one.version, one.variant) for one in names} == {(7, uuid.RFC_4122)}
    assert len(set(names)) == len(names)
    # Whole numbers one after the other, of one moment; past the last of the random bits they begin anew.
    assert {one.int >> 80 for one in names} == {names[0].int >> 80}
    assert {(one.int - names[0].int) % 2**62 for one in names} == set(range(10_000))
    assert name(7) == str(names[7])
    assert uuid.UUID(uuid7_series()(0)) not in names


def test_uuid7_carries_its_version_variant_and_time() -> None:
    minted = uuid7(unix_ms=0x0123456789AB)
    assert (minted.version, minted.variant, minted.int >> 80) == (7, uuid.RFC_4122, 0x0123456789AB)


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


def test_a_dead_letter_too_large_for_the_topic_is_cut_and_says_so() -> None:
    value, headers = dead_letter(b"x" * (MAX_VALUE + 1), [], reason="r", error="e", origin="o")
    assert len(value) == MAX_VALUE
    assert ("truncated", b"true") in headers
