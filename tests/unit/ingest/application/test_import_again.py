"""The kinds: a file is its content, not its name; a text is in a known encoding, or is refused with what to do."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.adapters.files.history_file import HistoryFile, ProgressFile
from touchline_ingest.adapters.files.text_encoding import known_encoding
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.application.import_history import Import, run_import
from touchline_ingest.core.history.import_mapping import default_mapping, read_mapping
from touchline_ingest.core.history.rows import Progress
from touchline_ingest.core.touchpoints.acceptance import Terms
from touchline_ingest.entrypoints.cli.import_history import TerminalReport
from touchline_ingest.entrypoints.cli.main import app
from touchline_runtime.errors import ConfigurationError
from typer.testing import CliRunner

HEADER = "customer_id,type,occurred_at\n"


def rows(*customers: str) -> str:
    return HEADER + "".join(f"{customer},purchased,2020-01-01T00:00:00Z\n" for customer in customers)


async def imported(file: Path, *, plan: str = "", encoding: str | None = None) -> list[str]:
    """The customers that one run of an import publishes."""
    history = HistoryFile(file, None, known_encoding(encoding))
    publisher, remembered = MemoryPublisher(), ProgressFile(file)
    work = Import(history, default_mapping(history.columns), Terms("shop"))
    await run_import(
        work, remembered.read("shop", history.size, plan), publisher, remembered, TerminalReport(file, Progress())
    )
    return [orjson.loads(record.value)["customer_id"] for record in publisher.published["touchpoints"]]


OVERWRITTEN = {
    "same size": ("c1", "c2", "c4"),
    "larger": ("d1", "d2", "d3", "d4", "d5"),
    "smaller": ("e1",),
    "larger, with the same beginning": ("c1", "c2", "c9", "c10", "c11"),
}


@pytest.mark.parametrize("what", OVERWRITTEN)
async def test_a_file_that_was_overwritten_is_another_file(tmp_path: Path, what: str) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(rows("c1", "c2", "c3"))
    assert await imported(file) == ["c1", "c2", "c3"]
    file.write_text(rows(*OVERWRITTEN[what]))
    assert await imported(file) == list(OVERWRITTEN[what])


async def test_the_very_same_file_is_imported_once_and_what_is_appended_is_too(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(rows("c1", "c2"))
    assert await imported(file) == ["c1", "c2"]
    assert await imported(file) == []
    file.write_text(rows("c1", "c2", "c3"))
    assert await imported(file) == ["c3"]


async def test_another_mapping_or_another_kafka_imports_it_again(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(rows("c1"))
    assert await imported(file, plan="one") == ["c1"]
    assert await imported(file, plan="one") == []
    assert await imported(file, plan="other") == ["c1"]


@given(st.lists(st.text("abcé", min_size=1, max_size=4), min_size=1, max_size=6), st.data())
async def test_whatever_was_imported_before_everything_of_the_new_content_arrives(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("again") / "orders.csv"
    file.write_text(rows(*before), encoding="utf-8")
    first = await imported(file)
    after = data.draw(st.lists(st.text("abcé", min_size=1, max_size=4), min_size=1, max_size=8))
    file.write_text(rows(*after), encoding="utf-8")
    second = await imported(file)
    assert set(after) <= set(first) | set(second)
    assert second == (after[len(before) :] if after[: len(before)] == before else after)


ACCENTED = ["café", "cafè", "Müller", "Öz"]


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252", "iso-8859-15", "mac-roman"])
async def test_names_in_another_encoding_are_refused_or_read_right_and_never_become_one(
    tmp_path: Path, encoding: str, suffix: str
) -> None:
    file = tmp_path / f"orders.{suffix}"
    text = rows(*ACCENTED)
    if suffix == "ndjson":
        lines = [{"customer_id": one, "type": "purchased", "occurred_at": "2020-01-01T00:00:00Z"} for one in ACCENTED]
        text = "\n".join(orjson.dumps(line).decode() for line in lines)
    file.write_bytes(text.encode(encoding))
    with pytest.raises(ConfigurationError, match=r"line \d+ is not utf-8.*--encoding") as refusal:
        await imported(file)
    assert f"line {2 if suffix == 'csv' else 1} " in str(refusal.value)
    assert not ProgressFile(file).path.exists()
    assert await imported(file, encoding=encoding) == ACCENTED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("given_encoding", [None, "latin-1"])
async def test_wide_encodings_are_refused_with_what_to_type(
    tmp_path: Path, encoding: str, given_encoding: str | None
) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(rows("c1").encode(encoding))
    with pytest.raises(ConfigurationError, match="iconv"):
        await imported(file, encoding=given_encoding)


@pytest.mark.parametrize(
    ("begin", "remedy"), [(b"\x1f\x8b\x08", "gunzip"), (b"PK\x03\x04", "Excel"), (b"PAR1", "Parquet")]
)
async def test_a_file_that_is_no_text_is_refused_with_what_it_is(tmp_path: Path, begin: bytes, remedy: str) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(begin + bytes(range(256)))
    with pytest.raises(ConfigurationError, match=remedy):
        await imported(file)


@pytest.mark.parametrize("name", ["utf-16", "no-such", "rot13", "base64", "utf-7", "idna", "unicode_escape"])
def test_an_encoding_that_can_not_be_read_line_by_line_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="--encoding"):
        known_encoding(name)


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
async def test_a_byte_order_mark_costs_no_row(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"orders.{suffix}"
    line = b'{"customer_id": "c1", "type": "purchased", "occurred_at": "2020-01-01T00:00:00Z"}\n'
    file.write_bytes(b"\xef\xbb\xbf" + (rows("c1").encode() if suffix == "csv" else line))
    assert await imported(file) == ["c1"]
    with pytest.raises(ConfigurationError, match=r"leave --encoding (latin-1|iso8859-1) out"):
        await imported(file, encoding="latin-1")


def test_a_large_file_names_the_line_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    line = "é" * 200 + ",purchased,2020-01-01T00:00:00Z\n"
    file.write_bytes((HEADER + line * 9000).encode() + "café,purchased,x\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="line 9002 is not utf-8"):
        HistoryFile(file)


@pytest.mark.parametrize(("bad", "code"), [(0, 0), (1, 1), (2, 1), (3, 1)])
def test_the_exit_code_says_that_rows_were_rejected(tmp_path: Path, bad: int, code: int, monkeypatch: Any) -> None:
    monkeypatch.delenv("TOUCHLINE_SOURCES_FILE", raising=False)
    file = tmp_path / "orders.csv"
    file.write_text(rows("c1", "c2", "c3").replace("purchased,2020", "purchased,20x", bad))
    result = CliRunner().invoke(app, ["import", str(file), "--source", "shop", "--dry-run"])
    assert result.exit_code == code, result.output


BOM = b"\xef\xbb\xbf"
TOUCHPOINT = {"type": "page_viewed", "customer_id": "c-1", "occurred_at": "2026-03-01T12:00:00Z", "id": "a"}


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/v1/touchpoints", orjson.dumps(TOUCHPOINT), "application/json"),
        ("/v1/touchpoints", orjson.dumps([TOUCHPOINT]), "application/json"),
        ("/v1/touchpoints", orjson.dumps(TOUCHPOINT) + b"\n", "application/x-ndjson"),
        ("/v1/beacon?key=key-of-shop", orjson.dumps({"touchpoints": [TOUCHPOINT]}), "text/plain"),
        ("/v1/track", orjson.dumps({"event": "Page", "userId": "c-1", "messageId": "a"}), "application/json"),
        (
            "/v1/cloudevents",
            orjson.dumps({"specversion": "1.0", "id": "a", "source": "/s", "type": "page_viewed", "subject": "c-1"}),
            "application/cloudevents+json",
        ),
    ],
)
async def test_a_byte_order_mark_is_no_part_of_the_text_at_any_door(
    ingest: Any, path: str, body: bytes, content_type: str
) -> None:
    for content in (BOM + body, body):
        answer = await ingest.post(content, path=path, content_type=content_type)
        assert answer.status_code in (200, 202), answer.text
    assert [touchpoint["customer_id"] for touchpoint in ingest.touchpoints()] == ["c-1", "c-1"]
    assert not ingest.publisher.published["dead-letters"]


async def test_a_webhook_with_a_byte_order_mark_is_read(ingest: Any) -> None:
    from datetime import UTC, datetime

    from standardwebhooks import Webhook

    now, body = datetime.now(UTC), (BOM + orjson.dumps(TOUCHPOINT)).decode()
    signature = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign("m-1", now, body)
    headers = {"webhook-id": "m-1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    answer = await ingest.client.post("/v1/webhooks/hooks", content=body.encode(), headers=headers)
    assert answer.status_code == 200
    assert len(ingest.touchpoints()) == 1


async def test_no_door_makes_one_customer_of_names_in_another_encoding(ingest: Any) -> None:
    for name in ("café", "cafè"):
        query = f"key=key-of-shop&type=page_viewed&customer_id={name}".encode("latin-1")
        quoted = "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in query)
        assert (await ingest.client.get(f"/v1/pixel.gif?{quoted}")).status_code == 422
        body = orjson.dumps(TOUCHPOINT | {"customer_id": name}).decode().encode("latin-1")
        assert (await ingest.post(body)).status_code == 422
        assert (await ingest.post(body, content_type="application/x-ndjson")).status_code == 422
        assert (await ingest.post(TOUCHPOINT | {"customer_id": name[:-1] + "\ufffd"})).status_code == 422
    assert ingest.touchpoints() == []
    assert (await ingest.post([TOUCHPOINT | {"customer_id": "café"}, TOUCHPOINT | {"customer_id": "cafè"}])).is_success
    assert len({touchpoint["customer_id"] for touchpoint in ingest.touchpoints()}) == 2


def test_progress_of_an_earlier_format_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(rows("c1"))
    remembered = ProgressFile(file)
    remembered.path.write_text('{"position": 20, "line": 1, "accepted": 1, "rejected": 0, "source": "shop", "size": 9}')
    assert remembered.read("shop", 70).position == 0
    remembered.write(Progress(position=5, source="shop", content="0" * 64))
    assert remembered.read("shop", 70).position == 0


UNFIT = {
    "an integer beyond 64 bits": '"properties": {"n": ' + "9" * 25 + "}",
    "a negative one": '"properties": {"n": [-9223372036854775809]}',
    "nested too deep": '"properties": {"n": ' + "[" * 300 + "]" * 300 + "}",
    "nested much too deep": '"properties": {"n": ' + "[" * 2000 + "]" * 2000 + "}",
    "both": '"properties": {"n": ' + "[" * 1000 + "9" * 25 + "]" * 1000 + "}",
}


@pytest.mark.parametrize("what", UNFIT)
@pytest.mark.parametrize("own_id", ['"id": "t-1", ', ""])
def test_a_value_that_can_not_be_kept_rejects_its_row_alone(tmp_path: Path, what: str, own_id: str) -> None:
    start = '"type": "purchased", "customer_id": "c-1", "occurred_at": "2020-01-01T00:00:00Z"'
    file, rejects = tmp_path / "rows.ndjson", tmp_path / "rejects.ndjson"
    file.write_text(f"{{{own_id}{start}, {UNFIT[what]}}}\n{{{start}}}\n")
    arguments = ["import", str(file), "--source", "shop", "--dry-run", "--rejects", str(rejects)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    assert "1 would be accepted, 1 rejected" in result.output
    assert len(rejects.read_text().splitlines()) == 1


async def test_a_row_is_named_by_its_content_whatever_an_unused_column_holds(tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    start = '{"customer_id": "c-1", "type": "purchased", "occurred_at": "2020-01-01T00:00:00Z", "unused": '
    file.write_text("".join(f"{start}{number}}}\n" for number in ("9" * 25, "9" * 25, "8" * 25)))
    history = HistoryFile(file)
    mapping = read_mapping("fields: {customer_id: customer_id, type: type, occurred_at: occurred_at}\nproperties: {}\n")
    publisher, remembered = MemoryPublisher(), ProgressFile(file)
    work = Import(history, mapping, Terms("shop"))
    await run_import(work, Progress(), publisher, remembered, TerminalReport(file, Progress()))
    first, second, third = (orjson.loads(record.value)["id"] for record in publisher.published["touchpoints"])
    assert first == second != third


def test_types_that_look_misspelt_are_told_once(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(rows("c1", "c2").replace("purchased", "purchasd") + "c3,purchased,2020-01-01T00:00:00Z\n")
    result = CliRunner().invoke(app, ["import", str(file), "--source", "shop", "--dry-run"])
    assert result.exit_code == 0
    assert result.output.count("'purchasd'") == 1
    assert "'purchased'" in result.output
