"""Ports of the query API: what the routes ask, and what PostgreSQL and Kafka adapters implement.

Dictionaries have the fields of the response models in ``entrypoints/http``. Times in arguments are microseconds.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from touchline_stage_engine.application.queries.values import (
    AnalysisFilter,
    Page,
    RunningLifecycle,
    StageChangeEvent,
    StreamPosition,
)
from touchline_stage_engine.core.analysis.cohorts import Cohort
from touchline_stage_engine.core.analysis.motive import MotiveAnalysis
from touchline_stage_engine.core.analysis.survival import Curve
from touchline_stage_engine.core.audiences.customer_filter import CustomerFilter
from touchline_stage_engine.core.definitions.model import Definition


class CustomerStateQueries(Protocol):
    """The current stages of one customer."""

    async def current(self, key: str, now: int) -> dict[str, Any] | None:
        """The customer that a key belongs to; None when no touchpoint has that key."""
        ...


class CustomerHistoryQueries(Protocol):
    """Touchpoints and history of one customer, touchpoints by id, and identity conflicts."""

    async def owner_of(self, key: str) -> str | None:
        """The customer that a key belongs to; None when no touchpoint has that key."""
        ...

    async def touchpoints(self, customer_id: str, limit: int, cursor: str | None) -> Page:
        """The touchpoints of a customer, in the order of the fold."""
        ...

    async def history(
        self, customer_id: str, lifecycle: str | None, everything: bool, limit: int, cursor: str | None
    ) -> Page:
        """The moves of a customer, oldest first; with ``everything``, stalls and recoveries too."""
        ...

    async def lifecycles(self) -> list[str]:
        """The names of all lifecycles that ever ran."""
        ...

    async def touchpoint(self, source: str, id: str) -> list[dict[str, Any]]:  # noqa: A002
        """The stored copies of a touchpoint, one for each key and customer that has it."""
        ...

    async def outcomes(self, source: str, id: str) -> dict[str, dict[str, Any]]:  # noqa: A002
        """Outcome (duplicate, conflict, refused, erased) → what was recorded about a touchpoint."""
        ...

    async def conflicts(self, limit: int, cursor: str | None) -> Page:
        """Shared keys by key, then pairs of known customers that a refused link would have merged."""
        ...


class UnreadTouchpoints(Protocol):
    """Touchpoints that were accepted and are not folded yet."""

    async def holds(self, source: str, id: str) -> bool | None:  # noqa: A002
        """Whether the touchpoint is among them; None when not all of them could be searched."""
        ...


class CustomerListQueries(Protocol):
    """The list of customers."""

    async def listed(
        self, wanted: CustomerFilter, sort: str, descending: bool | None, limit: int, cursor: str | None
    ) -> tuple[Page, int, bool]:
        """A page of customers, the total, and whether the total is exact."""
        ...

    async def summaries(self, customers: list[str]) -> dict[str, dict[str, Any]]:
        """Customer → summary, of the customers that have one."""
        ...


class ExplanationQueries(Protocol):
    """Why a customer is in a stage."""

    async def explained(self, key: str, now: int) -> dict[str, Any] | None:
        """An explanation for each running lifecycle; None when no touchpoint has that key."""
        ...


class ValueQueries(Protocol):
    """Customer value and buying motive."""

    async def top(self, limit: int) -> list[dict[str, Any]]:
        """The customers of the highest value and their stages; values are those of their summaries."""
        ...

    async def motive(self, key: str) -> tuple[str, MotiveAnalysis] | None:
        """The customer that a key belongs to and their motive; None when no touchpoint has that key."""
        ...


class LifecycleQueries(Protocol):
    """Running lifecycles, and their stalled and slipping customers."""

    async def running(self, name: str | None = None) -> list[RunningLifecycle]:
        """The running lifecycles by name; with ``name``, that one or none."""
        ...

    async def versions(self, name: str) -> list[dict[str, Any]]:
        """Every version that was ever started, oldest first."""
        ...

    async def text_of(self, name: str, version: int) -> str | None:
        """The YAML of one version; None when there is none."""
        ...

    async def stages(self, definition: Definition) -> list[str]:
        """The stages of a lifecycle, including those of earlier versions."""
        ...

    async def stalled(self, name: str, stage: str | None, limit: int, cursor: str | None) -> Page:
        """Stalled customers, the longest inactive first."""
        ...

    async def slipping(self, name: str, slipped_since: int, limit: int, cursor: str | None) -> Page:
        """Stalled customers, and those whose last move was backward at or after an instant; worst first."""
        ...


class AnalysisQueries(Protocol):
    """A lifecycle over all customers, or over those that a filter selects."""

    async def funnel(self, definition: Definition, wanted: AnalysisFilter) -> dict[str, Any]:
        """How far customers came, and where they are now."""
        ...

    async def flows(self, definition: Definition, wanted: AnalysisFilter) -> list[dict[str, Any]]:
        """Moves by stages and kind, the most frequent first."""
        ...

    async def population(
        self, definition: Definition, wanted: AnalysisFilter, first: int, last: int
    ) -> dict[str, list[int]]:
        """Stage → customers at the end of each day from ``first`` to ``last`` (days since the epoch)."""
        ...

    async def stays(self, definition: Definition, wanted: AnalysisFilter) -> dict[str, Curve]:
        """Stage → estimate of how long customers stay, in seconds."""
        ...

    async def cohorts(
        self, definition: Definition, stage: str, wanted: AnalysisFilter, current_month: str
    ) -> list[Cohort]:
        """By month of entry: the share that reached a stage or a later one, month by month."""
        ...

    async def drop_out(self, definition: Definition, wanted: AnalysisFilter) -> dict[str, Any]:
        """Where paths end, and losses by month."""
        ...

    async def effort(self, definition: Definition, wanted: AnalysisFilter) -> list[dict[str, Any]]:
        """Touchpoints by stage and direction."""
        ...

    async def first_touchpoints(self) -> list[dict[str, Any]]:
        """Channels and sources of first touchpoints, with the number of customers."""
        ...


class OverviewQueries(Protocol):
    """Key figures, the latest facts, and the state of the partitions."""

    async def figures(self, since: int, until: int, now: int, active_since: int, slipped_since: int) -> dict[str, Any]:
        """Key figures of a span; ``…_before`` are those of the span of the same length before it."""
        ...

    async def recent(self, lifecycle: str | None, until: int, limit: int) -> list[dict[str, Any]]:
        """The latest facts, the newest first."""
        ...

    async def partitions(self) -> list[dict[str, Any]]:
        """One item for each partition."""
        ...

    async def timers(self, now: int) -> dict[int, dict[str, Any]]:
        """Partition → customers that wait for a timer, and how many timers are due."""
        ...


class TopicEndOffsets(Protocol):
    """End offsets of the touchpoints topic."""

    async def ends(self) -> dict[int, int]:
        """Partition → end offset, a few seconds old at most; empty when Kafka does not answer in time."""
        ...


class StageChangeStream(Protocol):
    """The published facts, as they are published."""

    def follow(
        self, position: StreamPosition | None, *, wait_seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[list[StageChangeEvent]]]:
        """Facts from a position on (None: new facts), in batches; an empty batch after ``wait_seconds`` without any.

        Raises:
            Unavailable: Kafka does not answer.
        """
        ...
