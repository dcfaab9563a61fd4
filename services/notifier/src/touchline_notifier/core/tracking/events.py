"""Opens and clicks of mails: which count as one, whether a machine did it, and the touchpoint of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from touchline_schemas.touchpoint import Touchpoint

from touchline_notifier.core.profiles.profile import MAIL_TRACKING

Kind = Literal["opened", "clicked"]
WINDOWS: dict[Kind, timedelta] = {"opened": timedelta(hours=1), "clicked": timedelta(minutes=1)}
"""Repeated opens of a mail, and repeated clicks on one of its links, within such a piece of the clock are one."""

SETTLING = timedelta(seconds=10)
"""For how long an event waits for those around it, before it is judged."""
BURST_LINKS = 3
BURST = timedelta(seconds=5)
"""Nobody clicks on so many links of a mail within so short a time."""
PROMPT = timedelta(seconds=2)
"""Nobody opens a mail, or clicks in it, so soon after the mail server accepted it."""
UNDER_WAY = timedelta(seconds=60)
"""A scanner may look at a mail before its server accepts it: so long before at most."""


@dataclass(frozen=True, slots=True)
class MailEvent:
    """A request for a mail's pixel, or for one of its links.

    Attributes:
        machine: the request itself says so (:mod:`touchline_runtime.user_agents`).
        number: of the link; 0 of the pixel.
        name, url: of the link.
    """

    action_id: str
    kind: Kind
    at: datetime
    machine: bool
    number: int = 0
    name: str = ""
    url: str = ""

    @property
    def window(self) -> datetime:
        """The beginning of the piece of the clock that it falls into."""
        return window_of(self.kind, self.at)


def window_of(kind: Kind, at: datetime) -> datetime:
    """The beginning of the piece of the clock that an instant falls into."""
    seconds = int(WINDOWS[kind].total_seconds())
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, UTC)


@dataclass(frozen=True, slots=True)
class MailAction:
    """The action whose mail it was, as it is now.

    Attributes:
        customer_id: of the customer whom it belongs to now.
        accepted_at: when the mail server accepted the mail; None: not known (yet).
    """

    customer_id: str
    play: str
    lifecycle: str
    stage: str | None
    endpoint: str | None
    accepted_at: datetime | None


def done_by_machine(event: MailEvent, action: MailAction, clicks: Iterable[tuple[int, datetime]]) -> bool:
    """The verdict on an event.

    Args:
        clicks: (number of the link, instant) of clicks in the same mail by what did not say that it is a machine, this
            one among them.
    """
    if event.machine or _is_prompt(event.at, action.accepted_at):
        return True
    near = [(number, at) for number, at in clicks if abs(at - event.at) <= BURST]
    return any(
        len({number for number, at in near if timedelta(0) <= at - first <= BURST}) >= BURST_LINKS for _, first in near
    )


def _is_prompt(at: datetime, accepted_at: datetime | None) -> bool:
    return accepted_at is not None and -UNDER_WAY <= at - accepted_at <= PROMPT


def touchpoint_of(event: MailEvent, action: MailAction, *, machine: bool) -> Touchpoint:
    """The touchpoint of an event. Its id is derived of the mail, the link, the piece of the clock and the verdict."""
    properties: dict[str, Any] = {
        "action_id": event.action_id,
        "play": action.play,
        "lifecycle": action.lifecycle,
        "stage": action.stage,
        "endpoint": action.endpoint,
        "link": event.name or None,
        "link_number": event.number or None,
        "url": event.url or None,
    }
    which = f".{event.number}" if event.kind == "clicked" else ""
    ident = f"{event.action_id}.{event.kind}{which}.{int(event.window.timestamp())}{'.machine' if machine else ''}"
    return Touchpoint(
        id=ident,
        type=f"email_{event.kind}",
        channel="email",
        direction="inbound",
        customer_id=action.customer_id,
        occurred_at=event.at,
        received_at=event.at,
        source=MAIL_TRACKING,
        machine=machine,
        properties={name: value for name, value in properties.items() if value is not None},
    )
