"""Response models: the list of customers, key figures, recent facts, explanations, operations."""

from typing import Any, Literal

from pydantic import BaseModel

from touchline_stage_engine.entrypoints.http.answers import Page, Reason, Time


class StageOfListed(BaseModel):
    """Where a listed customer is in one lifecycle; `slipped_…` where their last move was backward and recent."""

    stage: str
    entered_at: Time
    stalled_level: int
    stalled_since: Time | None
    slipped_from: str | None
    slipped_by: Literal["regress", "lapse"] | None
    slipped_at: Time | None
    reason: str | None


class CustomerSummary(BaseModel):
    """A customer's summary. `last_seen_at`: the last activity; `first_…`: of the first touchpoint."""

    customer_id: str
    name: str | None
    email: str | None
    traits: dict[str, Any]
    touchpoints: int
    value: float
    purchases: int
    last_purchase_at: Time | None
    last_seen_at: Time | None
    first_seen_at: Time | None
    first_channel: str | None
    first_source: str | None


class ListedCustomer(CustomerSummary):
    """A customer's summary, and where they are in every running lifecycle."""

    stages: dict[str, StageOfListed]


class Customers(Page[ListedCustomer]):
    """A page of customers.

    `total` counts up to 10,000, with filters of stages up to 1,000; `total_is_exact` says whether there are more.
    """

    total: int
    total_is_exact: bool


class Names(BaseModel):
    """Names and values of some customers, by id."""

    items: dict[str, dict[str, Any]]


class KeyFigures(BaseModel):
    """Key figures of a span of event time; `…_before`: of the span of the same length before it."""

    as_of: Time
    since: Time
    until: Time
    customers: int
    new_customers: int
    new_customers_before: int
    active: int
    moves: int
    moves_before: int
    moves_back: int
    moves_back_before: int
    stalled: int
    stalled_before: int
    customers_at_risk: int
    paying_at_risk: int
    value_at_risk: float


class RecentFact(BaseModel):
    """A fact of a customer; which fields there are depends on `fact`."""

    customer_id: str
    lifecycle: str
    fact: Literal["move", "stall", "recovery"]
    occurred_at: Time
    backfill: bool
    move: str | None = None
    from_stage: str | None = None
    to_stage: str | None = None
    reason: Reason | None = None
    stage: str | None = None
    level: int | None = None
    stalled_seconds: float | None = None


class Shown(BaseModel):
    """A touchpoint as evidence."""

    id: str
    source: str
    type: str
    channel: str
    direction: Literal["inbound", "outbound"]
    occurred_at: Time
    properties: dict[str, Any]


class LastMove(BaseModel):
    """The move that led to the stage, the rule behind it in words, and the touchpoints that met it."""

    move: str
    from_stage: str | None
    to_stage: str
    occurred_at: Time
    reason: Reason
    rule: str | None
    evidence: list[Shown]


class ConditionProgress(BaseModel):
    """A condition: `have` of `need` touchpoints count now; the earliest of them until `counts_until`."""

    text: str
    have: int
    need: int
    holds: bool
    last_at: Time | None
    counts_until: Time | None


class OpenRuleAnswer(BaseModel):
    """A rule that leads somewhere from the stage, in the order it is tried."""

    to_stage: str
    to_title: str
    reason: str
    of_lifecycle: bool
    conditions: list[ConditionProgress]


class Timer(BaseModel):
    """What the clock does at `due_at`, unless the customer does something before."""

    kind: Literal["stall", "lapse"]
    level: int | None
    due_at: Time
    to_stage: str | None
    to_title: str | None
    after_seconds: float


class StageExplained(BaseModel):
    """Why a customer is in a stage of one lifecycle."""

    lifecycle_version: int
    stage: str
    title: str
    entered_at: Time
    stalled_level: int
    last_activity_at: Time | None
    last_move: LastMove
    open_rules: list[OpenRuleAnswer]
    timers: list[Timer]


class Explanation(BaseModel):
    """Why a customer is where they are, by lifecycle."""

    customer_id: str
    lifecycles: dict[str, StageExplained]


class PartitionState(BaseModel):
    """A partition of the engine. `lag`: records on the topic that are not folded yet; null where Kafka did not say."""

    partition: int
    owner: str | None
    epoch: int
    claimed_at: Time | None
    next_offset: int
    lag: int | None
    outbox_waiting: int
    timers_waiting: int
    timers_due: int
    next_timer_at: Time | None
    folded: int
    duplicates: int
    conflicts: int
    dead_letters: int
    erased: int


class EngineOperations(BaseModel):
    """What runs, and how far it is."""

    version: str
    partitions: list[PartitionState]
    lag: int | None
    outbox_waiting: int
    timers_due: int
    settings: dict[str, Any]
