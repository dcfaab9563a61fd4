"""Send one message of a play as a test: its texts for a customer, to an address of somebody who works on the play.

The message counts for nothing: it is no action and no delivery, so that no cap, hold-out, result or topic knows it. It
is recorded in the audit log before it is sent.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple, Protocol
from uuid import uuid4

from touchline_runtime.audit.entry import Actor

from touchline_notifier.application.deciding.decide import DecisionContext, planned_delivery
from touchline_notifier.application.plays.ports import RecentCustomers
from touchline_notifier.application.plays_in_force import customer_channels
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.decided import Decided
from touchline_notifier.core.delivery.channel import Channel, Delivered, Delivery, Message
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.plays.parse import with_endpoint
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Rendered, Templates
from touchline_notifier.core.plays.samples import sample_action
from touchline_notifier.core.profiles.mailbox import NotAnAddressError, parse_mailbox
from touchline_notifier.core.sequences.program import sends
from touchline_notifier.core.texts.languages import tag
from touchline_notifier.core.tracking.links import MailTracker

MARK = "[test]"
HEADER = "X-Touchline-Test"
TYPE = "touchline.test"
TESTS_PER_HOUR = 30
"""How many tests one person may send in an hour: a play's endpoint is no way to fill somebody's mailbox."""
_SECONDS = 20.0


class TestRefusedError(Exception):
    """No test is sent.

    Attributes:
        kind: a constant for programs.
        invalid: the request is wrong; otherwise the circumstances do not allow it.
    """

    def __init__(self, text: str, kind: str, *, invalid: bool = False) -> None:
        super().__init__(text)
        self.kind = kind
        self.invalid = invalid


class Refusal(NamedTuple):
    """Why the database says that no test may be sent."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class TestRecord:
    """A test as the audit log records it: without the customer's id and the address, which are hashed."""

    play: str
    sha256: str
    customer_id: str
    endpoint: str
    to: str | None


class TestLog(Protocol):
    """Where tests are checked and recorded."""

    async def admit(self, record: TestRecord, actor: Actor) -> Refusal | None:
        """Record a test in the audit log, unless something forbids it: the switch of all sending, the endpoint's
        state, the suppression of the address, or the tests of the last hour.
        """


@dataclass(frozen=True, slots=True)
class TestMessage:
    """What a test is about.

    Attributes:
        text: the YAML of the play.
        to: the address, on channels that write to one.
        customer_id: for whom the texts are rendered; None: the customer whom the newest action was about.
        locale: the texts of this language; None: the customer's.
        step: of a sequence; None: its first message.
    """

    play: Play
    text: str
    to: str | None
    customer_id: str | None
    locale: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class TestResult:
    """How the one attempt ended. ``error``: why it was not accepted, in our own words."""

    customer_id: str
    channel: str
    endpoint: str
    rendered: Rendered
    outcome: Literal["sent", "failed"]
    status: int | None
    error: str | None


class PlayTester:
    """Sends tests.

    Args:
        sending: the setting of this process.
        public_url: the notifier's own, for an unsubscribe link that leads to nobody.
        tracker: of tracked mails. What is done with a test is recorded of nobody: it is no action.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        customers: RecentCustomers,
        log: TestLog,
        *,
        sending: bool,
        public_url: str,
        tracker: MailTracker | None = None,
    ) -> None:
        self._channels = channels
        self._customers = customers
        self._log = log
        self._sending = sending
        link = f"{public_url or 'https://example.org'}/v1/unsubscribe/test"
        self._templates = Templates(lambda customer_id, channel: link, tracker)

    async def send(
        self, test: TestMessage, endpoints: Mapping[str, Endpoint], partitions: int, actor: Actor, now: datetime
    ) -> TestResult:
        """Send one message, once.

        Raises:
            TestRefusedError: nothing was sent.
            RenderingError: a template fails for the customer.
        """
        if not self._sending:
            raise TestRefusedError("sending is off: TOUCHLINE_SENDING is false in this notifier", "sending-off")
        play = _message(with_endpoint(test.play, dict(endpoints)), test.step)
        channel = self._channels[play.action.channel]
        to = _recipient(test, channel)
        history = await self._customer(test.customer_id)
        action = sample_action(play, history.customer_id, str(uuid4()))
        locale = _locale(play, test.locale)
        rendered = await asyncio.to_thread(self._templates.render, play, action, history.view(), locale=locale)
        context = DecisionContext(
            Decider({play.play: play}, self._templates), endpoints, partitions, customer_channels(self._channels)
        )
        message = _marked(play, action, rendered, context, to, now)
        endpoint = endpoints[action.endpoint or ""]
        sha256 = hashlib.sha256(test.text.encode()).hexdigest()
        record = TestRecord(play.play, sha256, history.customer_id, endpoint.name, to)
        refusal = await self._log.admit(record, actor)
        if refusal is not None:
            raise TestRefusedError(*refusal)
        delivery = Delivery(
            message.delivery_id, "action", None, history.customer_id, channel.name, endpoint.name, message, 1, now
        )
        rendered = replace(rendered, subject=message.subject, to=to)
        try:
            async with asyncio.timeout(_SECONDS):
                attempt = await channel.send(delivery, endpoint, now)
        except TimeoutError:
            error = f"no answer within {_SECONDS:g} s: it may have arrived"
            return TestResult(history.customer_id, channel.name, endpoint.name, rendered, "failed", None, error)
        if isinstance(attempt, Delivered):
            return TestResult(history.customer_id, channel.name, endpoint.name, rendered, "sent", attempt.status, None)
        return TestResult(
            history.customer_id, channel.name, endpoint.name, rendered, "failed", attempt.status, attempt.why
        )

    async def _customer(self, customer_id: str | None) -> CustomerHistory:
        if customer_id is not None:
            found = await self._customers.find(customer_id)
            if found is None:
                raise TestRefusedError(
                    f"nothing is known of customer {customer_id!r}: name another, or none for the newest",
                    "unknown-customer",
                    invalid=True,
                )
            return found
        newest = await self._customers.recent(1)
        if not newest:
            raise TestRefusedError("no customer is known yet: send a touchpoint first", "no-customer")
        return newest[0]


def _message(play: Play, step: str | None) -> Play:
    """The play with the message of a step.

    Raises:
        TestRefusedError: it has no such step, or the step sends nothing.
    """
    messages = {name: spec for name, _, spec in sends(play.steps)}
    if step is None:
        return play.messages[0]
    if step not in messages:
        listed = ", ".join(messages) or "none: the play has no steps"
        text = f"step: no message is sent at {step[:80]!r}: there are {listed}"
        raise TestRefusedError(text, "invalid-request", invalid=True)
    return play.with_message(messages[step])


def _locale(play: Play, asked: str | None) -> str | None:
    """The locale of the play that is asked for.

    Raises:
        TestRefusedError: the play has no texts in it.
    """
    if asked is None:
        return None
    known = [name for name in (play.action.locale, *play.action.locales) if name is not None]
    found = next((name for name in known if tag(name) == tag(asked)), None)
    if found is None:
        listed = ", ".join(known) or "none: the play says no locale"
        text = f"locale: the play has no texts in {asked!r}: there are {listed}"
        raise TestRefusedError(text, "invalid-request", invalid=True)
    return found


def _recipient(test: TestMessage, channel: Channel) -> str | None:
    """The address, as mail servers take it.

    Raises:
        TestRefusedError: one is missing, wrong, or of no use.
    """
    if not channel.needs_address:
        if test.to is None:
            return None
        raise TestRefusedError(
            f"to: the channel {channel.name} sends to its endpoint and takes no recipient: leave `to` out",
            "invalid-request",
            invalid=True,
        )
    if test.to is None:
        raise TestRefusedError(
            f"to: channel {channel.name} writes to an address: name your own", "invalid-request", invalid=True
        )
    try:
        return str(parse_mailbox(test.to))
    except NotAnAddressError as error:
        raise TestRefusedError(f"to: {error}", "invalid-request", invalid=True) from None


def _marked(
    play: Play, action: Action, rendered: Rendered, context: DecisionContext, to: str | None, now: datetime
) -> Message:
    """The message as it would be sent, marked as a test, to another receiver, and without a way to unsubscribe."""
    action.decided_at = now
    message = planned_delivery(Decided(action, action.event(), rendered), context, now).message
    own = {name: value for name, value in message.headers.items() if name.lower() != HEADER.lower()}
    return replace(
        message,
        type=TYPE,
        data={**message.data, "test": True},
        to=to,
        subject=f"{MARK} {message.subject or ''}".rstrip(),
        headers={**own, HEADER: "true"},
        unsubscribe_url=None,
        to_customer=False,
        consent=None,
    )
