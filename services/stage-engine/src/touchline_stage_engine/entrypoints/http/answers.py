"""Response models of the query API. Every response is validated against its model. Times are RFC 3339, in UTC."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field
from touchline_runtime.http.problems import problem_responses

T = TypeVar("T")
Time = Annotated[str, Field(examples=["2026-03-01T12:00:00Z"])]
Share = Annotated[float, Field(ge=0, le=1)]


class Page(BaseModel, Generic[T]):
    """Some items of a list. `next` is the cursor of the next page; null on the last page."""

    items: list[T]
    next: str | None


def problems(**described: str) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route: its own (`not_found=…`), and those of every route."""
    return problem_responses(
        {
            401: "a token of TOUCHLINE_API_TOKENS is missing",
            403: "the token's role is too low" if "conflict" in described else None,
            404: described.get("not_found"),
            409: described.get("conflict"),
            422: "a parameter is wrong",
            503: "PostgreSQL or Kafka does not answer; try again after Retry-After",
        }
    )


class Stage(BaseModel):
    """A customer's stage in one lifecycle. `due_at`: when the next timer fires without further activity."""

    stage: str
    entered_at: Time
    sequence: int
    version: int
    stalled_level: int
    due_at: Time | None


class Customer(BaseModel):
    """A customer's stages, by lifecycle."""

    customer_id: str
    aliases: list[str]
    touchpoints: int
    last_touchpoint_at: Time | None
    stages: dict[str, Stage]


class Touchpoint(BaseModel):
    """A stored touchpoint. `original_key`: the key under which it was received, if it is another."""

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
    """The status of a touchpoint.

    `accepted`: it waits on its topic. `folded`: it is stored and counts. `merged`: it was transferred to the customer
    to whom its key belongs. `refused`: nothing of that; `reason` says why (`erased`: its customer was erased after it
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


class _Fact(BaseModel):
    lifecycle: str
    sequence: int
    occurred_at: Time
    lifecycle_version: int
    backfill: bool


class MoveFact(_Fact):
    """A move. `from_stage` is null on `enter`."""

    fact: Literal["move"]
    move: str
    from_stage: str | None
    to_stage: str
    reason: Reason
    previous_stage_seconds: float | None


class StallFact(_Fact):
    """A stall of level `level`, without activity since `since`."""

    fact: Literal["stall"]
    stage: str
    level: int
    since: Time


class RecoveryFact(_Fact):
    """The end of a stall."""

    fact: Literal["recovery"]
    stage: str
    stalled_seconds: float | None
    touchpoint_id: str | None


AnyFact = Annotated[MoveFact | StallFact | RecoveryFact, Field(discriminator="fact")]


class Conflict(BaseModel):
    """A link that does not count.

    ``refused-link``: two known customers, and the link between two keys that would have joined them.
    ``shared-key``: a key that more customers name than TOUCHLINE_SHARED_KEY_LIMIT, with how many other keys it is
    named, and since when that has been so; it joins nobody.
    """

    kind: Literal["refused-link", "shared-key"]
    customers: list[str]
    link: list[str]
    key: str | None
    named_with: int | None
    occurred_at: Time
    touchpoint_id: str | None
    source: str | None


class Mind(BaseModel):
    """The buying motive of a customer, with its reasons."""

    customer_id: str
    reading: Literal["curiosity", "habit", "value"]
    because: list[str]
    purchases: int
    days_between_purchases: float | None
    evenness: float | None
    mood: Literal["approval", "indifference", "displeasure"] | None
    said_at: Time | None


class CustomerStageAnswer(BaseModel):
    """The stage of a top customer in one lifecycle."""

    stage: str
    entered_at: Time
    stalled_level: int


class TopCustomer(BaseModel):
    """A customer by value, and their stage in every lifecycle."""

    customer_id: str
    value: float
    purchases: int
    last_purchase_at: Time | None
    stages: dict[str, CustomerStageAnswer]


class StageAbout(BaseModel):
    """A stage as its definition describes it."""

    name: str
    title: str
    about: str | None


ManagedBy = Literal["file", "api"]


class Lifecycle(BaseModel):
    """The newest version of a running lifecycle. `effective_from` null: in force from the beginning.

    `managed_by` file: it comes from a folder and changes with its file alone.
    """

    name: str
    version: int
    managed_by: ManagedBy
    title: str
    about: str | None
    cyclic: bool
    stages: list[StageAbout]
    off_path: list[StageAbout]
    effective_from: Time | None
    started_at: Time


class LifecycleVersion(BaseModel):
    """A version that was started at some time. `in_force`: the newest that runs. `author`: who published it."""

    version: int
    effective_from: Time | None
    on_change: Literal["pin", "refold"]
    started_at: Time
    running: bool
    in_force: bool
    managed_by: ManagedBy
    author: str | None
    comment: str | None
    sha256: str


class LifecycleInFull(Lifecycle):
    """A lifecycle with its definition (YAML) and every version that was ever started."""

    definition: str
    versions: list[LifecycleVersion]


class FunnelStep(BaseModel):
    """A stage of a funnel. The conversions are shares of those who reached the previous and the first stage."""

    stage: str
    title: str
    customers: int
    stalled: int
    reached: int
    conversion_from_previous: Share | None
    conversion_overall: Share | None
    median_seconds: float | None


class OffPath(BaseModel):
    """A stage off the path."""

    stage: str
    title: str
    customers: int
    stalled: int


class Funnel(BaseModel):
    """How many customers reached each stage."""

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
    """A stalled customer, without activity since `since`."""

    customer_id: str
    stage: str
    entered_at: Time
    stalled_level: int
    since: Time


class Slipping(BaseModel):
    """A customer at risk: stalled or slipped back. `since`: last activity before the stall, else the backward move."""

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
