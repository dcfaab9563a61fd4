"""Follow moves, stalls and recoveries as server-sent events, over interruptions. Needs httpx.

    TOUCHLINE_ENGINE_URL=http://127.0.0.1:8081 TOKEN=… python follow_stage_changes.py [beginning]

Prints a line of JSON for each event. After an interruption it continues after the last event: none is missed.
"""

import json
import os
import sys
import time
from collections.abc import Iterator

import httpx


def events(url: str, token: str, since: str | None) -> Iterator[tuple[str, str]]:
    """(type, JSON) of each event, without an end. Keep ``last_id`` in your system to resume after a restart."""
    last_id = ""
    timeout = httpx.Timeout(30, read=60)  # an idle stream sends a comment every 10 seconds
    while True:
        headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last_id} if last_id else {})
        parameters = {"since": since} if since and not last_id else {}
        try:
            with httpx.stream(
                "GET", f"{url}/v1/stage-changes/stream", headers=headers, params=parameters, timeout=timeout
            ) as answer:
                answer.raise_for_status()
                fields: dict[str, str] = {}
                for line in answer.iter_lines():
                    if line.startswith(":"):
                        continue
                    if line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                        continue
                    if fields.get("event") == "error":
                        break
                    if "data" in fields:
                        yield fields["event"], fields["data"]
                        last_id = fields.get("id", last_id)
                    fields = {}
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in (429, 503):
                raise
        except httpx.TransportError:
            pass
        time.sleep(1)


if __name__ == "__main__":
    since = sys.argv[1] if len(sys.argv) > 1 else None
    for kind, data in events(os.environ["TOUCHLINE_ENGINE_URL"], os.environ.get("TOKEN", ""), since):
        print(json.dumps({"type": kind, "data": json.loads(data)}), flush=True)
