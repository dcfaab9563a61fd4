"""Receivers of the company: the service desk's webhook, which verifies signatures, and the customers' mail."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Self

from touchline_devstack.receivers import MailCatcher, WebhookReceiver

ACTION_HEADER = "X-Touchline-Action"
"""The header by which the company's own plays name the action in a mail."""


class Inbox:
    """Both receivers. Use it as a context manager."""

    def __init__(self, webhook_secret: str) -> None:
        self.webhooks = WebhookReceiver([webhook_secret])
        self.mails = MailCatcher()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as entering:
            entering.enter_context(self.webhooks)
            entering.enter_context(self.mails)
            self._exit = entering.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def by_action(self) -> Counter[str]:
        """How often each action arrived; facts that the desk only subscribes to are no actions."""
        found: Counter[str] = Counter()
        for webhook in self.webhooks.arrived:
            identifier = webhook.json["data"].get("action_id") if webhook.verdict == "valid" else None
            if identifier:
                found[identifier] += 1
        for mail in self.mails.mails:
            found[str(mail.message[ACTION_HEADER])] += 1
        return found

    @property
    def badly_signed(self) -> int:
        """Webhooks whose signature didn't verify."""
        return self.webhooks.counts()["invalid"]

    def counts(self) -> dict[str, int]:
        """What arrived, for the summary."""
        return {
            "webhooks": self.webhooks.counts()["valid"],
            "webhooks_badly_signed": self.badly_signed,
            "mails": self.mails.counts()["mails"],
            "actions": len(self.by_action()),
        }
