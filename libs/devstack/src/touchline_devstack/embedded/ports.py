"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import os
import secrets
import socket
from collections import OrderedDict
from collections.abc import Collection

LOOPBACK = "127.0.0.1"

# Below the range from which Linux and macOS take the local ends of outgoing connections: a remembered port of a stopped
# server is then not lost to some passing connection.
_LOWEST, _HIGHEST = 20_000, 32_000

# Ports drawn by this process → a UDP socket on the same number. No server here uses UDP, so the socket disturbs none;
# and no other process can have one on that number, so none draws a port that was drawn and is not listened on yet. The
# system closes the sockets when the process ends.
_claimed: OrderedDict[int, int] = OrderedDict()
_MOST_CLAIMED = 200


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
    """The remembered port while it is free, else one drawn at random.

    No two processes that draw get the same port: one that was drawn is claimed until the process ends, or draws its 200
    next ones. Raises OSError when no free port turns up in a thousand draws.
    """
    if remembered is not None and remembered not in avoid and is_free(remembered):
        _claim(remembered)
        return remembered
    for _ in range(1_000):
        # Not from the module `random`: pytest-randomly seeds it alike in every process of a test run.
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST + 1)
        if port not in avoid and is_free(port) and _claim(port):
            return port
    raise OSError(f"no free TCP port between {_LOWEST} and {_HIGHEST} on {LOOPBACK}")


def _claim(port: int) -> bool:
    """Keep others from drawing a port. False when somebody has drawn it already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as claim:
        try:
            claim.bind((LOOPBACK, port))
        except OSError:
            return False
        _claimed[port] = claim.detach()
    if len(_claimed) > _MOST_CLAIMED:
        os.close(_claimed.popitem(last=False)[1])
    return True
