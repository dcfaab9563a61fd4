"""What is stored about an address: why nothing may be sent to it, whichever customer it belongs to.

Two things are kept apart. A *block* is a hard bounce, a complaint, a mail service's own suppression, or an operator's:
no customer can undo it on the preference page. An *opt-out* refuses all mail, like a refusal of consent that counts for
the address: a later consent for a list is a later word, and wins for that list.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from touchline_schemas.mail_events import UNSUBSCRIBED

BY_HAND = "suppressed_by_hand"
_NEXT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class AddressSuppressions:
    """The reports about an address, each the latest of its kind.

    Attributes:
        reason: of the block. Rows of earlier releases and of opt-outs alone have ``unsubscribed``.
        since: of ``reason``.
        lifted_at: consent was given again, or an operator lifted the suppression: everything earlier ends.
        opted_out_at: all mail to the address was refused.
        opted_in_at: mail was accepted again on the preference page: that ends an opt-out alone.
    """

    reason: str
    since: datetime | None = None
    lifted_at: datetime | None = None
    opted_out_at: datetime | None = None
    opted_in_at: datetime | None = None

    @property
    def block(self) -> str | None:
        """The reason of the block, if one stands."""
        stands = self.reason != UNSUBSCRIBED and self.since is not None and not _before(self.since, self.lifted_at)
        return self.reason if stands else None

    @property
    def opt_out(self) -> datetime | None:
        """When all mail was refused, if no consent for all mail came after it."""
        of_reason = self.since if self.reason == UNSUBSCRIBED else None
        at = max((one for one in (self.opted_out_at, of_reason) if one is not None), default=None)
        over = at is None or _before(at, self.lifted_at) or _before(at, self.opted_in_at)
        return None if over else at

    @property
    def in_force(self) -> list[tuple[str, datetime | None]]:
        """(reason, since) of what stands, the block first."""
        found: list[tuple[str, datetime | None]] = [(self.block, self.since)] if self.block is not None else []
        return [*found, (UNSUBSCRIBED, self.opt_out)] if self.opt_out is not None else found

    def after(self, now: datetime) -> datetime:
        """Now, or just after what a clock ahead of ours dated later: what is decided now is the later word."""
        dated = (self.since, self.lifted_at, self.opted_out_at, self.opted_in_at)
        return max([now, *(one + _NEXT for one in dated if one is not None)])


def _before(at: datetime, ended: datetime | None) -> bool:
    # Of two words at one time the refusal stays.
    return ended is not None and at < ended
