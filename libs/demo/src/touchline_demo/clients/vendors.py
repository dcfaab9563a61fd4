"""Clients of the company's vendor systems: Segment's library, and webhooks signed as the vendors sign them."""

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import httpx
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from segment.analytics.client import Client

from touchline_demo.clients.api import Answers, ClientError, post_with_retries
from touchline_demo.clients.vendor_formats import (
    SEGMENT_EVENTS,
    JsonObject,
    hubspot_events,
    hubspot_introduction,
    hubspot_keys,
    sendgrid_event,
)
from touchline_demo.company.people import Event, InvalidEvent, Person

_SENDGRID_PER_POST = 500
_HUBSPOT_PER_POST = 100


class SegmentClient:
    """The shop: Segment's official Python library with the host and a write key."""

    def __init__(self, url: str, write_key: str) -> None:
        logging.getLogger("segment").setLevel(logging.CRITICAL)  # failures come by on_error
        self._failed: list[str] = []
        self._client = Client(
            write_key, host=url, on_error=self._on_error, max_queue_size=100_000, upload_interval=0.1, max_retries=5
        )

    async def post(self, items: Sequence[Event | InvalidEvent]) -> Answers:
        """Pass everything to the library, and wait until it has sent it."""
        calls = await asyncio.to_thread(self._post, items)
        if self._failed:
            raise ClientError(f"Segment's library gave up: {self._failed[0]}")
        return Answers(accepted=calls)

    def close(self) -> None:
        """End the library's thread."""
        self._client.join()

    def _post(self, items: Sequence[Event | InvalidEvent]) -> int:
        calls = 0
        for event in items:
            if isinstance(event, Event):
                calls += self._call(event)
        self._client.flush()
        return calls

    def _call(self, event: Event) -> int:
        who: dict[str, Any] = {"user_id": None, "anonymous_id": None, "timestamp": event.at}
        if "customer_id" in event.names:
            who["user_id"] = event.person.customer_id
        if "anonymous_id" in event.names:
            who["anonymous_id"] = event.person.anonymous_id
        if event.type == "page_viewed":
            self._client.page(
                name=event.properties["url"], properties=dict(event.properties), message_id=event.id, **who
            )
            return 1
        if event.type == "signed_up":
            traits = event.properties | {"email": event.person.email}
            self._client.identify(traits=traits, message_id=f"{event.id}-who", **who)
        self._client.track(
            event=SEGMENT_EVENTS[event.type], properties=dict(event.properties), message_id=event.id, **who
        )
        return 1 + (event.type == "signed_up")

    def _on_error(self, error: Exception, items: Sequence[Any]) -> None:
        self._failed.append(f"{error} ({len(items)} calls)")


class SendGridClient:
    """The mailer: SendGrid's signed Event Webhook."""

    def __init__(self, http: httpx.AsyncClient, url: str, key: EllipticCurvePrivateKey) -> None:
        self._http = http
        self._url = url
        self._key = key

    async def post(self, items: Sequence[Event | InvalidEvent]) -> Answers:
        """Post events in batches. An invalid event is posted alone so that it becomes one dead letter."""
        answers = Answers()
        for sound, group in groupby(items, lambda one: isinstance(one, Event)):
            events = [sendgrid_event(one) if isinstance(one, Event) else one.body for one in group]
            size = _SENDGRID_PER_POST if sound else 1
            for start in range(0, len(events), size):
                await self._post(events[start : start + size], answers)
        return answers

    async def _post(self, events: list[JsonObject], answers: Answers) -> None:
        body = orjson.dumps(events)
        timestamp = str(int(time.time()))
        signature = self._key.sign(timestamp.encode() + body, ECDSA(SHA256()))
        headers = {
            "content-type": "application/json",
            "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
            "x-twilio-email-event-webhook-timestamp": timestamp,
        }
        await _post_accepted(self._http, self._url, body, headers, len(events), answers)


class HubSpotClient:
    """The sales team's CRM: HubSpot's webhooks with their third signature.

    Attributes:
        keys: the keys under which each person's records were posted.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, secret: str, keys: dict[Person, set[str]]) -> None:
        self._http = http
        self._url = url
        self._secret = secret.encode()
        self.keys = keys

    async def post(self, items: Sequence[Event | InvalidEvent]) -> Answers:
        """Post events, with a contact's address before the first of its records."""
        events: list[JsonObject] = []
        for event in items:
            if isinstance(event, Event):
                if event.person not in self.keys:
                    events += hubspot_introduction(event)
                self.keys.setdefault(event.person, set()).update(hubspot_keys(event))
                events += hubspot_events(event)
        answers = Answers()
        for start in range(0, len(events), _HUBSPOT_PER_POST):
            await self._post(events[start : start + _HUBSPOT_PER_POST], answers)
        return answers

    async def _post(self, events: list[JsonObject], answers: Answers) -> None:
        body = orjson.dumps(events)
        timestamp = str(time.time_ns() // 1_000_000)
        signed = b"POST" + self._url.encode() + body + timestamp.encode()
        headers = {
            "content-type": "application/json",
            "x-hubspot-request-timestamp": timestamp,
            "x-hubspot-signature-v3": base64.b64encode(
                hmac.new(self._secret, signed, hashlib.sha256).digest()
            ).decode(),
        }
        await _post_accepted(self._http, self._url, body, headers, len(events), answers)


async def _post_accepted(
    http: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str], items: int, answers: Answers
) -> None:
    answer = await post_with_retries(http, url, body, headers, items, answers)
    if not answer.is_success:
        raise ClientError(f"{url} answered {answer.status_code}: {answer.text[:500]}")
    answers.accepted += items
