"""A deployment under test: the three processes, a stranger's lifecycle and plays, and what an outsider asks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from touchline_demo.checks.verifier import Verifier
from touchline_devstack.processes import Service
from touchline_devstack.receivers import WebhookReceiver

KEY = "a-write-key-for-the-till"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

# Somebody else's lifecycle, with names and types of their own.
KIOSK = """
lifecycle: kiosk
version: 1
title: A kiosk at the corner
stages:
  - name: outside
    rules:
      - {when: [door_opened], to: next, reason: came in}
  - name: inside
    stall: {after: PT3S}
    rules:
      - {when: [coffee_bought], where: {properties.cups: {gte: 2}}, to: regular, reason: for two}
      - {when: [coffee_bought], count: 3, to: next, reason: thrice}
  - name: regular
    rules:
      - {when: [coffee_spilt], to: previous, reason: an accident}
"""
CALL = """
play: call-them-in
when: {fact: customer-stalled, lifecycle: kiosk, stage: [inside], level: 1}
action: {channel: webhook, endpoint: till, subject: "Where is {{ customer_id }}?", body: "Coffee is ready"}
limits: {per_customer: {count: 1, within: 7d}, max_age: 24h}
"""
MOP = """
play: mop-up
when: {fact: stage-changed, lifecycle: kiosk, move: [regress]}
action: {channel: webhook, endpoint: till, body: "Mop beside {{ customer_id }}, now {{ stage }}"}
limits: {max_age: 24h}
"""
SOURCES = """
sources:
  - {{name: till, kind: api, key_sha256: {digest}, may_set_stage: false}}
"""
ENDPOINTS = """
endpoints:
  - {{name: till, url: "{url}", secret: {{env: TILL_SECRET}}}}
"""

COMMANDS = {
    "ingest": ("touchline-ingest", "serve"),
    "stage-engine": ("touchline-stage-engine", "run"),
    "notifier": ("touchline-notifier", "run"),
}


@dataclass
class Deployment:
    """Three processes, their addresses, and the receiver of their webhooks."""

    services: dict[str, Service]
    receiver: WebhookReceiver
    http: httpx.AsyncClient
    kafka_bootstrap: str
    topic_prefix: str
    database_url: str

    async def post(self, touchpoints: list[dict[str, Any]]) -> httpx.Response:
        """POST /v1/touchpoints, an array."""
        return await self.http.post(
            f"{self.services['ingest'].url}/v1/touchpoints",
            json=touchpoints,
            headers={"authorization": f"Bearer {KEY}"},
        )

    async def customer(self, customer_id: str) -> dict[str, Any] | None:
        """GET /v1/customers/{id}; None while nobody knows them."""
        answer = await self.http.get(f"{self.services['stage-engine'].url}/v1/customers/{customer_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def verifier(self) -> Verifier:
        """A plain Kafka consumer of every topic."""
        return Verifier(self.kafka_bootstrap, self.topic_prefix)
