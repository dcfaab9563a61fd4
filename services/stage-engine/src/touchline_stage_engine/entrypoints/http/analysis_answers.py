"""Response models about a lifecycle over all customers. `as_of`: when the answer was computed."""

from typing import Any

from pydantic import BaseModel

from touchline_stage_engine.entrypoints.http.answers import Effort, Flows, Funnel, Share, Time


class FunnelComputed(Funnel):
    """A funnel of those who entered in the span."""

    as_of: Time


class FlowsComputed(Flows):
    """Moves that occurred in the span."""

    as_of: Time


class EffortComputed(Effort):
    """Touchpoints that occurred in the span."""

    as_of: Time


class StagePeople(BaseModel):
    """People in a stage at the end of each day."""

    stage: str
    title: str
    customers: list[int]


class Population(BaseModel):
    """People by stage at the end of each day (UTC); the last day ends at `as_of`."""

    lifecycle: str
    as_of: Time
    days: list[str]
    stages: list[StagePeople]


class CurvePoint(BaseModel):
    """After `days`, `share` are still in the stage (95 % limits); `at_risk` had stayed that long."""

    days: float
    share: Share
    lower: Share
    upper: Share
    at_risk: int


class StageTime(BaseModel):
    """How long customers stay in a stage. `left` of `stays` have ended; the others count as censored."""

    stage: str
    title: str
    stays: int
    left: int
    inside: int
    median_seconds: float | None
    median_lower_seconds: float | None
    median_upper_seconds: float | None
    curve: list[CurvePoint]


class TimeInStage(BaseModel):
    """Kaplan-Meier estimates, one a stage."""

    lifecycle: str
    as_of: Time
    stages: list[StageTime]


class CohortAnswer(BaseModel):
    """Customers who entered in a month: `shares[n]` of them reached the stage within n + 1 months of entry."""

    month: str
    size: int
    shares: list[Share]


class Cohorts(BaseModel):
    """Cohorts by month of entry; each row's last column is still filling."""

    lifecycle: str
    stage: str
    as_of: Time
    cohorts: list[CohortAnswer]


class StageDropOut(BaseModel):
    """Where paths end: of those whose furthest stage it is, who are `stalled` in it or have `left_back`."""

    stage: str
    title: str
    reached: int
    ended_here: int
    stalled: int
    left_back: int
    lost: int
    lost_share: Share | None


class MonthOfStage(BaseModel):
    """Arrivals in a stage in a month, first stalls in it, and moves back out of it."""

    month: str
    stage: str
    arrived: int
    stalled: int
    back: int


class DropOut(BaseModel):
    """Where customers drop out, and since when."""

    lifecycle: str
    as_of: Time
    stages: list[StageDropOut]
    months: list[MonthOfStage]


class RuleText(BaseModel):
    """A rule as one stage tries it; all `conditions` have to hold. `of_lifecycle`: it is tried in every stage."""

    to_stage: str
    to_title: str
    reason: str
    conditions: list[str]
    of_lifecycle: bool


class LapseText(BaseModel):
    """Where time alone takes a customer."""

    after_seconds: float
    to_stage: str
    to_title: str


class StageRules(BaseModel):
    """A stage: its rules in the order they are tried, and after how long without activity it stalls or lapses."""

    stage: str
    title: str
    about: str | None
    off_path: bool
    rules: list[RuleText]
    stall_after_seconds: list[float]
    lapse: LapseText | None


class RulesOfLifecycle(BaseModel):
    """The rules of the newest running version in words."""

    lifecycle: str
    version: int
    stages: list[StageRules]


class FirstTouchpoint(BaseModel):
    """Customers whose first touchpoint was on a channel and came from a source."""

    channel: str
    source: str
    customers: int


class FirstTouchpoints(BaseModel):
    """Channels and sources of first touchpoints, the most frequent first."""

    items: list[FirstTouchpoint]
    as_of: Time


class Computing(BaseModel):
    """The answer is being computed: retry after Retry-After."""

    state: str


COMPUTING: dict[int | str, dict[str, Any]] = {
    202: {"description": "It is being computed; retry after Retry-After.", "model": Computing}
}
