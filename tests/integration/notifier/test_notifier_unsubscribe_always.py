"""The unsubscribe route answers whenever PostgreSQL does, whatever is wrong with plays, endpoints, lifecycles or Kafka.

``/readyz`` says what is wrong, and the notifier starts by itself once it is corrected.
"""

from collections.abc import Callable

import httpx
import pytest
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens, key_of

from tests.support.notifier.world import Process, World
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

SECRET = "the secret of links that were sent before"
PLAY = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "Hello"}
"""
ENDPOINTS = "endpoints: [{name: crm, url: 'https://crm.example.org/', secret: {env: CRM_SECRET}}]"


def broken_yaml(world: World) -> dict[str, str]:
    world.play("play: [")
    return {}


def unknown_field(world: World) -> dict[str, str]:
    world.play(PLAY.replace("when:", "wenn:"))
    return {}


def unknown_endpoint(world: World) -> dict[str, str]:
    world.play(PLAY.replace("endpoint: crm", "endpoint: crn"))
    return {}


def unknown_lifecycle(world: World) -> dict[str, str]:
    world.play(PLAY.replace("service-cycle", "service-circle"))
    return {}


def broken_endpoints(world: World) -> dict[str, str]:
    world.endpoints("endpoints: {")
    return {}


def missing_secret(world: World) -> dict[str, str]:
    world.endpoints(ENDPOINTS.replace("CRM_SECRET", "NOT_SET"))
    return {}


def missing_endpoints_file(world: World) -> dict[str, str]:
    (world.folder / "endpoints.yaml").unlink()
    return {}


def kafka_away(world: World) -> dict[str, str]:
    return {"TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}


async def click(process: Process, link: str, *, seconds: float = 60.0) -> None:
    """Unsubscribe as a mail program does, as soon as the process listens."""

    async def answered() -> bool:
        assert process.popen.poll() is None, process.log.read_text()
        async with httpx.AsyncClient(timeout=60) as client:
            try:
                answer = await client.post(f"{process.url}{link}", data={"List-Unsubscribe": "One-Click"})
            except httpx.TransportError:
                return False
        assert answer.status_code == 200, answer.text
        return True

    await wait_until(answered, seconds=seconds)


async def checks(process: Process) -> tuple[int, dict[str, str]]:
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"{process.url}/readyz")
    return answer.status_code, answer.json()["checks"]


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (broken_yaml, "play.yaml"),
        (unknown_field, "wenn"),
        (unknown_endpoint, "crn"),
        (unknown_lifecycle, "there is no lifecycle 'service-circle'"),
        (broken_endpoints, "endpoints file"),
        (missing_secret, "NOT_SET"),
        (missing_endpoints_file, "TOUCHLINE_ENDPOINTS_FILE"),
        (kafka_away, ""),
    ],
)
async def test_a_click_counts_while_the_notifier_cannot_start(
    world: World, break_it: Callable[[World], dict[str, str]], reason: str
) -> None:
    world.play(PLAY)
    world.endpoints(ENDPOINTS)
    given = break_it(world)
    process = world.start(TOUCHLINE_UNSUBSCRIBE_SECRET=SECRET, **given)
    token = UnsubscribeTokens(key_of(SECRET)).make("c-1", "email")
    await click(process, f"/v1/unsubscribe/{token}")

    pool = await world.database()
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE topic = 'touchpoints' AND key = 'c-1'") == 1

    async def reported() -> bool:
        status, found = await checks(process)
        assert status == 503
        return "start" in found and found["start"] != "ok" and reason in found["start"]

    await wait_until(reported)
    await click(process, f"/v1/unsubscribe/{token}")
    if not given:
        # Corrected: it starts by itself.
        world.play(PLAY)
        world.endpoints(ENDPOINTS)
        await process.ready()
    assert await pool.fetchval("SELECT count(*) FROM profiles WHERE customer_id = 'c-1'") == 1
    assert process.stop() == 0


@pytest.mark.parametrize("break_it", [broken_yaml, broken_endpoints, kafka_away])
async def test_a_click_counts_at_the_api_alone_too(world: World, break_it: Callable[[World], dict[str, str]]) -> None:
    world.play(PLAY)
    world.endpoints(ENDPOINTS)
    process = world.start("serve", TOUCHLINE_UNSUBSCRIBE_SECRET=SECRET, **break_it(world))
    await click(process, f"/v1/unsubscribe/{UnsubscribeTokens(key_of(SECRET)).make('c-1', 'email')}")
    assert process.stop() == 0
