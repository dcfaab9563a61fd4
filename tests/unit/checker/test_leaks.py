"""The campaign's search for secrets and addresses finds them in logs, metrics and topics."""

from pathlib import Path

from tests.campaign.definitions import KEY, SECRET
from tests.campaign.leaks import leaks

URL = "postgresql://touchline:a-password@127.0.0.1/x"


def test_what_leaks_is_found_and_what_belongs_is_not(tmp_path: Path) -> None:
    logs, evidence = tmp_path / "logs", tmp_path / "evidence"
    logs.mkdir()
    evidence.mkdir()
    (logs / "engine-0.log").write_text('{"event": "started"}\n')
    (evidence / "touchpoints.ndjson").write_text('{"email": "c1@example.org"}\n')
    (evidence / "stage-changes.ndjson").write_text('{"key": "email:c1@example.org"}\n')
    assert leaks(URL, logs, evidence, {"metrics of engine-0": "touchline_up 1"}) == []

    (logs / "engine-0.log").write_text(f"posted with {KEY} by c1@example.org")
    (evidence / "stage-changes.ndjson").write_text('{"text": "c1@example.org"}\n')
    found = leaks(URL, logs, evidence, {"metrics of engine-0": SECRET, "metrics of ingest-0": "a-password"})
    for what in (
        "the write key in log engine-0.log", "an address in log engine-0.log", "an address in stage-changes.ndjson",
        "the signing secret in metrics of engine-0", "the database's password in metrics of ingest-0",
    ):  # fmt: skip
        assert any(line.startswith(what) for line in found), (what, found)
