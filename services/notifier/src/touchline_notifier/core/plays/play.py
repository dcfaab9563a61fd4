"""A play: on which fact, for whom, which action on which channel, under which limits.

::

    play: win-back
    when: {fact: customer-stalled, lifecycle: service-cycle, stage: [retention], level: 1}
    if:
      profile: {traits.plan: {in: [pro, team]}}
      history: [{type: purchased, count: {gte: 2}, within: 365d}]
    priority: 10
    action: {channel: webhook, endpoint: crm, subject: "…", body: "We miss you, {{ customer_id }}"}
    limits: {per_customer: {count: 1, within: 7d}, quiet_hours: {from: "21:00", to: "08:00"}, max_age: 24h}
    hold_out: 10%

With `steps` instead of `action` it is a sequence (docs/sequences.md).
"""

import re
from collections.abc import Callable
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from touchline_runtime.yaml.positions import Path
from touchline_schemas.events.facts import MoveKind

from touchline_notifier.core.decisions.stage_events import FactType
from touchline_notifier.core.limits.quiet_hours import DAYS, Business, Quiet, zone_named
from touchline_notifier.core.plays.durations import Duration, say
from touchline_notifier.core.plays.parts import ActionSpec, BusinessDelay, If, Names, Part, one_or_several
from touchline_notifier.core.sequences.program import sends, with_messages
from touchline_notifier.core.sequences.steps import Step
from touchline_notifier.core.texts.named_templates import LONGEST_NAME, NAME

DEFAULT_MAX_AGE = timedelta(hours=24)
MOST_STEPS = 50
AUDIENCE_NAME = r"^[a-z0-9]+(?:-[a-z0-9]+)*$"
CONVERSIONS = ("purchased", "renewed", "upgraded", "deal_won")


def _a_zone(name: str) -> str:
    if zone_named(name) is None:
        raise ValueError(f"{name!r} is no time zone: write an IANA name such as Europe/Berlin")
    return name


def _a_share(value: object) -> object:
    if isinstance(value, str) and value.endswith("%"):
        try:
            return float(value[:-1]) / 100
        except ValueError:
            raise ValueError(f"{value!r} is no share: write 10% or 0.1") from None
    return value


Level = Annotated[int, Field(ge=1)]
Zone = Annotated[str, AfterValidator(_a_zone)]


def _a_consent_channel(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", name):
        raise ValueError(f"{name[:80]!r} is no channel: lower-case letters, digits, _ and -, such as product-news")
    return name


ConsentChannel = Annotated[str, AfterValidator(_a_consent_channel)]


def _a_template_name(name: str) -> str:
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a template: letters, digits and ._-/, such as brand.html")
    return name


TemplateName = Annotated[str, AfterValidator(_a_template_name)]


class When(Part):
    """The facts a play matches. What is left out matches everything."""

    fact: FactType
    lifecycle: Names = Field(default=(), description="one or several; left out: all")
    stage: Names = Field(default=(), description="stalled or recovered in, or moved into")
    from_stage: Names = Field(default=(), description="of stage-changed: moved out of")
    move: Annotated[
        tuple[MoveKind, ...], BeforeValidator(one_or_several, json_schema_input_type=MoveKind | tuple[MoveKind, ...])
    ] = Field(default=(), description="of stage-changed: enter, advance, regress, renew, lapse")
    level: Annotated[
        tuple[Level, ...], BeforeValidator(one_or_several, json_schema_input_type=Level | tuple[Level, ...])
    ] = Field(default=(), description="of customer-stalled: 1, 2, …")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.fact != "stage-changed" and (self.move or self.from_stage):
            raise ValueError("move and from_stage belong to fact: stage-changed")
        if self.fact != "customer-stalled" and self.level:
            raise ValueError("level belongs to fact: customer-stalled")
        return self


class Cap(Part):
    """At most ``count`` in any window of that length (rolling, to the microsecond)."""

    count: int = Field(ge=1)
    within: Duration


Caps = Annotated[tuple[Cap, ...], BeforeValidator(one_or_several, json_schema_input_type=Cap | tuple[Cap, ...])]


class QuietHours(Part):
    """On the customer's wall clock. Over midnight when ``from`` is the later one."""

    start: time = Field(alias="from")
    end: time = Field(alias="to")

    @model_validator(mode="after")
    def _some_hours_are_left(self) -> Self:
        if self.start == self.end:
            raise ValueError("from and to are the same: nothing would ever be sent")
        if self.start.tzinfo or self.end.tzinfo:
            raise ValueError("write local times without a zone, such as 21:00")
        return self

    @property
    def quiet(self) -> Quiet:
        """For the arithmetic."""
        return Quiet(self.start, self.end)


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class BusinessDays(Part):
    """On these local days alone."""

    days: Annotated[tuple[Day, ...], BeforeValidator(one_or_several, json_schema_input_type=Day | tuple[Day, ...])] = (
        Field(default=("mon", "tue", "wed", "thu", "fri"), min_length=1)
    )
    holidays: tuple[date, ...] = ()

    @property
    def business(self) -> Business:
        """For the arithmetic."""
        return Business(frozenset(DAYS.index(day) for day in self.days), frozenset(self.holidays))


def _true_means_default(value: object) -> object:
    return {} if value is True else None if value is False else value


class Limits(Part):
    """What holds an action back."""

    per_customer: Caps = Field(
        default=(), description="what reaches one customer over all plays; of a play that reaches none: all its kind"
    )
    per_channel: Caps = Field(default=(), description="over all plays on this channel, for one customer")
    per_play: Caps = Field(default=(), description="of this play, for one customer")
    cool_down: Duration | None = Field(default=None, description="between two of this play: per_play with count 1")
    when_capped: Literal["hold", "drop"] = Field(default="hold", description="hold: until allowed, if not too old then")
    quiet_hours: QuietHours | None = None
    business_days: Annotated[
        BusinessDays | None,
        BeforeValidator(_true_means_default, json_schema_input_type=bool | BusinessDays | None),
    ] = None
    time_zone: Zone | None = Field(default=None, description="for customers whose own isn't known; else UTC")
    max_age: Duration | None = Field(default=None, description="since the fact became true; 24h beyond the delay")
    consent: Literal["required", "not_refused", "none"] | None = Field(
        default=None, description="not_refused by default on channels that write to customers, else none"
    )
    consent_channel: ConsentChannel | None = Field(
        default=None, description="whose consent; the action's channel by default"
    )

    def play_caps(self) -> tuple[Cap, ...]:
        """Caps of the play itself, the cool-down among them."""
        cool = () if self.cool_down is None else (Cap(count=1, within=self.cool_down),)
        return self.per_play + cool


class Goal(Part):
    """What the play is to achieve: counted for treated customers and for the control group."""

    when: Names = CONVERSIONS
    within: Duration = timedelta(days=30)


class Play(Part):
    """One play, as its file says."""

    play: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100, description="its name, once")
    title: str | None = None
    about: str | None = None
    when: When
    if_: If = Field(default_factory=If, alias="if")
    audience: str | None = Field(
        default=None,
        pattern=AUDIENCE_NAME,
        max_length=60,
        description="its members alone, at the decision and just before the send",
    )
    action: ActionSpec = Field(description="what is done; of a sequence: its first message")
    steps: tuple[Step, ...] = Field(
        default=(), max_length=MOST_STEPS, description="a sequence of steps, instead of `action` (docs/sequences.md)"
    )
    limits: Limits = Field(default_factory=Limits)
    priority: int = Field(
        default=0,
        ge=-1000,
        le=1000,
        description="the higher one goes first when capped; give plays that compete different ones",
    )
    contact: bool | None = Field(
        default=None,
        description="whether it reaches the person and uses up their caps; by default: channels that write to "
        "customers, and plays with a consent_channel",
    )
    delay: Duration | BusinessDelay | None = Field(default=None, description="after the fact became true")
    exit: bool = Field(default=True, description="false: also when the customer recovered or moved on meanwhile")
    corrections: bool = Field(default=False, description="true: on corrections, too")
    transactional: bool = Field(default=False, description="exempt from caps, quiet hours and consent, counts for none")
    hold_out: Annotated[float, BeforeValidator(_a_share, json_schema_input_type=str | float)] = Field(
        default=0.0, ge=0, le=1, description="share of customers who get nothing, to compare with: 10% or 0.1"
    )
    goal: Goal = Field(default_factory=Goal)
    templates: dict[TemplateName, str] = Field(
        default_factory=dict,
        description="layouts and partials by name, for the action's texts: {% extends 'brand.html' %}, {% include … %}",
    )
    enabled: bool = True

    @model_validator(mode="before")
    @classmethod
    def _first_message(cls, value: Any) -> Any:
        """A sequence's `action` is its first message."""
        if not isinstance(value, dict) or not value.get("steps"):
            return value
        if value.get("action") is not None:
            raise ValueError("write either action, or steps with a send")
        first = _first_send(value["steps"])
        return value if first is None else {**value, "action": first}

    @model_validator(mode="after")
    def _waits_in_steps(self) -> Self:
        if self.steps and self.delay is not None:
            raise ValueError("delay: a sequence waits by a step: write `- wait: …` before the first send")
        return self

    @model_validator(mode="after")
    def _can_ever_send(self) -> Self:
        if self.limits.max_age and isinstance(self.delay, timedelta) and self.limits.max_age <= self.delay:
            raise ValueError(
                f"limits.max_age ({say(self.limits.max_age)}) is not longer than delay ({say(self.delay)}): every "
                "action would be too old; both count from the fact"
            )
        problem = None if self.steps else self.action.unsendable()
        if problem is not None:
            raise ValueError(f"action: {problem}")
        return self

    @property
    def messages(self) -> "tuple[Play, ...]":
        """The play once for each message that it can send, as a play with that message alone."""
        return tuple(self.with_message(spec) for _, _, spec in sends(self.steps)) if self.steps else (self,)

    def message_paths(self) -> list[tuple[Path, ActionSpec]]:
        """Every message, and where the text has it."""
        return [(path, spec) for _, path, spec in sends(self.steps)] if self.steps else [(("action",), self.action)]

    def with_message(self, spec: ActionSpec) -> "Play":
        """A play of one step that sends this."""
        return self.model_copy(update={"action": spec, "steps": ()})

    def with_messages(self, change: Callable[[ActionSpec], ActionSpec]) -> "Play":
        """The same play with every message changed."""
        return self.model_copy(
            update={"action": change(self.action), "steps": with_messages(self.steps, change)}
            if self.steps
            else {"action": change(self.action)}
        )

    def definition(self) -> dict[str, Any]:
        """Its text as JSON; read again it is the same play."""
        return self.model_dump(
            mode="json", by_alias=True, exclude_unset=True, exclude={"action"} if self.steps else None
        )

    @property
    def max_age(self) -> timedelta:
        """How old a fact may be."""
        if self.limits.max_age is not None:
            return self.limits.max_age
        if isinstance(self.delay, BusinessDelay):
            return DEFAULT_MAX_AGE + timedelta(days=self.delay.business_days * 2 + 7)
        return DEFAULT_MAX_AGE + (self.delay or timedelta(0))

    @property
    def widest_window(self) -> timedelta:
        """How far back actions have to be known to judge the caps."""
        caps = self.limits.per_customer + self.limits.per_channel + self.limits.play_caps()
        return max((cap.within for cap in caps), default=timedelta(0))


def _first_send(steps: Any) -> Any:
    """The first message of steps as they are written, or None."""
    for step in steps if isinstance(steps, list | tuple) else ():
        if isinstance(step, Step):
            step = step.model_dump(by_alias=True, exclude_unset=True)
        if not isinstance(step, dict):
            continue
        if step.get("send") is not None:
            return step["send"]
        branch = step.get("branch")
        if isinstance(branch, dict):
            for arm in ("then", "else"):
                if (found := _first_send(branch.get(arm))) is not None:
                    return found
    return None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of plays, for editors."""
    schema = Play.model_json_schema(by_alias=True, mode="validation")
    schema["required"] = [name for name in schema["required"] if name != "action"]
    schema["oneOf"] = [{"required": ["action"]}, {"required": ["steps"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Touchline play", **schema}
