"""Post touchpoints, and post them again until they are accepted. Needs httpx.

    TOUCHLINE_INGEST_URL=http://127.0.0.1:8080 WRITE_KEY=… python post_touchpoints.py < touchpoints.ndjson

Posting again is safe: the Idempotency-Key gives items without an id the same id each time, and an id counts once.
"""

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any
from uuid import uuid4

import httpx

BATCH = 500
LONGEST_WAIT = 60.0  # seconds
RETRIED = {408, 429, 500, 502, 503, 504}


def post(client: httpx.Client, touchpoints: list[dict[str, Any]], attempts: int = 20) -> list[dict[str, Any]]:
    """Post one batch; the result of each item: ``{"index", "id", "status": "accepted | rejected", "error"}``.

    Raises:
        httpx.HTTPStatusError: the request is wrong (401: the key; 422: no item is a touchpoint). Don't repeat it.
        RuntimeError: not accepted after all attempts.
    """
    headers = {"Idempotency-Key": str(uuid4())}  # one key for all attempts
    why = ""
    for attempt in range(attempts):
        wait = random.uniform(0.5, 1.0) * min(LONGEST_WAIT, 0.2 * 2**attempt)
        try:
            answer = client.post("/v1/touchpoints", json=touchpoints, headers=headers)
        except httpx.TransportError as error:
            why = repr(error)  # perhaps it was accepted and only the answer was lost
        else:
            if answer.status_code not in RETRIED:
                answer.raise_for_status()
                results: list[dict[str, Any]] = answer.json()["results"]
                return results
            why = f"{answer.status_code} {answer.text}"
            wait = max(wait, float(answer.headers.get("retry-after", 0)))
        time.sleep(wait)
    raise RuntimeError(f"not accepted after {attempts} attempts: {why}")


def batches(lines: Iterator[str]) -> Iterator[list[dict[str, Any]]]:
    """Touchpoints of NDJSON lines, some hundred at a time."""
    while batch := [json.loads(line) for line in islice(lines, BATCH)]:
        yield batch


def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['WRITE_KEY']}"}
    with httpx.Client(base_url=os.environ["TOUCHLINE_INGEST_URL"], headers=headers, timeout=30) as client:
        for batch in batches(iter(sys.stdin)):
            for result in post(client, batch):
                print(json.dumps(result))


if __name__ == "__main__":
    main()
