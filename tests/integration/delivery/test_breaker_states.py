"""A breaker's state has the same name in the API, the metric, the command line, the pages and the docs."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import asyncpg
import pytest
from touchline_console.application.access.sessions import ANYONE
from touchline_console.application.navigation import Navigation
from touchline_console.application.parts import Part
from touchline_console.core.health import health
from touchline_console.entrypoints.http.rendering import Renderer, StaticFiles
from touchline_notifier import metrics as declared
from touchline_notifier.adapters.postgres.reads.queries import PostgresQueries
from touchline_notifier.adapters.postgres.reads.sampled_metrics import SampledMetrics
from touchline_notifier.core.delivery.breaker import State
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.entrypoints.cli.output import show_endpoints

ROOT = Path(__file__).parents[3]
STATES: tuple[State, ...] = get_args(State)


async def store(pool: asyncpg.Pool) -> None:
    """An endpoint in each state, named after it; ``closed`` has no row, as before its first delivery."""
    now = datetime.now(UTC)
    for state in STATES:
        if state != "closed":
            await pool.execute(
                "INSERT INTO endpoint_state (endpoint, breaker, disabled_at, disabled_reason, retry_after, updated_at) "
                "VALUES ($1, $2, $3, $4, $5, $6)",
                f"is-{state}",
                "closed" if state == "disabled" else state,
                now if state == "disabled" else None,
                "answered 410" if state == "disabled" else None,
                now + timedelta(hours=1),
                now,
            )


async def test_every_part_names_the_state_of_a_breaker_alike(
    pool: asyncpg.Pool, webhook_endpoint: Callable[..., Endpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    await store(pool)
    configured = {name: webhook_endpoint(name, "https://x.example") for name in (f"is-{state}" for state in STATES)}

    rows = await PostgresQueries(pool).endpoints(configured)
    assert {row["endpoint"]: row["breaker"] for row in rows} == {f"is-{state}": state for state in STATES}

    samples = await SampledMetrics(pool, 1, tuple, configured).of_breakers()
    of_breakers = samples[declared.ENDPOINT_BREAKER]
    assert {labels for labels, value in of_breakers.items() if value} == {(f"is-{state}", state) for state in STATES}
    assert {labels[1] for labels in of_breakers} == set(STATES)

    show_endpoints(rows)
    printed = capsys.readouterr().out
    for state in STATES:
        (line,) = [line for line in printed.splitlines() if f"is-{state} " in line]
        assert line.split("│")[3].split()[0] == state
        assert f"{state}: " in printed

    found = {signal.text for signal in health(engine=None, dead_letters=None, endpoints=rows, sending=None)}
    assert f"1 of {len(STATES)} endpoints deliver" in found

    request = SimpleNamespace(url=SimpleNamespace(path="/endpoints"))
    html = Renderer(StaticFiles().address, "EUR", Navigation()).text(
        "endpoints.html", datetime.now(UTC), request=request, here="/endpoints", navigation=[], person=ANYONE, theme="",
        endpoints=Part({"items": rows}), by_endpoint={}, days=7,
    )  # fmt: skip
    cells = re.findall(
        r'<strong>is-(\w+)</strong>.*?data-label="Breaker"><span class="chip \w+">(\w+)</span>', html, re.S
    )
    assert sorted(cells) == sorted((state, state) for state in STATES)


def test_alerts_and_documents_use_these_names_and_no_others() -> None:
    rules = (ROOT / "deploy/prometheus/touchline.rules.yaml").read_text()
    asked = re.findall(r'endpoint_breaker\{state=~?"([a-z_|]+)"\}', rules)
    assert asked
    assert {state for one in asked for state in one.split("|")} <= set(STATES)
    runbook = (ROOT / "docs/runbook.md").read_text()
    assert set(re.findall(r'endpoint_breaker\{state="(\w+)"\}', runbook)) <= set(STATES)
    delivery = (ROOT / "docs/delivery.md").read_text()
    for state in STATES:
        assert f"`{state}`" in delivery
    assert f"({', '.join(STATES)})" in declared.ENDPOINT_BREAKER.about
