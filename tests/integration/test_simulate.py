"""A definition tried on recorded history, by command line: from a file and from what an engine stored."""

import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from touchline_devstack.processes import command
from touchline_schemas.times import parse_micros, to_wire
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.touchpoint import Touchpoint

NOW = "2026-06-01T00:00:00Z"
NOW_AT = datetime(2026, 6, 1, tzinfo=UTC)
RUNNING = """
lifecycle: trial
version: 1
stages:
  - name: looking
    stall: {after: 10d}
    rules:
      - {when: [page_viewed], count: 2, to: next}
  - name: buying
    stall: {after: 20d, then: [40d]}
    lapse: {after: 60d, to: first}
"""
CANDIDATE = RUNNING.replace("version: 1", "version: 2").replace("count: 2", "count: 4").replace("20d", "15d")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`simulate` to its end, with no server in sight."""
    return subprocess.run(
        [command("touchline-stage-engine"), "simulate", *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def posted(seed: random.Random) -> Iterator[dict[str, Any]]:
    """Touchpoints as callers post them; every third customer is first met on a device."""
    for number in range(60):
        at = NOW_AT - timedelta(days=seed.uniform(1, 150))
        for index in range(seed.randint(1, 9)):
            at += timedelta(days=seed.expovariate(1 / 5))
            one: dict[str, Any] = {"id": f"e{number}-{index}", "type": "page_viewed", "occurred_at": to_wire(at)}
            if number % 3 == 0 and index == 0:
                one["anonymous_id"] = f"d{number}"
            else:
                one["customer_id"] = f"c{number}"
            if number % 3 == 0 and index == 1:
                one["anonymous_id"] = f"d{number}"
            yield one


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """running.yaml, candidate.yaml and history.ndjson: shuffled, some lines twice, and two that are none."""
    (tmp_path / "running.yaml").write_text(RUNNING)
    (tmp_path / "candidate.yaml").write_text(CANDIDATE)
    seed = random.Random(11)
    lines = [json.dumps(one) for one in posted(seed)]
    lines += seed.sample(lines, 20)
    seed.shuffle(lines)
    lines[4:4] = ["not json"]
    lines[9:9] = ["", '{"type": "page_viewed", "customer_id": "c1", "occurred_at": "yesterday"}']
    (tmp_path / "history.ndjson").write_text("\n".join(lines) + "\n")
    return tmp_path


def by_hand(definition: str) -> dict[str, Any]:
    """Who ends where, and how many stalls fire, worked out one customer at a time."""
    fold = Fold(Timeline.of(compile_definition(read_definition(definition, "by hand"))))
    everything = list(posted(random.Random(11)))
    known = {one.get("customer_id") for one in everything}
    lives: dict[str, list[Touchpoint]] = {}
    for one in everything:
        number = one["id"][1:].partition("-")[0]
        name = f"c{number}" if f"c{number}" in known else f"anon:d{number}"
        at = parse_micros(one["occurred_at"])
        lives.setdefault(name, []).append(
            Touchpoint(at, one["id"], "history", one["type"], "web", "inbound", {}, received_at=at)
        )
    ends, stalls = {}, 0
    for name, life in lives.items():
        state, facts = fold.refold(sorted(life, key=lambda one: one.order), parse_micros(NOW))
        assert state is not None
        ends[name] = state.stage.name
        stalls += sum(type(fact).__name__ == "Stall" for fact in facts)
    return {"ends": ends, "stalls": stalls, "touchpoints": len(everything)}


def test_the_table_says_that_nobody_moves_at_first_under_pin(files: Path) -> None:
    result = run(
        files / "candidate.yaml", "--touchpoints", files / "history.ndjson", "--running", files / "running.yaml",
        "--until", NOW,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    words = " ".join(result.stdout.split())
    assert "With `on_change: pin` (the default) 0 of" in words
    assert "until their first move after the new version takes effect" in words


@pytest.mark.parametrize(
    ("effective_from", "at_once"), [("2000-01-01T00:00:00Z", True), ("2099-01-01T00:00:00Z", False)]
)
def test_a_pinned_version_whose_time_is_past_moves_customers_at_first(
    files: Path, effective_from: str, at_once: bool
) -> None:
    text = CANDIDATE.replace("version:", f"effective_from: {effective_from}\nversion:", 1)
    (files / "dated.yaml").write_text(text)
    arguments: list[str | Path] = [
        files / "dated.yaml", "--touchpoints", files / "history.ndjson", "--running", files / "running.yaml",
        "--until", NOW,
    ]  # fmt: skip
    result = run(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    before, after = by_hand(RUNNING), by_hand(CANDIDATE)
    moved = sum(before["ends"][name] != stage for name, stage in after["ends"].items())
    report = json.loads(result.stdout)
    assert report["on_change"] == {
        "refold": {"move_at_first": moved}, "pin": {"move_at_first": moved if at_once else 0},
    }  # fmt: skip
    assert ("is in the past" in " ".join(run(*arguments).stdout.split())) == at_once


def test_a_report_says_who_would_move_and_what_would_fire(files: Path) -> None:
    result = run(
        files / "candidate.yaml", "--touchpoints", files / "history.ndjson", "--running", files / "running.yaml",
        "--until", NOW, "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    before, after = by_hand(RUNNING), by_hand(CANDIDATE)
    assert report["customers"] == len(after["ends"])
    assert report["touchpoints"] == after["touchpoints"]
    moved = {name for name in after["ends"] if before["ends"][name] != after["ends"][name]}
    assert moved
    assert report["would_move"] == len(moved)
    assert report["on_change"] == {"refold": {"move_at_first": len(moved)}, "pin": {"move_at_first": 0}}
    assert {name for change in report["changes"] for name in change["examples"]} <= moved
    assert report["running"]["now_in"] == dict(Counter(before["ends"].values()))
    assert report["candidate"]["now_in"] == dict(Counter(after["ends"].values()))
    assert sum(stall["count"] for stall in report["running"]["stalls"]) == before["stalls"]
    assert sum(stall["count"] for stall in report["candidate"]["stalls"]) == after["stalls"]
    assert report["bad_lines"]["count"] == 2
    assert [bad["line"] for bad in report["bad_lines"]["first"]] == [5, 11]
    assert "line 5: not JSON" in result.stderr
    assert "line 11: occurred_at" in result.stderr


def test_tables_tell_it_to_people_and_nothing_to_compare_with_is_said(files: Path) -> None:
    result = run(files / "candidate.yaml", "--touchpoints", files / "history.ndjson", "--until", NOW)
    assert result.returncode == 0, result.stderr
    assert "there is nothing to compare with" in result.stdout
    assert "Funnel" in result.stdout
    assert "buying" in result.stdout


def test_plays_are_counted_by_the_facts_they_look_at(files: Path) -> None:
    plays = files / "plays"
    plays.mkdir()
    (plays / "wake.yaml").write_text("play: wake\nwhen: {fact: customer-stalled, lifecycle: trial, level: 1}\n")
    result = run(
        files / "candidate.yaml", "--touchpoints", files / "history.ndjson", "--plays", plays, "--until", NOW, "--json"
    )
    report = json.loads(result.stdout)
    levels = [stall["count"] for stall in report["candidate"]["stalls"] if stall["level"] == 1]
    assert report["candidate"]["plays"] == {"wake": sum(levels)}


@pytest.mark.parametrize(
    ("arguments", "answered"),
    [
        (["{f}/candidate.yaml"], "name the history"),
        (["{f}/candidate.yaml", "--touchpoints", "{f}/history.ndjson", "--from-database"], "name the history"),
        (["{f}/none.yaml", "--touchpoints", "{f}/history.ndjson"], "can't be read"),
        (["{f}/candidate.yaml", "--touchpoints", "{f}/none.ndjson"], "can't be read"),
        (["{f}/candidate.yaml", "--touchpoints", "{f}/running.yaml"], "no line is a touchpoint"),
        (["{f}/history.ndjson", "--touchpoints", "{f}/history.ndjson"], "history.ndjson"),
        (["{f}/candidate.yaml", "--touchpoints", "{f}/history.ndjson", "--running", "nothing"], "no such lifecycle"),
        (["{f}/candidate.yaml", "--touchpoints", "{f}/history.ndjson", "--until", "soon"], "Write an instant"),
        (["{f}/candidate.yaml", "--touchpoints", "{f}/history.ndjson", "--plays", "{f}/none"], "is not a folder"),
        (["{f}/candidate.yaml", "--touchpoints", "{f}/history.ndjson", "--html", "{f}/no/where.html"], "no folder"),
        (["{f}/candidate.yaml", "--from-database"], "TOUCHLINE_DATABASE_URL is not set"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(files: Path, arguments: list[str], answered: str) -> None:
    result = run(*(argument.format(f=files) for argument in arguments))
    assert result.returncode == 2
    assert answered in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.browser
def test_the_page_draws_its_charts_and_asks_no_other_host(files: Path) -> None:
    import shutil

    from playwright.sync_api import sync_playwright

    page_file = files / "report.html"
    result = run(
        files / "candidate.yaml", "--touchpoints", files / "history.ndjson", "--running", files / "running.yaml",
        "--until", NOW, "--html", page_file,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is missing; on Debian and Ubuntu: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        with closing(browser):
            page = browser.new_page()
            page.set_default_timeout(120_000)
            asked: list[str] = []
            complaints: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(page_file.as_uri())
            page.wait_for_function("document.querySelectorAll('.main-svg').length >= 8")
            assert page.locator("h1").inner_text() == "trial 2 against trial 1"
            assert page.locator(".funnellayer .bars").count() >= 1
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []
