"""``python -m touchline_runtime.process.healthcheck``: exit code 0 when the process in this container is alive.

The images' HEALTHCHECK. It asks ``/healthz`` on ``TOUCHLINE_HTTP_PORT`` over loopback, with the standard library alone:
the images hold no curl. ``/readyz`` is for load balancers: a container must not be restarted because Kafka is away.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 4.0


def alive(port: int, host: str = "127.0.0.1") -> bool:
    """Whether ``/healthz`` answers 200 within four seconds."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if alive(int(os.environ.get("TOUCHLINE_HTTP_PORT", "8080"))) else 1)
