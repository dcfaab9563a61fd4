"""The audiences that this process evaluates: looked for again and again."""

import asyncio

from touchline_runtime.errors import Unavailable
from touchline_runtime.publishing.polling import keep_looking

from touchline_stage_engine.application.audiences.ports import AudienceStore
from touchline_stage_engine.application.errors import Interrupted
from touchline_stage_engine.core.audiences.audience import Audience


class AudiencesInForce:
    """A component of every process that folds.

    Attributes:
        audiences: by id; deleted ones as long as they have members.
    """

    name = "audiences"

    def __init__(self, store: AudienceStore | None = None) -> None:
        self._store = store
        self.audiences: tuple[Audience, ...] = ()

    async def refresh(self) -> None:
        """Take up what was saved since.

        Raises:
            Interrupted: the database does not answer.
        """
        if self._store is not None:
            self.audiences = tuple(await self._store.to_evaluate())

    async def run(self, stopping: asyncio.Event) -> None:
        """Look until stopping."""
        await keep_looking(self.refresh, stopping, event="audiences_not_read", passing=(Interrupted, Unavailable))
