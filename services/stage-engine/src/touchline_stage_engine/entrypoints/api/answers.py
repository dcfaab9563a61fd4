"""What the query API answers: the shapes on its page, which every answer is held to. Times are RFC 3339, in UTC."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.problems import MEDIA_TYPE

T = TypeVar("T")
Time = Annotated[str, Field(examples=["2026-03-01T12:00:00Z"])]
Share = Annotated[float, Field(ge=0, le=1)]


class Page(BaseModel, Generic[T]):
    """Some items of a list. `next` is the cursor of the page after it; null on the last one."""

    items: list[T]
    next: str | None


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


def problems(**described: str) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside 200: its own (`not_found=…`), and what any route may."""
    statuses = {
        401: "a token of TOUCHLINE_API_TOKENS is missing",
        404: described.get("not_found"),
        422: "a parameter is wrong",
        503: "PostgreSQL or Kafka does not answer; try again after Retry-After",
    }
    schema = Problem.model_json_schema()
    return {
        status: {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, text in statuses.items()
        if text is not None
    }


class Stage(BaseModel):
    """Where a customer stands in one lifecycle. `due_at`: when the next timer fires, unless they do something."""

    stage: str
    entered_at: Time
    sequence: int
    version: int
    stalled_level: int
    due_at: Time | None


class Customer(BaseModel):
    """A customer's standing, by lifecycle."""

    customer_id: str
    aliases: list[str]
    touchpoints: int
    last_touchpoint_at: Time | None
    stages: dict[str, Stage]


class Touchpoint(BaseModel):
    """A touchpoint as it is stored. `original_key`: the key it came under, where that was another."""

    id: str
    source: str
    type: str
    channel: str
    direction: Literal["inbound", "outbound"]
    occurred_at: Time
    received_at: Time
    properties: dict[str, Any]
    machine: bool
    backfill: bool
    original_key: str | None


class Whereabouts(BaseModel):
    """What became of a touchpoint.

    `accepted`: it waits on its topic. `folded`: it is stored and counts. `merged`: it was handed over to the customer
    whom its key belongs to. `refused`: nothing of that; `reason` says why (`erased`: its customer was erased after it
    occurred; anything else: it became a dead letter, with `error` and `origin`). `duplicates` and `conflicts`: how
    often it came again, and how often with another content.
    """

    source: str
    id: str
    status: Literal["accepted", "folded", "merged", "refused"]
    customer_id: str | None = None
    merged_into: str | None = None
    original_key: str | None = None
    type: str | None = None
    channel: str | None = None
    occurred_at: Time | None = None
    received_at: Time | None = None
    customers: list[str] = []
    duplicates: int = 0
    conflicts: int = 0
    reason: str | None = None
    error: str | None = None
    origin: str | None = None


class Reason(BaseModel):
    """Why a customer moved."""

    kind: str
    text: str | None
    touchpoint_id: str | None


class _Told(BaseModel):
    lifecycle: str
    sequence: int
    occurred_at: Time
    lifecycle_version: int
    backfill: bool


class MoveTold(_Told):
    """A move. `from_stage` is null on `enter`."""

    fact: Literal["move"]
    move: str
    from_stage: str | None
    to_stage: str
    reason: Reason
    previous_stage_seconds: float | None


class StallTold(_Told):
    """A stall of `level`; the patience had started at `since`."""

    fact: Literal["stall"]
    stage: str
    level: int
    since: Time


class RecoveryTold(_Told):
    """The end of a stall."""

    fact: Literal["recovery"]
    stage: str
    stalled_seconds: float | None
    touchpoint_id: str | None


FactTold = Annotated[MoveTold | StallTold | RecoveryTold, Field(discriminator="fact")]


class Conflict(BaseModel):
    """Two known customers, and the link between two keys that would have joined them."""

    customers: list[str]
    link: list[str]
    occurred_at: Time
    touchpoint_id: str
    source: str


class Mind(BaseModel):
    """The reading of a customer, and how it was reached."""

    customer_id: str
    reading: Literal["curiosity", "habit", "value"]
    because: list[str]
    purchases: int
    days_between_purchases: float | None
    evenness: float | None
    mood: Literal["approval", "indifference", "displeasure"] | None
    said_at: Time | None


class Stand(BaseModel):
    """Where a top customer stands in one lifecycle."""

    stage: str
    entered_at: Time
    stalled_level: int


class TopCustomer(BaseModel):
    """A customer by value, and their stage in every lifecycle."""

    customer_id: str
    value: float
    purchases: int
    last_purchase_at: Time | None
    stages: dict[str, Stand]


class StageAbout(BaseModel):
    """A stage as its definition describes it."""

    name: str
    title: str
    about: str | None


class Lifecycle(BaseModel):
    """The newest version of a lifecycle that runs. `effective_from` null: since ever."""

    name: str
    version: int
    title: str
    about: str | None
    cyclic: bool
    stages: list[StageAbout]
    off_path: list[StageAbout]
    effective_from: Time | None
    started_at: Time


class LifecycleVersion(BaseModel):
    """A version that was started once."""

    version: int
    effective_from: Time | None
    started_at: Time
    running: bool
    sha256: str


class LifecycleInFull(Lifecycle):
    """A lifecycle with its definition (YAML) and every version that was ever started."""

    definition: str
    versions: list[LifecycleVersion]


class FunnelStep(BaseModel):
    """A stage of a funnel; shares are of those who reached the stage before, and the first stage."""

    stage: str
    title: str
    customers: int
    stalled: int
    reached: int
    conversion_from_previous: Share | None
    conversion_overall: Share | None
    median_seconds: float | None


class OffPath(BaseModel):
    """A stage beside the order."""

    stage: str
    title: str
    customers: int
    stalled: int


class Funnel(BaseModel):
    """How many customers came how far."""

    lifecycle: str
    version: int
    stages: list[FunnelStep]
    off_path: list[OffPath]
    published_conversion: dict[str, float]


class Flow(BaseModel):
    """Moves of one kind between two stages. `median_seconds`: time spent in `from_stage`."""

    from_stage: str | None
    to_stage: str
    move: str
    moves: int
    customers: int
    median_seconds: float | None


class Flows(Page[Flow]):
    """Moves between stages, the most frequent first."""

    lifecycle: str


class Stalled(BaseModel):
    """A stalled customer; the patience that ran out had started at `since`."""

    customer_id: str
    stage: str
    entered_at: Time
    stalled_level: int
    since: Time


class Slipping(BaseModel):
    """A customer who is stalled or slipped back. `since`: of the stall's patience, else when they slipped."""

    customer_id: str
    stage: str
    entered_at: Time
    stalled_level: int
    since: Time
    slipped_from: str | None
    slipped_by: Literal["regress", "lapse"] | None
    slipped_at: Time | None
    reason: str | None


class StageEffort(BaseModel):
    """What happened while customers were in a stage."""

    stage: str
    title: str
    customers: int
    outbound: int
    inbound: int
    feedback: int
    feedback_asked: int
    minutes: float
    listening_ratio: float | None


class Effort(BaseModel):
    """Effort and listening by stage."""

    lifecycle: str
    stages: list[StageEffort]
