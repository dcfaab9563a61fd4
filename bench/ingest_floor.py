"""The smallest service that does what any ingest must: FastAPI, pydantic, aiokafka with acks=all. The floor to beat.

No keys, no limits, no per-item results, no ids: one bad item refuses a whole batch.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request
from pydantic import BaseModel

TOPIC = os.environ.get("FLOOR_TOPIC", "bench.floor.v1")


class Touchpoint(BaseModel):
    id: str | None = None
    type: str
    customer_id: str
    occurred_at: datetime
    properties: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    servers = os.environ["TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"]
    app.state.producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    return {"status": "ready"}


@app.post("/one", status_code=202)
async def one(touchpoint: Touchpoint, request: Request) -> dict[str, int]:
    value = touchpoint.model_dump_json().encode()
    await request.app.state.producer.send_and_wait(TOPIC, value, key=touchpoint.customer_id.encode())
    return {"accepted": 1}


@app.post("/many", status_code=202)
async def many(touchpoints: list[Touchpoint], request: Request) -> dict[str, int]:
    producer = request.app.state.producer
    sent = [await producer.send(TOPIC, t.model_dump_json().encode(), key=t.customer_id.encode()) for t in touchpoints]
    for future in sent:
        await future
    return {"accepted": len(touchpoints)}
