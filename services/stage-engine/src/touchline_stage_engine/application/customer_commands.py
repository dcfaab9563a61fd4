"""What a person may have done to one customer: set a stage, or erase everything. Both go through the topics.

The audit log names the customer by a keyed hash, because its entries outlive an erasure.
"""

import hashlib
import hmac
from typing import Protocol
from uuid import UUID, uuid4

from touchline_runtime.audit.entry import Actor, AuditEntry

from touchline_stage_engine.application.queries.values import ErasureProgress

SOURCE = "touchline"
"""The source of touchpoints that the engine's API writes."""


class CustomerTopics(Protocol):
    """Requests to the owner of a customer's partition. Raises ``Unavailable`` when Kafka does not take one."""

    async def set_stage(self, key: str, lifecycle: str, stage: str, reason: str, touchpoint_id: str, now: int) -> None:
        """Write a `stage_set` touchpoint."""

    async def erase(self, key: str, receipt: UUID, now: int) -> None:
        """Request an erasure."""


class CommandLog(Protocol):
    """The audit log, and the receipts of erasures."""

    async def append(self, entry: AuditEntry) -> None:
        """Add an entry."""

    async def secret(self) -> bytes:
        """The secret of keyed hashes."""

    async def progress(self, receipt: UUID) -> ErasureProgress:
        """What an erasure has removed so far."""


class CustomerCommands:
    """The use cases. An entry is written before the request, so that nothing happens without one."""

    def __init__(self, topics: CustomerTopics, log: CommandLog) -> None:
        self._topics = topics
        self._log = log

    async def set_stage(
        self, key: str, lifecycle: str, before: str | None, stage: str, reason: str, actor: Actor, now: int
    ) -> str:
        """Move a customer by hand; the id of the touchpoint that does it."""
        touchpoint_id = str(uuid4())
        await self._log.append(
            AuditEntry(
                actor, "stage_set", await self._target(key), {"lifecycle": lifecycle, "stage": before},
                {"lifecycle": lifecycle, "stage": stage, "touchpoint_id": touchpoint_id}, reason,
            )
        )  # fmt: skip
        await self._topics.set_stage(key, lifecycle, stage, reason, touchpoint_id, now)
        return touchpoint_id

    async def erase(self, key: str, reason: str | None, actor: Actor, now: int) -> UUID:
        """Erase a customer and all aliases; the receipt."""
        receipt = uuid4()
        after = {"receipt": str(receipt)}
        await self._log.append(AuditEntry(actor, "erasure_requested", await self._target(key), None, after, reason))
        await self._topics.erase(key, receipt, now)
        return receipt

    async def progress(self, receipt: UUID) -> ErasureProgress:
        """What an erasure has removed so far."""
        return await self._log.progress(receipt)

    async def _target(self, key: str) -> str:
        digest = hmac.digest(await self._log.secret(), key.encode(), hashlib.sha256)
        return f"customer/{digest.hex()[:32]}"
