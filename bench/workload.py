"""The load of the engine's benchmark: touchpoints as ingest would have written them."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.partitions import partition_of

START = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = [
    "page_viewed",
    "page_viewed",
    "page_viewed",
    "page_viewed",
    "email_opened",
    "email_clicked",
    "ad_clicked",
    "content_downloaded",
    "form_submitted",
    "signed_up",
    "demo_booked",
    "purchased",
    "feature_used",
    "feature_used",
    "survey_answered",
    "ticket_opened",
]


def touchpoints(
    count: int, customers: int, seed: int = 1, start: datetime = START, every: float = 20.0
) -> Iterator[tuple[str, bytes]]:
    """(customer id, value) of about 300 bytes each: skewed customers, in order of time, 1 % of them sent twice.

    One occurs `every` so many seconds from `start` on.
    """
    dice = random.Random(seed)
    recent: list[tuple[str, bytes]] = []
    for number in range(count):
        if recent and dice.random() < 0.01:
            yield dice.choice(recent)
            continue
        # A tenth of the customers make half of the touchpoints.
        busy = dice.random() < 0.5
        customer = f"c-{dice.randrange(customers // 10) if busy else dice.randrange(customers)}"
        moment = start + timedelta(seconds=number * every)
        kind = dice.choice(TYPES)
        value = orjson.dumps(
            {
                "id": f"{number:012d}-{dice.getrandbits(32):08x}",
                "type": kind,
                "channel": "web",
                "direction": "inbound",
                "customer_id": customer,
                "occurred_at": moment.isoformat().replace("+00:00", "Z"),
                "received_at": (moment + timedelta(seconds=1)).isoformat().replace("+00:00", "Z"),
                "source": "shop",
                "properties": {
                    "score": dice.randrange(11),
                    "url": f"/products/{dice.getrandbits(24):06x}",
                    "n": number,
                },
                "machine": False,
                "backfill": start == START,
            }
        )
        recent.append((customer, value))
        if len(recent) > 1000:
            recent = recent[500:]
        yield customer, value


def headers_of(customer: str, value: bytes) -> list[tuple[str, bytes]]:
    """The CloudEvents headers that ingest gives such a record."""
    data = orjson.loads(value)
    return to_headers(
        id=data["id"],
        type="touchline.touchpoint",
        source="/touchline/ingest/shop",
        time=data["occurred_at"],
        subject=customer,
    )


def partition(customer: str, partitions: int) -> int:
    """Where Kafka's default partitioner puts the customer."""
    return partition_of(customer, partitions)
