"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"

# Below the range from which Linux and macOS take the local ends of outgoing connections: a remembered port of a stopped
# server is then not lost to some passing connection.
_LOWEST, _HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """True when a server could listen on 127.0.0.1:`port` now. Connections in TIME_WAIT don't count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen(1)
        except OSError:
            return False
    return True


def answers(port: int, timeout: float = 1.0) -> bool:
    """True when something accepts connections on 127.0.0.1:`port`. `timeout` in seconds."""
    try:
        socket.create_connection((LOOPBACK, port), timeout).close()
    except OSError:
        return False
    return True


def free_port(remembered: int | None = None, avoid: Collection[int] = ()) -> int:
    """The remembered port while it is free, else one drawn at random, so that two who draw at once seldom collide.

    Raises OSError when no free port turns up in a thousand draws.
    """
    if remembered is not None and remembered not in avoid and is_free(remembered):
        return remembered
    for _ in range(1_000):
        # Not from the module `random`: pytest-randomly seeds it alike in every process of a test run.
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST + 1)
        if port not in avoid and is_free(port):
            return port
    raise OSError(f"no free TCP port between {_LOWEST} and {_HIGHEST} on {LOOPBACK}")
