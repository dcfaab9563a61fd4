"""Dashboards and alerts on a running deployment, seen by a real Prometheus.

Every expression of every panel returns series. Each fault that can be made here is made, and its alert fires; then the
fault is removed, and the alert ends. What the tests shorten is in ``shortened_rules``: the rules' ``for:``, the
thresholds in seconds, and the step of ``predict_linear``. promtool tests the rules with the times that operators get
(deploy/prometheus/touchline.rules.test.yaml).
"""

import asyncio
import json
import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from ruamel.yaml import YAML
from standardwebhooks import Webhook
from touchline_devstack.processes import command
from touchline_devstack.receivers import Answer
from touchline_devstack.stack import Stack

from tests.support.deployment import SECRET
from tests.support.kafka_admin import accept_writes, produce, refuse_writes
from tests.support.monitoring import Watched, watched, write_sources
from tests.support.prometheus import ROOT, RULES, prometheus
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]

PANELS = [
    (file.stem, panel["title"], target["expr"])
    for file in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
    for panel in json.loads(file.read_text())["panels"]
    for target in panel["targets"]
]
OF_OTHER_EXPORTERS = {("stores", "Room on the volumes"), ("stores", "Room on the disks")}
"""Panels of the kubelet's and node_exporter's metrics, neither of which runs here."""

BY_PROMTOOL_ALONE = {"TouchlineVolumeFills", "TouchlineDiskFills"}
"""Alerts about those metrics."""

PROCESSES_ARE_AWAY = frozenset(
    {
        "TouchlineIngestDown", "TouchlineStageEngineDown", "TouchlineNotifierDown", "TouchlineConsoleDown",
        "TouchlineProcessDown",
    }
)  # fmt: skip
DATABASE_IS_AWAY = frozenset({"TouchlineNotReady", "TouchlineNotifierPartitionsUnowned"})
AN_ENGINE_IS_KILLED = frozenset({"TouchlinePartitionsUnowned"})
KAFKA_TAKES_NO_WRITES = frozenset(
    {
        "TouchlineIngestUnavailable", "TouchlineRequestsFail", "TouchlineOutboxStuck", "TouchlineNotifierOutboxStuck",
    }
)  # fmt: skip
TABLES_ARE_LOCKED = frozenset(
    {
        "TouchlinePartitionStuck", "TouchlineTouchpointsNotFolded", "TouchlineTimersLate", "TouchlineActionsOverdue",
        "TouchlineEngineFallsBehind", "TouchlineNotifierFallsBehind",
    }
)  # fmt: skip
ENDPOINTS_FAIL = frozenset(
    {"TouchlineEndpointFails", "TouchlineDeliveriesFail", "TouchlineEndpointDisabled", "TouchlineDeliveriesOverdue"}
)
INPUT_IS_WRONG = frozenset({"TouchlineSourcesFileInvalid", "TouchlineDeadLetters"})
FAULTS = (
    AN_ENGINE_IS_KILLED,
    PROCESSES_ARE_AWAY, DATABASE_IS_AWAY, KAFKA_TAKES_NO_WRITES, TABLES_ARE_LOCKED, ENDPOINTS_FAIL, INPUT_IS_WRONG,
)  # fmt: skip
# Their expressions look back for minutes, so they still fire for that long when the fault is gone.
LINGER = {"TouchlineDeadLetters", "TouchlineDeliveriesFail", "TouchlineIngestUnavailable", "TouchlineRequestsFail"}


@pytest.fixture(scope="module")
def system(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The deployment. Each test leaves it in good health."""
    name = "test_monitoring"
    url = stack.create_database(name)
    try:
        with watched(stack.kafka_bootstrap, url, "monitored", tmp_path_factory.mktemp("monitoring")) as system:
            yield system
    finally:
        stack.drop_database(name)


@asynccontextmanager
async def alerts(
    system: Watched, folder: Path, expected: frozenset[str], *, begun: bool = False
) -> AsyncIterator[Callable[[], set[str]]]:
    """A Prometheus that has seen nothing before. None of the alerts may fire yet; all must end after the fault.

    Args:
        begun: the fault was made before, so that some may fire already.

    Yields a function that returns which of them have fired so far.
    """
    with prometheus(folder, system.targets) as watching:
        await watching.ready()
        if not begun:
            await wait_until(
                lambda: not watching.firing() & expected, "without the fault none fires", 90, seen=watching.firing
            )
        seen: set[str] = set()

        def fired() -> set[str]:
            seen.update(watching.firing() & expected)
            return seen

        yield fired
        await wait_until(
            lambda: not watching.firing() & expected - LINGER, "the alerts end", 90, seen=lambda: watching.firing()
        )


async def all_fire(fired: Callable[[], set[str]], expected: frozenset[str]) -> None:
    await wait_until(lambda: fired() == expected, "the alerts fire", 90, seen=lambda: sorted(expected - fired()))


async def test_every_expression_of_every_panel_returns_series(system: Watched, tmp_path: Path) -> None:
    with prometheus(tmp_path, system.targets) as watching:
        await watching.ready()
        system.sign_in()
        system.save_audience("everybody", lifecycle="kiosk")
        number = 0

        def traffic() -> None:
            nonlocal number
            number += 1
            for one in range(3):
                system.accepted(system.someone(f"panel-{number}-{one}", spilt=one == 0))
            system.post([system.touchpoint("panel", "page_viewed") | {"occurred_at": "yesterday"}])
            for page in ("/", "/lifecycles/kiosk", "/customers", "/plays", "/operations"):
                answer = system.http.get(system.services["console"].url + page)
                assert answer.status_code < 400, (page, answer.text)
            for analysis in ("funnel", "flows"):
                system.get("stage-engine", f"/v1/lifecycles/kiosk/{analysis}")

        def without_series() -> list[tuple[str, str, str]]:
            return [
                (file, title, expression)
                for file, title, expression in PANELS
                if (file, title) not in OF_OTHER_EXPORTERS
                and not any(not math.isnan(float(one["value"][1])) for one in watching.query(expression))
            ]

        def complete() -> bool:
            traffic()
            return not without_series()

        await wait_until(complete, "every panel shows something", 90, interval=1, seen=without_series)
        assert {panel[:2] for panel in PANELS} >= OF_OTHER_EXPORTERS


def test_each_alert_has_a_fault_here_or_is_of_another_exporter() -> None:
    names = {rule["alert"] for group in YAML(typ="safe").load(RULES.read_text())["groups"] for rule in group["rules"]}
    assert sorted(names) == sorted(name for group in (*FAULTS, BY_PROMTOOL_ALONE) for name in group)


async def test_alerts_fire_while_wrong_input_arrives(system: Watched, tmp_path: Path) -> None:
    async with alerts(system, tmp_path, INPUT_IS_WRONG) as fired:
        system.sources_file.write_text("sources: [{name: till, kind: apy}]")
        try:
            body = b'{"type": "contact.created", "timestamp": "2026-01-01T00:00:00Z", "data": 3}'
            now = datetime.now(UTC)
            answer = system.http.post(
                f"{system.services['ingest'].url}/v1/webhooks/desk",
                content=body,
                headers={
                    "webhook-id": "w-1",
                    "webhook-timestamp": str(int(now.timestamp())),
                    "webhook-signature": Webhook(SECRET).sign("w-1", now, body.decode()),
                },
            )
            assert answer.status_code < 300, answer.text
            await produce(system.bootstrap, f"{system.prefix}.touchpoints.v1", b"c-1", b"not JSON")
            await all_fire(fired, INPUT_IS_WRONG)
        finally:
            write_sources(system.sources_file)


async def test_alerts_fire_while_kafka_takes_no_writes(system: Watched, tmp_path: Path, stack: Stack) -> None:
    broker = next(part.pid for part in stack.status() if part.title == "Kafka")
    if broker is None:
        pytest.skip("this Kafka is not a process of ours: run on the embedded stack")
    actions, facts = (f"{system.prefix}.{topic}.v1" for topic in ("retention-actions", "stage-changes"))
    async with alerts(system, tmp_path, KAFKA_TAKES_NO_WRITES) as fired:
        await refuse_writes(system.bootstrap, actions)
        try:
            system.accepted(system.someone("refused-1", spilt=True))
            await wait_until(lambda: "TouchlineNotifierOutboxStuck" in fired(), "the notifier's outbox is stuck", 90)
            await refuse_writes(system.bootstrap, facts)
            try:
                system.accepted(system.someone("refused-2", spilt=True))
                await wait_until(lambda: "TouchlineOutboxStuck" in fired(), "the engine's outbox is stuck", 90)
            finally:
                await accept_writes(system.bootstrap, facts)
        finally:
            await accept_writes(system.bootstrap, actions)
        os.kill(broker, signal.SIGSTOP)
        try:

            def unavailable() -> bool:
                return system.post(system.someone("refused-3")).status_code == 503 and fired() == KAFKA_TAKES_NO_WRITES

            await wait_until(unavailable, "ingest is unavailable", 90, seen=fired)
        finally:
            os.kill(broker, signal.SIGCONT)


async def test_alerts_fire_while_endpoints_fail(system: Watched, tmp_path: Path) -> None:
    def answer(arrived: object) -> Answer:
        return Answer(410 if str(getattr(arrived, "path", "")).endswith("/crm") else 500)

    async with alerts(system, tmp_path, ENDPOINTS_FAIL) as fired:
        healthy, system.receiver.answer = system.receiver.answer, answer
        try:
            for number in range(8):
                system.accepted(system.someone(f"failing-{number}", spilt=True))
            await all_fire(fired, ENDPOINTS_FAIL)
        finally:
            system.receiver.answer = healthy
        enable = await asyncio.create_subprocess_exec(
            command("touchline-notifier"), "endpoints", "enable", "crm", "till", env=system.environment
        )
        assert await enable.wait() == 0


async def test_alerts_fire_while_tables_are_locked(system: Watched, tmp_path: Path) -> None:
    # Folded, with a stall due in a few seconds, and an action that waits for as long.
    system.accepted([system.touchpoint("locked-1", "door_opened"), *system.someone("locked-2")])
    await wait_until(lambda: system.customer("locked-1") and system.customer("locked-2"), "they are folded")

    def waits() -> bool:
        found = system.get("notifier", "/v1/actions", customer_id="locked-2")
        return any(one["play"] == "ask-how-it-was" for one in found["items"])

    await wait_until(waits, "an action waits")
    database = await asyncpg.connect(system.environment["TOUCHLINE_DATABASE_URL"])
    try:
        # An operator's session that was left open.
        transaction = database.transaction()
        await transaction.start()
        try:
            for table in (f'"stage_engine_{system.prefix}".partitions', f'"notifier_{system.prefix}".positions'):
                await database.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            # Only now: no touchpoint is folded while Prometheus looks.
            async with alerts(system, tmp_path, TABLES_ARE_LOCKED, begun=True) as fired:
                for _ in range(3):
                    system.accepted(
                        [system.touchpoint(f"backlog-{number % 500}", "page_viewed") for number in range(4000)]
                    )
                await all_fire(fired, TABLES_ARE_LOCKED)
                await transaction.rollback()
        except BaseException:
            database.terminate()
            raise
    finally:
        await database.close()


async def test_alerts_fire_while_the_database_is_away(system: Watched, tmp_path: Path, stack: Stack) -> None:
    async with alerts(system, tmp_path, DATABASE_IS_AWAY) as fired:
        await asyncio.to_thread(stack.stop_postgres)
        try:
            await all_fire(fired, DATABASE_IS_AWAY)
        finally:
            await asyncio.to_thread(stack.start_postgres)


async def test_an_alert_fires_while_the_partitions_of_a_killed_engine_have_no_owner(
    system: Watched, tmp_path: Path
) -> None:
    async with alerts(system, tmp_path, AN_ENGINE_IS_KILLED) as fired:
        other = system.another_engine()
        try:

            async def shared() -> bool:
                async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
                    text = (await http.get(f"{other.url}/metrics")).text
                return "touchline_partitions_owned 2.0" in text

            await wait_until(shared, "the engines share the partitions")
        finally:
            other.kill()
        await all_fire(fired, AN_ENGINE_IS_KILLED)


async def test_alerts_fire_while_processes_are_away(system: Watched, tmp_path: Path) -> None:
    async with alerts(system, tmp_path, PROCESSES_ARE_AWAY) as fired:
        for service in system.services.values():
            service.kill()
        await all_fire(fired, PROCESSES_ARE_AWAY)
        await asyncio.to_thread(system.start_all)
