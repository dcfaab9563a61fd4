"""The one rule: is a message sent to a person, and if not, why?

The decision, the check before each attempt, the preference page and the operators' view of a person ask it, so that all
of them say the same. It knows consent and suppressions alone, and none of the limits in ``core.limits``.

A message goes a *way*: it needs consent for a topic (the play's consent channel), and a channel carries it. In order:

1. A channel that writes to the customer needs an address.
2. Nothing goes to a blocked address: a hard bounce, a complaint, a mail service's or an operator's suppression.
3. An address that opted out of all mail gets only what was consented to later: the topic, the channel, or everything.
4. Of the statements about the topic, and about everything, the latest counts. So does a refusal of the channel: it
   refuses every topic that the channel carries, until the person gives consent for the topic again.
5. A play may require consent: then silence is no consent.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from touchline_schemas.mail_events import EMAIL_BOUNCED, EMAIL_COMPLAINED, EMAIL_SUPPRESSED, UNSUBSCRIBED

from touchline_notifier.core.profiles.address_suppressions import BY_HAND, AddressSuppressions
from touchline_notifier.core.profiles.profile import ALL_CHANNELS, Profile

Cause = Literal[
    "no_address", "bounced", "complained", "mail_service", "by_hand", "opted_out", "refused_all", "refused_channel",
    "refused_topic", "never_given",
]  # fmt: skip
BLOCKS: frozenset[Cause] = frozenset({"no_address", "bounced", "complained", "mail_service", "by_hand"})
"""What no choice of the person changes."""

_OF_REASON: dict[str, Cause] = {
    EMAIL_BOUNCED: "bounced",
    EMAIL_COMPLAINED: "complained",
    EMAIL_SUPPRESSED: "mail_service",
    BY_HAND: "by_hand",
}


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """How messages go out.

    Attributes:
        topic: the consent channel; ``""``: no consent is asked for.
        carrier: the channel that writes to the customer's address; ``""``: the messages go to a system.
        required: consent has to be given; otherwise it must not be refused.
    """

    topic: str = ""
    carrier: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a message is not sent.

    Attributes:
        code: of a held action.
        text: for operators.
    """

    cause: Cause
    code: Literal["no_address", "suppressed", "no_consent"]
    text: str


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a person.

    Attributes:
        address: where a message would go; None: nowhere.
        suppressions: what is stored about the address.
    """

    profile: Profile
    address: str | None
    suppressions: AddressSuppressions | None = None

    @property
    def block(self) -> str | None:
        """The reason why nothing may be sent to the address, whatever the person consents to."""
        lifted_at = None
        if self.suppressions is not None:
            if (reason := self.suppressions.block) is not None:
                return reason
            lifted_at = self.suppressions.lifted_at
        if self.address is None or self.address != self.profile.email:
            return None
        return self.profile.trouble_after(lifted_at)


def objections(person: Person, way: Way) -> Iterator[Objection]:
    """Everything that keeps a message from being sent, the first reason first; nothing: it is sent."""
    if way.carrier:
        yield from _of_the_address(person, way)
    if not way.topic:
        return
    given = person.profile.consent(way.topic, way.carrier or None)
    if given is False:
        yield _refusal(person.profile, way)
    elif given is None and way.required:
        yield Objection("never_given", "no_consent", f"consent for {way.topic} was never given")


def _of_the_address(person: Person, way: Way) -> Iterator[Objection]:
    if person.address is None:
        yield Objection("no_address", "no_address", "no e-mail address is known")
        return
    if (reason := person.block) is not None:
        yield Objection(_OF_REASON.get(reason, "by_hand"), "suppressed", f"the address is suppressed: {reason}")
    opt_out = person.suppressions.opt_out if person.suppressions is not None else None
    if opt_out is not None and not _given_after(person.profile, way, opt_out):
        yield Objection("opted_out", "suppressed", f"the address is suppressed: {UNSUBSCRIBED}")


def _given_after(profile: Profile, way: Way, at: datetime) -> bool:
    stated = (profile.stated(name) for name in {way.topic or way.carrier, way.carrier, ALL_CHANNELS})
    return any(one is not None and one.given and one.at > at for one in stated)


def _refusal(profile: Profile, way: Way) -> Objection:
    stated = {name: profile.stated(name) for name in {way.topic, way.carrier, ALL_CHANNELS} if name}
    refused = [(one.at, name) for name, one in stated.items() if one is not None and not one.given]
    _, latest = max(refused, key=lambda one: (one[0], one[1] == way.topic))
    if latest == way.topic:
        return Objection("refused_topic", "no_consent", f"consent for {way.topic} was refused")
    cause: Cause = "refused_all" if latest == ALL_CHANNELS else "refused_channel"
    return Objection(cause, "no_consent", f"consent for {latest}, and {way.topic} with it, was refused")


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a person gets the messages of a topic.

    Attributes:
        sent: they get messages of it, if not all of them: ``partly``.
        open: it is the person's to choose; otherwise something else keeps every message from them: ``cause``.
        cause: the first reason of what is not sent.
    """

    topic: str
    sent: bool
    partly: bool = False
    open: bool = True
    cause: Cause | None = None


def standing(person: Person, topic: str, ways: Collection[Way]) -> Standing:
    """Whether a person gets the messages of a topic, which go these ways."""
    held = {way: list(objections(person, way)) for way in sorted(ways)}
    by_choice = [found for found in held.values() if not any(one.cause in BLOCKS for one in found)]
    sent = [found for found in by_choice if not found]
    first = next((found[0].cause for found in by_choice or held.values() if found), None)
    return Standing(topic, bool(sent), bool(sent) and len(sent) < len(held), bool(by_choice), first)


def held_ways(person: Person, ways: Collection[Way]) -> frozenset[Way]:
    """The ways that the person's own words close."""
    return frozenset(way for way in ways if any(one.cause not in BLOCKS for one in objections(person, way)))
