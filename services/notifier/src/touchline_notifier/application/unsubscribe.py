"""Unsubscribe by the link in a mail: it takes effect at once, and becomes a touchpoint on the customer's timeline.

It needs PostgreSQL and nothing else: no play, no endpoint, no Kafka. The touchpoint is published from the outbox.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from touchline_notifier.application.api_ports import Choice
from touchline_notifier.application.consent import set_consent
from touchline_notifier.application.ports import SubscriptionStore, Transaction
from touchline_notifier.core.unsubscribe.tokens import BadTokenError, UnsubscribeTokens, Unsubscription


class UnsubscribeLinks:
    """Implements :class:`~touchline_notifier.application.api_ports.Unsubscribe`.

    Args:
        topics: the consent channels of the plays in force: what a customer may choose.
    """

    def __init__(
        self,
        store: SubscriptionStore,
        partitions: int,
        tokens: UnsubscribeTokens,
        topics: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._topics = topics
        self._store = store
        self._partitions = partitions
        self._tokens = tokens

    async def channel(self, token: str) -> str | None:
        """The channel a link is about, or None when it is not a valid link. Changes nothing.

        Raises:
            Unavailable: the database does not answer; the link may be valid.
        """
        found = await self._read(token)
        return found.channel if found is not None else None

    async def __call__(self, token: str, now: datetime) -> str | None:
        """Refuse consent for the link's channel. A second time changes nothing.

        Returns:
            The channel, or None when it is not a valid link.

        Raises:
            Unavailable: the database does not answer, so nothing was recorded; try again.
        """
        found = await self._read(token)
        if found is None:
            return None
        async with self._store.transaction() as tx:
            for customer_id in await _customers(tx, found):
                await set_consent(tx, self._partitions, customer_id, found.channel, given=False, now=now)
        return found.channel

    async def choices(self, token: str) -> list[Choice] | None:
        """What the link's customer may choose, and what they have chosen; None when it is not a valid link.

        Raises:
            Unavailable: the database does not answer.
        """
        found = await self._read(token)
        if found is None:
            return None
        async with self._store.transaction() as tx:
            customers = await _customers(tx, found)
            profiles = (await tx.customers.profiles(customers)).values()
        channels = sorted({found.channel, *self._topics()})
        return [
            Choice(channel, all(profile.consent(channel) is not False for profile in profiles)) for channel in channels
        ]

    async def choose(self, token: str, chosen: Collection[str], now: datetime) -> list[Choice] | None:
        """Give consent for the chosen channels and refuse it for the others; see :meth:`choices`.

        Raises:
            Unavailable: the database does not answer, so nothing was recorded; try again.
        """
        found = await self._read(token)
        before = await self.choices(token)
        if found is None or before is None:
            return None
        async with self._store.transaction() as tx:
            for customer_id in await _customers(tx, found):
                for choice in before:
                    given = choice.channel in chosen
                    if given != choice.given:
                        await set_consent(tx, self._partitions, customer_id, choice.channel, given=given, now=now)
        return [Choice(choice.channel, choice.channel in chosen) for choice in before]

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


async def _customers(tx: Transaction, found: Unsubscription) -> list[str]:
    """The customers that a link is about now."""
    named = [found.customer_id] if found.customer_id is not None else []
    if found.digest is not None:
        named = await tx.customers.long_keys(found.digest)
    merged = await tx.customers.aliases(named)
    return sorted({merged.get(customer_id, customer_id) for customer_id in named})
