"""What the stack needs of a server: embedded, in a container, or configured."""

from __future__ import annotations

from typing import Protocol


class Part(Protocol):
    """Kafka or PostgreSQL: given, in Docker, or embedded. The caller holds the folder's lock."""

    title: str

    def start(self) -> bool:
        """Start it unless it runs, and wait until it answers. False when it ran already. Raises DevstackError."""

    def stop(self) -> bool:
        """Stop it cleanly, keeping its data. False when it didn't run, or isn't ours to stop."""

    def take_down(self) -> bool:
        """What `down` does with it: stop it, and remove its container if it lives in one. False as in `stop`."""

    def kill(self) -> None:
        """SIGKILL, as a crash would."""

    def trouble(self) -> str | None:
        """None when it really answers, else what is wrong."""

    def address(self) -> str | None:
        """Bootstrap servers or database URL; None before the first start."""

    def pid(self) -> int | None:
        """The server's pid on this machine, when it has one we know."""
