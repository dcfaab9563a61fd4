"""Single-use tokens that were used: what signs a token and not its content can be replayed otherwise."""

from collections.abc import Sequence


class UsedTokens:
    """Remembers tokens for a while. Time is an argument, in seconds.

    Args:
        keep: seconds a token is remembered; senders' own timestamps make older ones useless.
        most: tokens remembered; beyond it the oldest is forgotten.
    """

    def __init__(self, *, keep: float = 3 * 86400.0, most: int = 500_000) -> None:
        self._keep = keep
        self._most = most
        # In order of use: the oldest is first.
        self._used: dict[tuple[str, str], float] = {}

    def claim(self, source: str, tokens: Sequence[str], now: float) -> bool:
        """Use tokens. False when one of them was used before; then none is."""
        self._forget(now)
        keys = [(source, token) for token in tokens]
        if len(set(keys)) < len(keys) or any(key in self._used for key in keys):
            return False
        for key in keys:
            self._used[key] = now
        return True

    def release(self, source: str, tokens: Sequence[str]) -> None:
        """Give tokens back: the request they came with was not taken, and will be sent again."""
        for token in tokens:
            self._used.pop((source, token), None)

    def _forget(self, now: float) -> None:
        while self._used:
            oldest, used_at = next(iter(self._used.items()))
            if now - used_at < self._keep and len(self._used) < self._most:
                return
            del self._used[oldest]
