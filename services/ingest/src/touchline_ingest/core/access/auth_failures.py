"""Limits authentication failures for each client address, with a limit on the memory this takes.

A valid key is always accepted, whatever other clients of its address do. The limit is on how many wrong keys are
answered (and logged) one by one. Time is an argument, in seconds of a monotonic clock.
"""

import ipaddress
from collections import OrderedDict

from touchline_ingest.core.access.rate import Bucket, Rate

MOST_ADDRESSES = 10_000


class AuthFailures:
    """Counts wrong keys and signatures by address.

    Args:
        rate: wrong keys a second, and how many at once.
        most: addresses remembered; beyond it the least recently seen one is forgotten, and starts over.
    """

    def __init__(self, rate: Rate, most: int = MOST_ADDRESSES) -> None:
        self._rate = rate
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def count_failure(self, address: str, now: float) -> float:
        """Count one wrong key.

        Returns:
            0 within the limit; else the seconds to wait.
        """
        client = _client_of(address)
        bucket = self._buckets.get(client)
        if bucket is None:
            if len(self._buckets) >= self._most:
                self._buckets.popitem(last=False)
            bucket = self._buckets[client] = Bucket(self._rate, now)
        else:
            self._buckets.move_to_end(client)
        return bucket.take(1, now)


def _client_of(address: str) -> str:
    """The client that an address belongs to. Of IPv6, providers assign whole /64 networks to one client."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv4Address):
        return address
    return str(known.ipv4_mapped) if known.ipv4_mapped else known.packed[:8].hex()
