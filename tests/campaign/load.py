"""A careful client: it posts until every touchpoint is answered as accepted, and writes down what was."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
from aiokafka import AIOKafkaProducer
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import to_wire

from tests.campaign.definitions import KEY, TYPES
from tests.campaign.deployment import PARTITIONS, Deployment

POISON = (b"{", b"null", b'{"id": "x"}', b'{"id": 1, "occurred_at": "yesterday"}', b"\xff\xfe", b"[]", b"")


class Load:
    """Posts batches of touchpoints of a growing number of customers.

    Attributes:
        accepted: touchpoints that a 2xx named as accepted.
        answers: HTTP status, or the error without an answer → how often.
    """

    def __init__(self, deployment: Deployment, seed: int, accepted: Path, pause: float = 1.0) -> None:
        self._deployment = deployment
        self._rng = random.Random(seed)
        self._file = accepted.open("ab")
        self._number = 0
        self._pause = pause
        self._stopping = False
        self.accepted = 0
        self.poisoned = 0
        self.answers: Counter[str] = Counter()

    def stop(self) -> None:
        """End after the present batch is accepted."""
        self._stopping = True

    async def run(self) -> None:
        """Post until stopped."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            while not self._stopping:
                await self._post(client, [self._touchpoint() for _ in range(self._rng.randrange(5, 30))])
                if self._rng.random() < 0.04:
                    await self._poison()
                await asyncio.sleep(self._pause * self._rng.random())
        self._file.close()

    def _touchpoint(self) -> dict[str, Any]:
        rng = self._rng
        self._number += 1
        number = int(rng.triangular(0, 20 + self._number / 40, 20 + self._number / 40))
        who: dict[str, str] = {"customer_id": f"c{number}"}
        kind = rng.random()
        if kind < 0.15:
            who = {"anonymous_id": f"a{number}"}
        elif kind < 0.20:
            who["anonymous_id"] = f"a{number}"
        elif kind < 0.23:
            # A device that a neighbour uses, too: an earlier link may turn up later.
            who["anonymous_id"] = f"a{number + 1}"
        elif kind < 0.5:
            who["email"] = f"c{number}@example.org"
        late = rng.choice([0, 0, 0, 0, 1, 5, 30, 120])
        type_ = rng.choice(TYPES)
        if rng.random() < 0.005:
            type_, who = "unsubscribed", {"customer_id": f"c{number}", "email": f"c{number}@example.org"}
        return {
            "id": f"t{self._number}",
            "type": type_,
            "occurred_at": (datetime.now(UTC) - timedelta(seconds=late * rng.random())).isoformat(),
            "properties": {"score": rng.randrange(11)} if type_ == "survey_answered" else {},
            **who,
        }

    async def _post(self, client: httpx.AsyncClient, batch: list[dict[str, Any]]) -> None:
        while True:
            try:
                answer = await client.post(
                    f"{self._deployment.ingest_url}/v1/touchpoints",
                    json=batch,
                    headers={"authorization": f"Bearer {KEY}"},
                )
            except httpx.TransportError as error:
                self.answers[type(error).__name__] += 1
                await asyncio.sleep(0.2)
                continue
            self.answers[str(answer.status_code)] += 1
            if answer.status_code == httpx.codes.ACCEPTED:
                for posted, result in zip(batch, answer.json()["results"], strict=True):
                    assert result["status"] == "accepted", result
                    self._file.write(orjson.dumps({"source": "shop", **posted}) + b"\n")
                self._file.flush()
                self.accepted += len(batch)
                if self._rng.random() < 0.05:
                    # A client that missed the answer sends it again.
                    await client.post(
                        f"{self._deployment.ingest_url}/v1/touchpoints", json=batch,
                        headers={"authorization": f"Bearer {KEY}"},
                    ) if self._rng.random() < 0.5 else None  # fmt: skip
                return
            assert answer.status_code in (429, 503), answer.text
            assert "retry-after" in answer.headers
            await asyncio.sleep(min(1.0, float(answer.headers["retry-after"])))

    async def _poison(self) -> None:
        """One Kafka batch past ingest: records that are no touchpoints before, between and after good ones."""
        good = [self._touchpoint() for _ in range(self._rng.randrange(2, 9))]
        producer = AIOKafkaProducer(bootstrap_servers=self._deployment.stack.kafka_bootstrap, acks="all")
        key = f"c{self._rng.randrange(50)}"
        for touchpoint in good:
            # One batch has one partition, so all are of one customer.
            for name in ("anonymous_id", "email"):
                touchpoint.pop(name, None)
            touchpoint["customer_id"] = key
            touchpoint["type"] = "page_viewed" if touchpoint["type"] == "unsubscribed" else touchpoint["type"]
        places = self._rng.sample(["beginning", "middle", "end"], self._rng.randrange(1, 4))
        records: list[bytes] = [orjson.dumps(_as_ingest_writes(touchpoint)) for touchpoint in good]
        for place in places:
            index = {"beginning": 0, "middle": len(records) // 2, "end": len(records)}[place]
            records.insert(index, self._rng.choice(POISON))
        try:
            async with asyncio.timeout(10):
                await producer.start()
                batch = producer.create_batch()
                for record in records:
                    assert batch.append(key=key.encode(), value=record, timestamp=None) is not None
                batch.close()
                topic = f"{self._deployment.prefix}.touchpoints.v1"
                await (await producer.send_batch(batch, topic, partition=partition_of(key, PARTITIONS)))
            for touchpoint in good:
                self._file.write(orjson.dumps({"source": "shop", **touchpoint}) + b"\n")
            self._file.flush()
            self.accepted += len(good)
            self.poisoned += len(places)
            for place in places:
                self.answers[f"poison at the {place} of a batch"] += 1
        except Exception as error:
            # The broker is away: there is poison enough at other times.
            self.answers[f"poison: {type(error).__name__}"] += 1
        finally:
            await producer.stop()


def _as_ingest_writes(posted: dict[str, Any]) -> dict[str, Any]:
    more = {"channel": "web", "direction": "inbound", "source": "shop", "machine": False, "backfill": False}
    occurred_at = to_wire(datetime.fromisoformat(posted["occurred_at"]))
    return {**posted, **more, "occurred_at": occurred_at, "received_at": to_wire(datetime.now(UTC))}
