"""Unsubscribe by the link in a mail: it takes effect at once, and becomes a touchpoint on the customer's timeline.

It needs PostgreSQL and nothing else: no play, no endpoint, no Kafka. The touchpoint is published from the outbox.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

import structlog

from touchline_notifier.application.api_ports import Link, Preferences
from touchline_notifier.application.consent import person_of, set_consent
from touchline_notifier.application.ports import SubscriptionStore, Transaction
from touchline_notifier.core.profiles.profile import ALL_CHANNELS, Profile
from touchline_notifier.core.profiles.sending_rule import Person, Way, held_ways, standing
from touchline_notifier.core.unsubscribe.sealing import BadTokenError
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens, Unsubscription

log = structlog.get_logger(__name__)

_LANGUAGE_SECONDS = 2.0


class UnsubscribeLinks:
    """Implements :class:`~touchline_notifier.application.api_ports.Unsubscribe`.

    Args:
        topics: the consent channels of the plays in force, which a customer may choose, and how their messages go.
    """

    def __init__(
        self,
        store: SubscriptionStore,
        partitions: int,
        tokens: UnsubscribeTokens,
        topics: Callable[[], Mapping[str, frozenset[Way]]] = dict,
    ) -> None:
        self._topics = topics
        self._store = store
        self._partitions = partitions
        self._tokens = tokens

    async def link(self, token: str) -> Link | None:
        """What a link is about, or None when it is not a valid link. Changes nothing.

        Raises:
            Unavailable: the database does not answer; the link may be valid.
        """
        found = await self._read(token)
        return Link(found.channel, await self._languages(found)) if found is not None else None

    async def __call__(self, token: str, now: datetime) -> Link | None:
        """Refuse consent for the link's channel. A second time changes nothing.

        Returns:
            What the link is about, or None when it is not a valid link.

        Raises:
            Unavailable: the database does not answer, so nothing was recorded; try again.
        """
        found = await self._read(token)
        if found is None:
            return None
        async with self._store.transaction() as tx:
            for customer_id in await _customers(tx, found):
                await set_consent(tx, self._partitions, customer_id, found.channel, given=False, now=now)
        return Link(found.channel, await self._languages(found))

    async def choices(self, token: str) -> Preferences | None:
        """What the link's customer may choose, and what they get now; None when it is not a valid link.

        Raises:
            Unavailable: the database does not answer.
        """
        found = await self._read(token)
        if found is None:
            return None
        async with self._store.transaction() as tx:
            return await self._preferences(tx, await _customers(tx, found), self._ways(found))

    async def choose(
        self, token: str, chosen: Collection[str], shown: Collection[str] | None, now: datetime
    ) -> Preferences | None:
        """Give consent for the chosen channels and refuse it for the others; what the customer gets then.

        Args:
            shown: the channels that there was a box for; None: all that there are. No other one changes.

        Raises:
            Unavailable: the database does not answer, so nothing was recorded; try again.
        """
        found = await self._read(token)
        if found is None:
            return None
        ways = self._ways(found)
        wanted = {channel: channel in chosen for channel in ways if shown is None or channel in shown}
        async with self._store.transaction() as tx:
            customers = await _customers(tx, found)
            for customer_id in customers:
                await self._apply(tx, customer_id, wanted, ways, now)
            return await self._preferences(tx, customers, ways)

    def _ways(self, found: Unsubscription) -> dict[str, frozenset[Way]]:
        # No play's topic: a mail brought the customer here.
        return {found.channel: frozenset({Way(found.channel, "email")}), **self._topics()}

    async def _apply(
        self,
        tx: Transaction,
        customer_id: str,
        wanted: Mapping[str, bool],
        ways: Mapping[str, frozenset[Way]],
        now: datetime,
    ) -> None:
        """Record what it takes so that the rule answers what the customer wants."""
        (person,) = await _people(tx, [customer_id])
        before = {channel: (standing(person, channel, of), held_ways(person, of)) for channel, of in ways.items()}
        carriers = {way.carrier for of in ways.values() for way in of}
        for channel in sorted(wanted, key=lambda name: (name != ALL_CHANNELS, name not in carriers, name)):
            # The wider ones first: what follows can still say otherwise for a topic.
            at, (stood, held) = standing(person, channel, ways[channel]), before[channel]
            if wanted[channel]:
                changes = not at.sent or not stood.sent or not held_ways(person, ways[channel]) <= held
            else:
                changes = at.sent or stood.sent or not at.open
            if changes:
                await set_consent(
                    tx,
                    self._partitions,
                    customer_id,
                    channel,
                    given=wanted[channel],
                    now=now,
                    carriers={way.carrier for way in ways[channel] if way.carrier},
                )
                (person,) = await _people(tx, [customer_id])

    async def _preferences(
        self, tx: Transaction, customers: Sequence[str], ways: Mapping[str, frozenset[Way]]
    ) -> Preferences:
        people = await _people(tx, customers) or [Person(Profile(), None)]
        # A link is about one person; should it be about several, that one is shown who gets the least.
        found = [
            min((standing(person, channel, ways[channel]) for person in people), key=lambda one: (one.sent, one.open))
            for channel in sorted(ways)
        ]
        return Preferences(found, _languages(person.profile for person in people))

    async def _languages(self, found: Unsubscription) -> list[str]:
        """The customer's languages. No fault here keeps anybody from unsubscribing."""
        try:
            async with asyncio.timeout(_LANGUAGE_SECONDS), self._store.transaction() as tx:
                profiles = await tx.customers.profiles(await _customers(tx, found))
                return _languages(profiles.values())
        except Exception as error:
            log.warning("language_not_known", error=type(error).__name__)
            return []

    async def _read(self, token: str) -> Unsubscription | None:
        try:
            return self._tokens.read(token)
        except BadTokenError:
            # Another process may have begun to make links under a new secret.
            self._tokens.add_keys(await self._store.link_keys())
        try:
            return self._tokens.read(token)
        except BadTokenError:
            return None


async def _people(tx: Transaction, customers: Sequence[str]) -> list[Person]:
    profiles = await tx.customers.profiles(customers)
    # Nothing is known of an erased customer, and so nothing is sent.
    return [await person_of(tx, profiles.get(customer_id, Profile())) for customer_id in customers]


def _languages(profiles: Iterable[Profile]) -> list[str]:
    return [language for profile in profiles for language in profile.languages]


async def _customers(tx: Transaction, found: Unsubscription) -> list[str]:
    """The customers that a link is about now."""
    named = [found.customer_id] if found.customer_id is not None else []
    if found.digest is not None:
        named = await tx.customers.long_keys(found.digest)
    merged = await tx.customers.aliases(named)
    return sorted({merged.get(customer_id, customer_id) for customer_id in named})
