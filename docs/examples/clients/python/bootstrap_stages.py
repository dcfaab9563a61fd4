"""The present stage of every customer from the compacted topic, and every later change of it. Needs aiokafka.

    KAFKA=localhost:9092 python bootstrap_stages.py touchline

Prints the present state as one line, ``{"customer_id/lifecycle": "stage"}``, then a line for each change.
"""

import asyncio
import json
import os
import sys

from aiokafka import AIOKafkaConsumer


async def main(prefix: str) -> None:
    consumer = AIOKafkaConsumer(
        f"{prefix}.customer-stages.v1",
        bootstrap_servers=os.environ["KAFKA"],
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,  # the topic is read from its beginning at every start
    )
    await consumer.start()
    try:
        stages: dict[str, str] = {}
        ends = await consumer.end_offsets(consumer.assignment())
        while True:
            caught_up = all([await consumer.position(partition) >= end for partition, end in ends.items()])
            if caught_up:
                break
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    if record.value is None:  # erased, or merged into another customer
                        stages.pop(record.key.decode(), None)
                    else:
                        stages[record.key.decode()] = json.loads(record.value)["stage"]
        print(json.dumps(stages), flush=True)
        async for record in consumer:
            stage = None if record.value is None else json.loads(record.value)["stage"]
            print(json.dumps({record.key.decode(): stage}), flush=True)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
