"""The memory of single-use tokens (``Understood.tokens``), so that a signature which covers no body serves once.

It is this process's own. Another replica, or this one after a restart, knows nothing of it; there a token can serve
again until its timestamp is too old. To close that too, route a source that uses tokens to one replica.
"""

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from touchline_ingest.core.sources.interface import SourceConfig
from touchline_ingest.core.sources.proofs import TOLERANCE, tolerance_of


class UsedTokens:
    """Tokens that are being used or were used, for as long as their timestamps would be accepted.

    Only tokens of genuine requests are stored, so only the sender can make it grow.
    """

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()
        self._expiries: deque[tuple[datetime, tuple[str, str]]] = deque()

    def __len__(self) -> int:
        return len(self._taken)

    def claim(self, config: SourceConfig, tokens: Sequence[str], now: datetime) -> bool:
        """Claim all tokens, or none when one of them was claimed before: then the request must be refused.

        Claim before publishing, so that two concurrent requests can't both use a token.
        """
        self._forget(now)
        keys = [(config.name, token) for token in tokens]
        if not self._taken.isdisjoint(keys):
            return False
        # A timestamp may lie ahead by the tolerance and is accepted until it is as old as that.
        until = now + tolerance_of(config) + TOLERANCE
        self._taken.update(keys)
        self._expiries.extend((until, key) for key in keys)
        return True

    def release(self, config: SourceConfig, tokens: Sequence[str]) -> None:
        """Give tokens back: publishing failed, and the sender's next attempt must be taken."""
        self._taken.difference_update((config.name, token) for token in tokens)

    def _forget(self, now: datetime) -> None:
        while self._expiries and self._expiries[0][0] < now:
            self._taken.discard(self._expiries.popleft()[1])
