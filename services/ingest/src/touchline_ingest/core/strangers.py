"""Who keeps knocking with wrong keys: a bound on it for each address, and on what remembering it costs.

A right key always opens, whoever shares its address: what is bounded is how often a wrong one gets an answer of its
own (and a line in the log). Time is an argument, in seconds of any clock that doesn't go back.
"""

import ipaddress
from collections import OrderedDict

from touchline_ingest.core.rate import Bucket, Rate

MOST_ADDRESSES = 10_000


class Strangers:
    """Wrong keys by address.

    Args:
        rate: wrong keys a second, and how many at once.
        most: addresses remembered; beyond it the one that was quiet the longest is forgotten, and starts anew.
    """

    def __init__(self, rate: Rate, most: int = MOST_ADDRESSES) -> None:
        self._rate = rate
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def knock(self, address: str, now: float) -> float:
        """Count one wrong key.

        Returns:
            0 when it may be told so; else the seconds after which it may.
        """
        owner = _owner(address)
        bucket = self._buckets.get(owner)
        if bucket is None:
            if len(self._buckets) >= self._most:
                self._buckets.popitem(last=False)
            bucket = self._buckets[owner] = Bucket(self._rate, now)
        else:
            self._buckets.move_to_end(owner)
        return bucket.take(1, now)


def _owner(address: str) -> str:
    """Who an address belongs to: of IPv6 whole /64 networks are handed out, so one owner has any number of them."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv4Address):
        return address
    return str(known.ipv4_mapped) if known.ipv4_mapped else known.packed[:8].hex()
