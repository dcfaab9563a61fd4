"""Bodies as they arrive."""

import gzip
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from touchline_ingest.core.touchpoints.bodies import BrokenItem, is_lines, items_of
from touchline_ingest.core.touchpoints.decoding import MOST_MEMBERS, BodyDecoder, parse
from touchline_ingest.core.touchpoints.refusals import BodyTooLarge, NotReadable, NotThisMediaType
from touchline_schemas.touchpoint import PostedTouchpoint


def decoded(chunks: list[bytes], encoding: str = "", limit: int = 1000) -> bytes:
    decoder = BodyDecoder(encoding, limit)
    for chunk in chunks:
        decoder.feed(chunk)
    return decoder.finish()


@given(st.binary(max_size=900), st.integers(1, 50))
def test_a_body_comes_out_whole_however_it_is_cut(body: bytes, size: int) -> None:
    def cut(data: bytes) -> list[bytes]:
        return [data[start : start + size] for start in range(0, len(data), size)]

    assert decoded(cut(body)) == body
    assert decoded(cut(gzip.compress(body)), "gzip") == body
    two_members = gzip.compress(body[:400]) + gzip.compress(body[400:])
    assert decoded(cut(two_members), "gzip") == body


def test_a_body_beyond_the_limit_is_refused_before_the_rest_arrives() -> None:
    decoder = BodyDecoder("", 1000)
    decoder.feed(b"x" * 1000)
    with pytest.raises(BodyTooLarge, match="1000 bytes"):
        decoder.feed(b"x")


def test_a_bomb_never_unfolds() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    decoder = BodyDecoder("gzip", 100_000)
    decoder.feed(bomb)
    with pytest.raises(BodyTooLarge):
        decoder.finish()


def test_a_bomb_made_of_many_members_does_not_unfold_either() -> None:
    with pytest.raises(BodyTooLarge):
        decoded([gzip.compress(b"\0" * 900) * 30], "gzip", 2000)


@pytest.mark.parametrize("content", [b"", b"x"])
def test_a_body_of_very_many_members_is_refused(content: bytes) -> None:
    member = gzip.compress(content)
    # 4 MB of empty members took half a minute: each of them copied the rest.
    with pytest.raises(NotReadable, match=f"more than {MOST_MEMBERS} members"):
        decoded([member * (4_000_000 // len(member))], "gzip", 5_000_000)
    few = gzip.compress(b"x") * MOST_MEMBERS
    assert decoded([few], "gzip", 5_000_000) == b"x" * MOST_MEMBERS


@given(st.lists(st.binary(max_size=100_000), min_size=1, max_size=5))
@settings(max_examples=25)
def test_members_longer_than_a_piece_come_out_whole(members: list[bytes]) -> None:
    body = b"".join(gzip.compress(member, compresslevel=0) for member in members)
    assert decoded([body], "gzip", 1_000_000) == b"".join(members)


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"x" * 100, mtime=0)[:-4], b"", zlib.compress(b"x")])
def test_what_is_not_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(NotReadable, match="gzip"):
        decoded([body], "gzip")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_encodings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(NotThisMediaType, match="gzip"):
        BodyDecoder(encoding, 10)


@pytest.mark.parametrize(
    ("content_type", "lines"),
    [
        ("", False),
        ("application/json", False),
        ("Application/JSON; charset=UTF-8", False),
        ("application/vnd.touchline+json", False),
        ("application/x-ndjson", True),
        ("application/jsonl; charset=utf-8", True),
    ],
)
def test_the_content_type_says_whether_items_come_by_lines(content_type: str, lines: bool) -> None:
    assert is_lines(content_type) is lines


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_other_content_types_are_refused(content_type: str) -> None:
    with pytest.raises(NotThisMediaType):
        is_lines(content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nul",
        b"[NaN]",
        b"[Infinity]",
        b"[1e999]",
        b'["\xff"]',
        b"[" * 100_000,
        b'{"a":1}{"b":2}',
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotReadable, match="not JSON"):
        items_of(body, lines=False, most=10)


@pytest.mark.parametrize("body", [b"7", b'"text"', b"null", b"[]"])
def test_neither_an_object_nor_an_array_of_something_is_refused(body: bytes) -> None:
    with pytest.raises(NotReadable):
        items_of(body, lines=False, most=10)


def test_half_a_surrogate_pair_costs_its_own_item_alone() -> None:
    items = items_of(b'[{"a":"\\ud800"},{"b":1}]', lines=False, most=10)
    assert items == [{"a": "\ud800"}, {"b": 1}]


def test_infinity_does_not_slip_in_beside_half_a_surrogate_pair() -> None:
    for number in (b"1e999", b"NaN"):
        with pytest.raises(NotReadable):
            parse(b'["\\ud800",' + number + b"]")


def test_a_broken_line_costs_no_other_line_and_empty_ones_are_nothing() -> None:
    items = items_of(b'{"a":1}\n\n  \r\nbroken\n{"b":2}', lines=True, most=10)
    assert items[0] == {"a": 1}
    assert isinstance(items[1], BrokenItem)
    assert items[2] == {"b": 2}


def test_more_items_than_allowed_are_refused_with_the_number() -> None:
    with pytest.raises(BodyTooLarge, match="11 items in one request, 10 are allowed"):
        items_of(b"[" + b",".join([b"{}"] * 11) + b"]", lines=False, most=10)


def test_a_key_written_twice_has_its_last_value() -> None:
    assert items_of(b'{"a":1,"a":2}', lines=False, most=1) == [{"a": 2}]


INTEGERS = [2**64, 2**64 + 1, -(2**63) - 1, 10**30, 123456789012345678901234567890]


@pytest.mark.parametrize("number", INTEGERS)
@pytest.mark.parametrize(
    "around", ['{{"n": {n}}}', '[{{"a": {{"n": [{n}]}}}}]', '{{"n": {n}, "note": "a\\nb"}}', '{{"n":-{n}}}']
)
def test_an_integer_beyond_64_bits_is_never_rounded_in_silence(around: str, number: int) -> None:
    """Kind: a number that a reader of JSON changes without a word."""
    text = around.format(n=abs(number))
    assert parse(text.encode()) == json.loads(text)


@given(
    st.recursive(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists, max_leaves=5)
)
def test_numbers_are_read_as_json_readers_of_any_size_read_them(value: object) -> None:
    text = json.dumps(value)
    assert parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize("number", INTEGERS)
def test_a_touchpoint_with_such_an_integer_is_refused_and_its_neighbours_are_not(number: int) -> None:
    with pytest.raises(ValidationError, match="beyond 64 bits"):
        PostedTouchpoint.model_validate(
            {"type": "purchased", "customer_id": "c", "properties": parse(b'{"n":%d}' % number)}
        )
