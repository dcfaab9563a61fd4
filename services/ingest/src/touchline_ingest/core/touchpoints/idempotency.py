"""Which body came with which ``Idempotency-Key``, so that a key that is used again with another one is noticed.

Ids are derived from the key: another body under it would claim the ids of the first. Each process remembers what it
took itself, for a day. Time is an argument, in seconds of any clock that doesn't go back.
"""

import hashlib
from collections import OrderedDict

KEEP_SECONDS = 24 * 3600.0
MOST_KEYS = 100_000


class IdempotencyKeys:
    """Keys by source.

    Args:
        most: keys remembered; beyond it the oldest is forgotten.
    """

    def __init__(self, most: int = MOST_KEYS, keep_seconds: float = KEEP_SECONDS) -> None:
        self._most = most
        self._keep = keep_seconds
        self._bodies: OrderedDict[tuple[str, str], tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._bodies)

    def __contains__(self, source_and_key: tuple[str, str]) -> bool:
        return source_and_key in self._bodies

    def claim(self, source: str, key: str, body: bytes, now: float) -> bool:
        """Remember a body under a key; False when the key has come with another body."""
        digest = hashlib.blake2b(body, digest_size=16).digest()
        found = self._bodies.get((source, key))
        if found is not None and now - found[1] <= self._keep:
            return found[0] == digest
        self._bodies[source, key] = (digest, now)
        self._bodies.move_to_end((source, key))
        while len(self._bodies) > self._most:
            self._bodies.popitem(last=False)
        return True

    def release(self, source: str, key: str) -> None:
        """Nothing was accepted under the key: a corrected body may use it."""
        self._bodies.pop((source, key), None)
