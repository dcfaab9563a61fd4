"""How many bytes of request bodies the process holds at once, from the first byte of a body to its answer.

There are two limits: one for all bodies, and a much smaller one for the bodies of requests that have not proven who
sent them. Unauthenticated senders that send slowly, or whose bodies decompress to a large size, delay each other and
nobody who has a key.
"""

from touchline_ingest.application.ports import Overloaded

_UNPROVEN_SHARE = 8
_LEAST_UNPROVEN_BYTES = 1_000_000
_LEAST_BODY_BYTES = 1_024


class BodyBudget:
    """Counts the bytes of the bodies that are held.

    Args:
        most_bytes: of all bodies; an eighth of it, and at least 1 MB, is for unproven ones.
        most_unproven: number of unproven bodies at once.
    """

    def __init__(self, most_bytes: int, *, most_unproven: int = 500) -> None:
        self.most_bytes = most_bytes
        self.most_unproven_bytes = max(_LEAST_UNPROVEN_BYTES, most_bytes // _UNPROVEN_SHARE)
        self.most_unproven = most_unproven
        self.bytes = 0
        self.unproven_bytes = 0
        self.unproven = 0


class BodyReservation:
    """The share of one request's body; ``release`` frees it.

    Raises:
        Overloaded: too many unproven bodies are held.
    """

    __slots__ = ("_budget", "bytes", "proven")

    def __init__(self, budget: BodyBudget, *, proven: bool) -> None:
        self._budget = budget
        self.bytes = 0
        self.proven = True
        if not proven:
            if budget.unproven >= budget.most_unproven:
                raise _overloaded()
            self.proven = False
            budget.unproven += 1
            try:
                # A connection costs memory even if it sends nothing.
                self.grow(_LEAST_BODY_BYTES)
            except Overloaded:
                self.release()
                raise

    def grow(self, size: int) -> None:
        """Hold that many bytes more.

        Raises:
            Overloaded: a limit is exceeded.
        """
        budget = self._budget
        self.bytes += size
        budget.bytes += size
        if not self.proven:
            budget.unproven_bytes += size
            if budget.unproven_bytes > budget.most_unproven_bytes:
                raise _overloaded()
        if budget.bytes > budget.most_bytes and budget.bytes > self.bytes:
            raise _overloaded()

    def prove(self) -> None:
        """The request is genuine: it no longer counts as unproven."""
        if not self.proven:
            self.proven = True
            self._budget.unproven -= 1
            self._budget.unproven_bytes -= self.bytes

    def release(self) -> None:
        """The request is answered: nothing is held any more."""
        self.prove()
        self._budget.bytes -= self.bytes
        self.bytes = 0


def _overloaded() -> Overloaded:
    return Overloaded("too many bodies are being received at once: try again shortly")
