"""One touchpoint, fact or waiting action that fails by its content does not stop the others of its partition.

PostgreSQL rejects the rows of chosen customers with a data exception, wherever in a batch they are.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import pytest
from pydantic import SecretStr
from touchline_notifier import bootstrap
from touchline_notifier.adapters.kafka.topics import Inputs
from touchline_notifier.adapters.postgres.transaction import PostgresDecisionStore
from touchline_notifier.application.deciding.decide import DecisionContext
from touchline_notifier.application.deciding.partition import Partition, PartitionProcessor, WaitingFacts
from touchline_notifier.application.deciding.records import read_events
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Templates
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.settings import NotifierSettings
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.events.facts import CustomerStalled
from touchline_schemas.ids import fact_id
from touchline_schemas.touchpoint import Touchpoint

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC)
CUSTOMERS = [f"c-{number}" for number in range(7)]
FAILING = [[], [0], [3], [6], [2, 3], [0, 3, 6], [0, 1, 2, 3, 4, 5, 6]]

REJECT = """
CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.customer_id = ANY (TG_ARGV) THEN
        RAISE EXCEPTION 'rejected by the test' USING ERRCODE = 'data_exception';
    END IF;
    RETURN NEW;
END $$
"""


@dataclass(frozen=True)
class ARecord:
    """A record as a consumer returns it."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


def a_touchpoint(number: int) -> ARecord:
    touchpoint = Touchpoint(
        id=f"t-{number}", type="page_viewed", channel="web", direction="inbound", source="shop",
        customer_id=CUSTOMERS[number], occurred_at=NOW, received_at=NOW,
    )  # fmt: skip
    return ARecord("touchpoints", 0, number, CUSTOMERS[number].encode(), touchpoint.to_json())


def a_stall(number: int) -> ARecord:
    customer = CUSTOMERS[number]
    event = CustomerStalled(
        customer_id=customer, lifecycle="service-cycle", lifecycle_version=1, fact_no=1, occurred_at=NOW,
        decided_at=NOW, backfill=False, stage="retention", level=1, since=NOW, due_at=NOW,
    )  # fmt: skip
    headers = to_headers(
        id=str(fact_id(customer, "service-cycle", 0, 1)), type="touchline.customer-stalled", source="/test", time=NOW,
        subject=customer,
    )  # fmt: skip
    return ARecord("facts", 0, number, customer.encode(), event.model_dump_json().encode(), headers)


def held(records: Sequence[ARecord]) -> WaitingFacts:
    return WaitingFacts(read_events(records), len(records), records[-1].offset + 1, {}, 0.0, records)


@dataclass
class Database:
    """A notifier's tables, and the work on partition 0."""

    connection: asyncpg.Connection
    processor: PartitionProcessor
    partition: Partition

    async def reject(self, table: str, numbers: Sequence[int]) -> None:
        """Reject rows of these customers from now on."""
        if numbers:
            customers = ", ".join(f"'{CUSTOMERS[number]}'" for number in numbers)
            await self.connection.execute(
                f"CREATE TRIGGER reject BEFORE INSERT OR UPDATE ON {table} "
                f"FOR EACH ROW EXECUTE FUNCTION reject({customers})"
            )

    async def customers(self, query: str) -> list[str]:
        return sorted(row["customer_id"] for row in await self.connection.fetch(query))

    async def dead_letters(self) -> list[str]:
        rows = await self.connection.fetch("SELECT key, headers FROM outbox WHERE topic = 'dead-letters'")
        assert all("unprocessable" in row["headers"] for row in rows)
        return sorted(row["key"] for row in rows)

    def sending(self, on: bool) -> PartitionProcessor:
        processor = self.processor
        return PartitionProcessor(processor.store, processor.context, on, processor.clock)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    settings = NotifierSettings(database_url=SecretStr(database_url), partitions=1)
    await bootstrap.migrate(settings)
    given: dict[str, Any] = {"server_settings": {"search_path": "notifier"}}
    connection = await asyncpg.connect(database_url, **given)
    publishing = await asyncpg.connect(database_url, **given)
    inputs = Inputs("here", "touchpoints", "facts", "audiences")
    store = PostgresDecisionStore(connection, publishing, hashes=Hashes("key"), partitions=1, inputs=inputs)
    play = Play.model_validate(
        {"play": "win-back", "when": {"fact": "customer-stalled"}, "action": {"endpoint": "crm", "body": "Hello"}}
    )
    crm = Endpoint(name="crm", type="webhook", url=SecretStr("https://crm.example.org/"))
    context = DecisionContext(Decider({"win-back": play}, Templates()), {"crm": crm}, 1, frozenset({"email"}))
    processor = PartitionProcessor(store, context, True, lambda: datetime.now(UTC))
    await connection.execute(REJECT)
    yield Database(connection, processor, Partition(await store.acquire(0)))
    await connection.close()
    await publishing.close()


@pytest.mark.parametrize("failing", FAILING)
async def test_touchpoints_that_fail_become_dead_letters_and_the_others_are_folded(
    database: Database, failing: list[int]
) -> None:
    await database.reject("profiles", failing)
    records = [a_touchpoint(number) for number in range(7)]
    await database.processor.touchpoints(database.partition, records, 9)

    rejected = [CUSTOMERS[number] for number in failing]
    assert await database.dead_letters() == rejected
    assert await database.customers("SELECT customer_id FROM profiles") == sorted(set(CUSTOMERS) - set(rejected))
    # Past the transaction marker that follows the last record.
    assert await database.connection.fetchval("SELECT next_touchpoint FROM positions") == 9
    assert database.partition.lease.next_touchpoint == 9


@pytest.mark.parametrize("failing", FAILING)
async def test_facts_that_fail_become_dead_letters_and_the_others_are_decided(
    database: Database, failing: list[int]
) -> None:
    await database.reject("actions", failing)
    records = [a_stall(number) for number in range(7)]
    counts = await database.processor.facts(database.partition, [held(records[:4]), held(records[4:])])

    rejected = [CUSTOMERS[number] for number in failing]
    others = sorted(set(CUSTOMERS) - set(rejected))
    assert await database.dead_letters() == rejected
    assert await database.customers("SELECT customer_id FROM deliveries") == others
    assert counts.decisions == [("decided", "none")] * len(others)
    assert await database.connection.fetchval("SELECT next_fact FROM positions") == 7
    assert database.partition.lease.next_fact == 7


@pytest.mark.parametrize("failing", FAILING)
async def test_a_waiting_action_that_fails_waits_on_and_the_others_are_decided(
    database: Database, failing: list[int]
) -> None:
    await database.sending(on=False).facts(database.partition, [held([a_stall(number) for number in range(7)])])
    assert await database.customers("SELECT customer_id FROM actions WHERE decide_at IS NOT NULL") == CUSTOMERS
    await database.reject("actions", failing)

    await database.processor.due(database.partition, 0.0)
    rejected = [CUSTOMERS[number] for number in failing]
    others = sorted(set(CUSTOMERS) - set(rejected))
    assert await database.customers("SELECT customer_id FROM deliveries") == others
    assert await database.customers("SELECT customer_id FROM actions WHERE decide_at IS NOT NULL") == rejected
    assert await database.dead_letters() == []

    # They are left out for a while, and decided again later.
    actions = database.processor.store.actions
    left_out = database.partition.failed_actions(1.0)
    assert len(left_out) == len(failing)
    assert await actions.due_partitions([0], datetime.now(UTC), sending=True, leave_out=left_out) == []
    if failing:
        await database.connection.execute("DROP TRIGGER reject ON actions")
        await database.processor.due(database.partition, 1.0)
        assert await database.customers("SELECT customer_id FROM deliveries") == others
        await database.processor.due(database.partition, 10_000.0)
    assert await database.customers("SELECT customer_id FROM deliveries") == CUSTOMERS


async def test_a_fault_of_the_server_is_not_blamed_on_a_record(database: Database) -> None:
    await database.connection.execute("ALTER TABLE profiles RENAME TO profiles_away")
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.processor.touchpoints(database.partition, [a_touchpoint(0), a_touchpoint(1)], 2)
    await database.connection.execute("ALTER TABLE profiles_away RENAME TO profiles")
    assert await database.dead_letters() == []
    assert database.partition.lease.next_touchpoint == 0
    assert orjson.loads(await database.connection.fetchval("SELECT to_json(next_touchpoint) FROM positions")) == 0
