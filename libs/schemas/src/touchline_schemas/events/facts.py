"""What the stage engine publishes: moves, stalls and recoveries of customers, and the latest stage of each.

``fact_no`` rises by one over all facts of a customer and lifecycle; a fact's ``ce_id`` is derived from it
(:func:`touchline_schemas.ids.fact_id`), so every subscriber can deduplicate on ``ce_id``.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from touchline_schemas.times import UtcTime

MoveKind = Literal["enter", "advance", "regress", "renew", "lapse"]
ReasonKind = Literal["rule", "lapse", "late_touchpoint", "manual", "merge", "definition"]

CORRECTIONS: frozenset[ReasonKind] = frozenset({"late_touchpoint", "merge", "definition"})
"""Reasons of moves that correct what was published."""


class _Fact(BaseModel):
    model_config = ConfigDict(extra="ignore")

    customer_id: str
    lifecycle: str
    lifecycle_version: int
    fact_no: int = Field(ge=1, description="1, 2, 3… over all facts of this customer and lifecycle")
    incarnation: int = Field(default=0, ge=0, description="rises with every erasure of this customer")
    era: int = Field(
        default=0, ge=0, description="rises when the stage engine's database was restored from a backup; orders facts "
        "between incarnation and fact_no",
    )  # fmt: skip
    occurred_at: UtcTime = Field(description="event time")
    decided_at: UtcTime = Field(description="the engine's clock when it decided")
    backfill: bool = Field(default=False, description="caused by imported history: never act on it")


class Reason(BaseModel):
    """Why a move happened, for people (text) and programs (kind)."""

    model_config = ConfigDict(extra="ignore")

    kind: ReasonKind
    text: str | None = None
    touchpoint_id: str | None = None


class StageChanged(_Fact):
    """``touchline.stage-changed``: a customer moved."""

    from_stage: str | None = Field(description="null on enter; otherwise the previous move's to_stage")
    to_stage: str
    move: MoveKind
    reason: Reason
    sequence: int = Field(ge=1, description="1, 2, 3… over the moves of this customer and lifecycle, gapless")
    previous_stage_seconds: float | None = Field(default=None, description="time spent in from_stage")


class CustomerStalled(_Fact):
    """``touchline.customer-stalled``: no activity for longer than the stage allows."""

    stage: str
    level: int = Field(ge=1)
    since: UtcTime = Field(description="the later of stage entry and last activity")
    due_at: UtcTime = Field(description="when the stall began: since + the level's duration; also occurred_at")


class CustomerRecovered(_Fact):
    """``touchline.customer-recovered``: a stall ended. Without touchpoint_id, a late touchpoint showed that there was
    no stall."""

    stage: str
    stalled_seconds: float | None = None
    touchpoint_id: str | None = None


class CustomerMerged(BaseModel):
    """``touchline.customer-merged``: ``customer_id`` (an old key) is now part of ``into``; its stages are gone."""

    model_config = ConfigDict(extra="ignore")

    customer_id: str
    into: str
    fact_no: int = Field(ge=1, description="1, 2, 3… over the merges of this key")
    incarnation: int = Field(default=0, ge=0)
    occurred_at: UtcTime
    decided_at: UtcTime


class CustomerErased(BaseModel):
    """``touchline.customer-erased``: forget everything about ``customer_id``."""

    model_config = ConfigDict(extra="ignore")

    customer_id: str
    incarnation: int = Field(ge=0, description="the incarnation that ended")
    occurred_at: UtcTime
    decided_at: UtcTime


class CustomerStage(BaseModel):
    """``touchline.customer-stage``: the latest stage of a customer in a lifecycle, on the compacted topic."""

    model_config = ConfigDict(extra="ignore")

    customer_id: str
    lifecycle: str
    lifecycle_version: int
    stage: str
    entered_at: UtcTime
    sequence: int
    stalled_level: int = Field(ge=0, description="0: not stalled")
    updated_at: UtcTime


class LifecycleDefined(BaseModel):
    """``touchline.lifecycle-defined``: a version of a definition in force; key ``name/version``."""

    model_config = ConfigDict(extra="ignore")

    name: str
    version: int
    title: str
    cyclic: bool
    stages: list[str] = Field(description="in order")
    off_path: list[str] = Field(default_factory=list)
    effective_from: UtcTime | None = None
    on_change: Literal["pin", "refold"] = "pin"
    definition: str = Field(description="the YAML text")
    sha256: str
