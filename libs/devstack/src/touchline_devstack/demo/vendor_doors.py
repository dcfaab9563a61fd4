"""The doors of the company's bought systems: Segment's own library, and webhooks signed as the vendors sign them."""

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

from touchline_devstack.demo.doors import Answers, DoorError, post_patiently
from touchline_devstack.demo.formats import (
    SEGMENT_EVENTS,
    JsonObject,
    hubspot_events,
    hubspot_introduction,
    hubspot_keys,
    sendgrid_event,
)
from touchline_devstack.demo.people import Deed, Mistake, Person

_SENDGRID_PER_POST = 500
_HUBSPOT_PER_POST = 100


class SegmentDoor:
    """The shop: Segment's official Python library, told the host and a write key."""

    def __init__(self, url: str, write_key: str) -> None:
        logging.getLogger("segment").setLevel(logging.CRITICAL)  # failures come by on_error
        self._failed: list[str] = []
        self._client = Client(
            write_key, host=url, on_error=self._on_error, max_queue_size=100_000, upload_interval=0.1, max_retries=5
        )

    async def post(self, told: Sequence[Deed | Mistake]) -> Answers:
        """Hand everything to the library, and wait until it has sent it."""
        calls = await asyncio.to_thread(self._post, told)
        if self._failed:
            raise DoorError(f"Segment's library gave up: {self._failed[0]}")
        return Answers(accepted=calls)

    def close(self) -> None:
        """End the library's thread."""
        self._client.join()

    def _post(self, told: Sequence[Deed | Mistake]) -> int:
        calls = 0
        for deed in told:
            if isinstance(deed, Deed):
                calls += self._call(deed)
        self._client.flush()
        return calls

    def _call(self, deed: Deed) -> int:
        who: dict[str, Any] = {"user_id": None, "anonymous_id": None, "timestamp": deed.at}
        if "customer_id" in deed.names:
            who["user_id"] = deed.person.customer_id
        if "anonymous_id" in deed.names:
            who["anonymous_id"] = deed.person.anonymous_id
        if deed.type == "page_viewed":
            self._client.page(name=deed.properties["url"], properties=dict(deed.properties), message_id=deed.id, **who)
            return 1
        if deed.type == "signed_up":
            traits = deed.properties | {"email": deed.person.email}
            self._client.identify(traits=traits, message_id=f"{deed.id}-who", **who)
        self._client.track(event=SEGMENT_EVENTS[deed.type], properties=dict(deed.properties), message_id=deed.id, **who)
        return 1 + (deed.type == "signed_up")

    def _on_error(self, error: Exception, items: Sequence[Any]) -> None:
        self._failed.append(f"{error} ({len(items)} calls)")


class SendGridDoor:
    """The mailer: SendGrid's signed Event Webhook."""

    def __init__(self, http: httpx.AsyncClient, url: str, key: EllipticCurvePrivateKey) -> None:
        self._http = http
        self._url = url
        self._key = key

    async def post(self, told: Sequence[Deed | Mistake]) -> Answers:
        """Batches of events; what can't be understood comes alone, so that it is one dead letter."""
        answers = Answers()
        for sound, group in groupby(told, lambda one: isinstance(one, Deed)):
            events = [sendgrid_event(one) if isinstance(one, Deed) else one.body for one in group]
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
        await _taken(self._http, self._url, body, headers, len(events), answers)


class HubSpotDoor:
    """The sales team's CRM: HubSpot's webhooks with their third signature.

    Attributes:
        keys: under which keys each person's records were told.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, secret: str, keys: dict[Person, set[str]]) -> None:
        self._http = http
        self._url = url
        self._secret = secret.encode()
        self.keys = keys

    async def post(self, told: Sequence[Deed | Mistake]) -> Answers:
        """Events, with a contact's address before the first of its records."""
        events: list[JsonObject] = []
        for deed in told:
            if isinstance(deed, Deed):
                if deed.person not in self.keys:
                    events += hubspot_introduction(deed)
                self.keys.setdefault(deed.person, set()).update(hubspot_keys(deed))
                events += hubspot_events(deed)
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
        await _taken(self._http, self._url, body, headers, len(events), answers)


async def _taken(
    http: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str], items: int, answers: Answers
) -> None:
    answer = await post_patiently(http, url, body, headers, items, answers)
    if not answer.is_success:
        raise DoorError(f"{url} answered {answer.status_code}: {answer.text[:500]}")
    answers.accepted += items
