"""Servers whose addresses were given: looked at, never started and never stopped."""

from __future__ import annotations

from collections.abc import Callable

from touchline_devstack.errors import DevstackError, UnreachableError
from touchline_devstack.probes import kafka_trouble, postgres_trouble
from touchline_devstack.settings import DATABASE_VARIABLE, KAFKA_VARIABLE


class GivenServer:
    """A server at an address from the environment variable `variable`."""

    def __init__(self, title: str, variable: str, address: str, probe: Callable[[str], str | None]) -> None:
        self.title = title
        self._variable = variable
        self._address = address
        self._probe = probe

    def start(self) -> bool:
        """Only look. Raises UnreachableError when it doesn't answer."""
        if (found := self.trouble()) is not None:
            raise UnreachableError(
                f"{self.title} at the address in {self._variable} does not answer: {found}. "
                f"Start it, correct the variable, or unset it to have a {self.title} started here."
            )
        return False

    def stop(self) -> bool:
        return False

    def take_down(self) -> bool:
        return False

    def kill(self) -> None:
        raise DevstackError(f"{self.title} was given by {self._variable}: it is not ours to kill.")

    def trouble(self) -> str | None:
        return self._probe(self._address)

    def address(self) -> str | None:
        return self._address

    def pid(self) -> int | None:
        return None


def given_kafka(bootstrap_servers: str) -> GivenServer:
    """Kafka at host:port[,host:port]."""
    return GivenServer("Kafka", KAFKA_VARIABLE, bootstrap_servers, kafka_trouble)


def given_postgres(url: str) -> GivenServer:
    """PostgreSQL at postgresql://user:password@host:port/database."""
    return GivenServer("PostgreSQL", DATABASE_VARIABLE, url, postgres_trouble)
