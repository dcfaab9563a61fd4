"""Time limits on TCP connections: the operating system detects a silent peer.

Without these options a read waits for hours when a network drops packets or a NAT has forgotten the connection. A peer
whose process is stopped still acknowledges at TCP level, so commands have limits of their own.
"""

import contextlib
import socket
from typing import Any

IDLE_SECONDS = 10
INTERVAL_SECONDS = 3
PROBES = 3
USER_TIMEOUT_MS = 20_000
"""Milliseconds for which sent data may stay unacknowledged before the connection is closed."""

_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", IDLE_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", PROBES),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
)


def keep_alive(transport: Any) -> None:
    """Have the operating system probe an idle connection and close it when the peer does not answer.

    Options that the platform or the socket's family lacks are left out.
    """
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, name, value in _OPTIONS:
        number = getattr(socket, name, None)
        if number is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(level, number, value)
