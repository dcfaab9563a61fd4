"""The HTTP API: actions, deliveries, plays and their results, unsubscribing."""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
from fastapi import FastAPI
from touchline_runtime.health import Health
from touchline_runtime.http import build_app
from touchline_runtime.metrics import Metrics

from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.core.delivery.unsubscribe import UnsubscribeTokens
from touchline_notifier.core.endpoints import Endpoint
from touchline_notifier.core.play import Play

ABOUT = "What the notifier decided and delivered, and why it held things back."


@dataclass(frozen=True)
class Api:
    """What the routes need."""

    pool: asyncpg.Pool
    tokens: UnsubscribeTokens
    hashes: Hashes
    plays: Mapping[str, Play]
    endpoints: Mapping[str, Endpoint]
    token_hashes: frozenset[str]


def build_api(api: Api, *, version: str, health: Health, metrics: Metrics) -> FastAPI:
    """The application with all routes."""
    return build_app("Touchline notifier", version=version, about=ABOUT, health=health, metrics=metrics)
