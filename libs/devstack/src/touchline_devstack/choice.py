"""Which Kafka and which PostgreSQL: the given ones, else Docker's, else the embedded ones.

Pure: whether a Docker engine answers is asked through a function, and only when it matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from touchline_devstack.embedded.state import Kind, ServerState, StackState
from touchline_devstack.settings import DevstackSettings


@dataclass(frozen=True)
class Choice:
    """The kind of each of the two servers."""

    kafka: Kind
    postgres: Kind


def choose(settings: DevstackSettings, remembered: StackState, engine_answers: Callable[[], bool]) -> Choice:
    """An address that is given wins, unless it is the folder's own server's (as in a shell that evaluated `env`).

    Otherwise a folder that was brought up once keeps its kind, since its data is there; a new one takes Docker when
    an engine answers, else the embedded servers.
    """
    fresh: list[Kind] = []

    def of_a_new_folder() -> Kind:
        if not fresh:
            fresh.append("docker" if engine_answers() else "embedded")
        return fresh[0]

    def one(given: str | None, known: ServerState) -> Kind:
        own = known.kind if known.address is not None and known.kind in ("docker", "embedded") else None
        if given is not None and (own is None or given != known.address):
            return "given"
        return own if own is not None else of_a_new_folder()

    return Choice(
        kafka=one(settings.kafka_bootstrap_servers, remembered.kafka),
        postgres=one(settings.database_url, remembered.postgres),
    )
