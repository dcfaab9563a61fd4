"""The compiled decoding returns what the Python code returns, whatever bytes a record holds."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from touchline_schemas.placeholders import WORDS
from touchline_stage_engine.application.batches.changes import touchpoint_row
from touchline_stage_engine.core import decoding
from touchline_stage_engine.core.decoding import Arrival, Poison

from bench import workload
from tests.contract.test_touchpoint_verdicts import (
    CHANNELS,
    CUSTOMER_IDS,
    NUMBERS,
    PUBLISHED,
    TEXTS,
    TIMES,
    TYPES,
    any_examples,
    hostile_bytes,
)
from tests.support.compiled import NOT_BUILT

compiled_decoding = pytest.importorskip("touchline_stage_engine.core.compiled_decoding", reason=NOT_BUILT)

ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=127), max_size=8)
PLACEHOLDERS = st.one_of(
    st.sampled_from(sorted(WORDS)),
    st.text("0123-_.xuUnN:a ", max_size=6),
    st.sampled_from(["undefined-null", "null,null", "c-1", "c1", "-1", "0x01", "u1", "N1", "00-10", "anon:0", "a:1"]),
    st.text("undefiledn-_0", max_size=20),
)
PLAIN_PROPERTIES = st.dictionaries(
    st.one_of(ASCII, TEXTS),
    st.one_of(NUMBERS, ASCII, st.text(max_size=5), st.none(), st.booleans(), st.lists(NUMBERS, max_size=2)),
    max_size=4,
)
DAMAGES = st.sampled_from([b"", b"\x00", b"\xff", b"\\", b'"', b"}", b"{", b",", b"9"])
BLANKS = st.sampled_from(["", "", "", " ", "\n", "\t\r"])


@st.composite
def nearly_plain(draw: st.DrawFn) -> tuple[bytes, str]:
    """A record that the compiled code takes or only just does not take, and its customer id."""
    customer = draw(st.one_of(st.just("c-17"), ASCII, PLACEHOLDERS, CUSTOMER_IDS))
    document: dict[str, Any] = PUBLISHED | {"customer_id": customer}
    fitting: dict[str, st.SearchStrategy[Any]] = {
        "id": st.one_of(ASCII, st.sampled_from(["x" * 120, "x" * 127, "x" * 128, "x" * 129])),
        "source": st.one_of(ASCII, st.sampled_from(["s" * 100, "s" * 256, "s" * 257])),
        "type": TYPES, "channel": CHANNELS, "direction": st.sampled_from(["inbound", "outbound", "Inbound"]),
        "occurred_at": TIMES, "received_at": TIMES, "machine": st.sampled_from([True, False, None, 1]),
        "backfill": st.sampled_from([True, False, "true"]), "anonymous_id": st.sampled_from([None, "a"]),
        "email": st.none(), "external_id": st.sampled_from([None, ""]), "properties": PLAIN_PROPERTIES,
    }  # fmt: skip
    for name in draw(st.lists(st.sampled_from(sorted(fitting)), unique=True, max_size=4)):
        document[name] = draw(fitting[name])
    names = draw(st.permutations(list(document))) if draw(st.booleans()) else list(document)
    # Written by hand: with a blank anywhere, and with numbers and names that no writer would write.
    fields = []
    for name in names:
        value = json.dumps(document[name], ensure_ascii=draw(st.booleans()), separators=(",", ":"))
        if name == "properties" and draw(st.integers(0, 3)) == 0:
            value = draw(st.sampled_from(STRANGE))
        fields.append(f"{draw(BLANKS)}{json.dumps(name)}{draw(BLANKS)}:{draw(BLANKS)}{value}{draw(BLANKS)}")
    text = "{" + ",".join(fields) + "}" + draw(BLANKS)
    return text.encode(errors="surrogatepass"), customer


STRANGE = [
    '{"a":1,"a":2}', '{"a":-0}', '{"a":-0.0}', '{"a":01}', '{"a":1.0}', '{"a":1e5}', '{"a":1E5}', '{"a":-}', '{"a":+1}',
    '{"a":999999999999999999}', '{"a":9223372036854775807}', '{"a":9223372036854775808}', '{"a":-9223372036854775808}',
    '{"a":18446744073709551615}', '{"a":18446744073709551616}', '{"a":12345678901234567890123}', '{"a": 1}', '{ }',
    '{"a":NaN}', '{"a":tru}', '{"a":true,}', '{,}', '{"a"}', '{"a":1', '{"a":[}', '{"a":[}}', '{"a":{"b":1}}', "[]",
    '{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"a":"\\n"}', '{"a":"\x7f"}', '{"a":"\x01"}', '{"é":"ü"}', '{"a":"}"}',
    '{"a:b":1}', '{"a":"b:c"}', '{"a":1:2}', '{"a":1}}', '{"":0}', '{"a":null}', '{"a":"12345678901234567890"}',
    '{"a":1}{"b":2}', '{"a":\u00a01}', '{"a":"\u2028"}', '{"a":1.5,"b":-7}', '{"a":false"b":1}',
]  # fmt: skip


def agree(raw: bytes | None, key: bytes | None) -> None:
    """Compare the compiled code with the Python code, and the rows that are written of the result."""
    found, wanted = compiled_decoding.decode(raw, key), decoding.decode(raw, key)
    if isinstance(found, Poison) or isinstance(wanted, Poison):
        assert found == wanted
        return
    assert found._replace(properties_json=None) == wanted
    for name in wanted.touchpoint.__match_args__:
        ours, theirs = getattr(found.touchpoint, name), getattr(wanted.touchpoint, name)
        # True is 1, and 1.0 is 1: they would be written in different ways.
        assert (type(ours), repr(ours)) == (type(theirs), repr(theirs)), name
    assert touchpoint_row(found.key, found) == touchpoint_row(wanted.key, wanted)


@any_examples(1500)
@given(nearly_plain())
def test_it_decodes_records_that_are_written_plainly_or_nearly_so_as_the_python_code_does(
    record: tuple[bytes, str],
) -> None:
    raw, customer = record
    agree(raw, customer.encode(errors="surrogatepass"))


@any_examples(500)
@given(
    nearly_plain(), st.integers(0, 400), st.sampled_from([b"", b"\x00", b"\xff", b"\\", b'"', b"}", b"{", b",", b"9"])
)
def test_it_decodes_damaged_records_as_the_python_code_does(record: tuple[bytes, str], at: int, damage: bytes) -> None:
    raw, customer = record
    agree(raw[:at] + damage + raw[at + 1 :], customer.encode(errors="surrogatepass"))
    agree(raw[:at], customer.encode(errors="surrogatepass"))


@any_examples(1000)
@given(hostile_bytes())
def test_it_decodes_whatever_bytes_as_the_python_code_does(raw: bytes) -> None:
    agree(raw, b"c1")
    by_model = decoding._decode_with_model(raw)
    if isinstance(by_model, Arrival):
        agree(raw, by_model.key.encode())


@pytest.mark.parametrize("properties", STRANGE)
def test_properties_that_no_writer_would_write_are_judged_as_by_the_python_code(properties: str) -> None:
    raw = orjson.dumps(PUBLISHED).replace(b'{"a":1}', properties.encode(errors="surrogatepass"))
    assert properties.encode() in raw
    agree(raw, b"c1")


@any_examples(1000)
@given(st.one_of(PLACEHOLDERS, CUSTOMER_IDS, ASCII))
@example("undefined1")
@example("LMY47D")
def test_a_placeholder_is_never_taken_for_a_customer(customer: str) -> None:
    agree(orjson.dumps(PUBLISHED | {"customer_id": "CUSTOMER"}).replace(b'"CUSTOMER"', orjson.dumps(customer)), b"c1")
    agree(orjson.dumps(PUBLISHED | {"customer_id": customer}), customer.encode())


@any_examples(1000)
@given(TIMES, TIMES)
def test_times_in_every_form_are_read_as_by_the_python_code(occurred_at: str, received_at: str) -> None:
    agree(json.dumps(PUBLISHED | {"occurred_at": occurred_at, "received_at": received_at}).encode(), b"c1")


@given(st.dates().map(str), st.sampled_from(["T00:00:00Z", "T23:59:59.999999Z", "T12:30:00.5Z", "T12:30:00.500Z"]))
def test_every_day_is_counted_as_by_the_python_code(day: str, time: str) -> None:
    agree(orjson.dumps(PUBLISHED | {"occurred_at": day + time}), b"c1")


@given(ASCII, ASCII, st.integers(0, 260), st.integers(0, 130))
def test_the_hash_of_source_and_id_is_that_of_the_python_code_at_every_length(
    source: str, name: str, more: int, longer: int
) -> None:
    agree(orjson.dumps(PUBLISHED | {"source": source + "s" * more, "id": name + "i" * longer}), b"c1")


@pytest.mark.parametrize(("raw", "key"), [(None, b"c1"), (None, None), (b"", b"c1"), (b"{}", None), (b"null", b"")])
def test_it_decodes_what_is_no_record_as_the_python_code_does(raw: bytes | None, key: bytes | None) -> None:
    agree(raw, key)


def test_the_key_of_a_record_has_to_be_the_customer() -> None:
    agree(orjson.dumps(PUBLISHED), b"c2")
    agree(orjson.dumps(PUBLISHED), None)


def test_records_as_ingest_writes_them_are_decoded_by_the_compiled_code_alone() -> None:
    for customer, value in workload.touchpoints(2000, 200):
        found = compiled_decoding.decode_plain(value, customer.encode())
        assert found is not None
        assert found.properties_json is not None, "their JSON is stored as it was sent"
        agree(value, customer.encode())
