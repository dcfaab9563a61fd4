"""The steps of a sequence, as a play's text has them.

::

    steps:
      - send: {channel: email, subject: "Welcome", body: "…"}
      - wait: 3d
      - wait_until: {touchpoint: [demo_booked], within: 5d}
      - branch:
          on: happened
          then: [{send: {channel: email, subject: "See you soon", body: "…"}}]
          else: [{send: {channel: webhook, endpoint: crm, subject: "Call {{ customer_id }}"}}]
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from touchline_schemas.events.facts import MoveKind

from touchline_notifier.core.plays.durations import Duration, say
from touchline_notifier.core.plays.parts import ActionSpec, BusinessDelay, Condition, If, Names, Part, one_or_several

LONGEST_WAIT = timedelta(days=365)
_WHERE = ("properties", "channel", "source", "direction", "type")
Outcome = Literal["happened", "timed_out"]
"""How a `wait_until` ended."""


class WaitUntil(Part):
    """Wait for something that the customer does, or for a move, and at most for so long."""

    touchpoint: Names = Field(default=(), description="types of touchpoints, or '*'")
    where: dict[str, Condition] = Field(
        default_factory=dict, description="of the touchpoint: properties.…, channel, source, direction"
    )
    move: Annotated[
        tuple[MoveKind, ...], BeforeValidator(one_or_several, json_schema_input_type=MoveKind | tuple[MoveKind, ...])
    ] = Field(default=(), description="enter, advance, regress, renew, lapse")
    stage: Names = Field(default=(), description="of a move: the stage moved into")
    lifecycle: Names = Field(default=(), description="of a move; left out: the lifecycle that the sequence began in")
    within: Duration = Field(description="the longest wait; then the outcome is timed_out")

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        of_move = bool(self.move or self.stage)
        if of_move == bool(self.touchpoint):
            raise ValueError("write either touchpoint: [types], or move: [kinds] or stage: [names] of a move")
        if self.touchpoint and self.lifecycle:
            raise ValueError("lifecycle belongs to a move")
        if of_move and self.where:
            raise ValueError("where belongs to touchpoint")
        wrong = next((path for path in self.where if path.split(".")[0] not in _WHERE), None)
        if wrong is not None:
            raise ValueError(f"where: {wrong!r} is no path of a touchpoint: write properties.{wrong}")
        if self.within > LONGEST_WAIT:
            raise ValueError(f"within: {say(self.within)} is longer than {say(LONGEST_WAIT)}, the longest wait")
        return self


class Branch(Part):
    """Which steps come next; after them the sequence goes on behind the branch."""

    on: Outcome | If = Field(
        description="happened or timed_out: the outcome of the wait_until before; or conditions, as under `if`"
    )
    then: "tuple[Step, ...]" = Field(default=(), description="where it holds")
    otherwise: "tuple[Step, ...]" = Field(default=(), alias="else", description="where it does not")

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if not self.then and not self.otherwise:
            raise ValueError("write steps under then, under else, or under both")
        if isinstance(self.on, If) and not self.on.profile and not self.on.history:
            raise ValueError("on: write profile: {…} or history: […], or happened or timed_out")
        return self


_KINDS = ("send", "wait", "wait_until", "branch")


class Step(Part, json_schema_extra={"oneOf": [{"required": [kind]} for kind in _KINDS]}):
    """One step: one of send, wait, wait_until and branch."""

    title: str | None = Field(default=None, max_length=100, description="a few words for the console's diagram")
    send: ActionSpec | None = Field(default=None, description="a message, as a play's `action`")
    wait: Duration | BusinessDelay | None = Field(default=None, description="so long: 3d, or {business_days: 2}")
    wait_until: WaitUntil | None = None
    branch: Branch | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, value: Any) -> Any:
        if isinstance(value, dict) and not set(value) - {"title", *_KINDS}:
            given = [kind for kind in _KINDS if value.get(kind) is not None]
            if len(given) != 1:
                said = " and ".join(given) or "none"
                raise ValueError(f"a step is one of {', '.join(_KINDS)}, and this one has {said}: write one a step")
        return value

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if isinstance(self.wait, timedelta) and self.wait > LONGEST_WAIT:
            raise ValueError(f"wait: {say(self.wait)} is longer than {say(LONGEST_WAIT)}, the longest wait")
        problem = None if self.send is None else self.send.unsendable()
        if problem is not None:
            raise ValueError(f"send: {problem}")
        return self

    @property
    def kind(self) -> Literal["send", "wait", "wait_until", "branch"]:
        """Which of the four it is."""
        if self.send is not None:
            return "send"
        if self.wait is not None:
            return "wait"
        return "wait_until" if self.wait_until is not None else "branch"

    def with_send(self, spec: ActionSpec) -> "Step":
        """The same step with another message."""
        return self.model_copy(update={"send": spec})


Branch.model_rebuild()
