"""Requests and responses of the routes about definitions."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from touchline_runtime.publishing.answers import Comment, DefinitionFault, DefinitionText
from touchline_schemas.times import parse_instant

from touchline_stage_engine.entrypoints.http.analysis_answers import StageRules
from touchline_stage_engine.entrypoints.http.answers import LifecycleVersion


def _instant(text: str) -> str:
    parse_instant(text)
    return text


Instant = Annotated[str, AfterValidator(_instant), Field(json_schema_extra={"format": "date-time"})]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    definition: DefinitionText = Field(description="the YAML")


class CheckRequest(_Request):
    """A definition to check."""


class DifferencesRequest(_Request):
    """A definition to compare. `version`: with this one; by default with the version in force."""

    version: int | None = Field(default=None, ge=1, le=2_147_483_647)


class PublicationRequest(_Request):
    """A definition to publish.

    `on_change` and `effective_from` replace those of the text; `effective_from: null` means from now on. `base` is the
    version that the draft was made from (0: none was in force); the number of the new version is then assigned. Without
    it, the text's `version` has to be one higher than the last version.
    """

    comment: Comment = ""
    on_change: Literal["pin", "refold"] | None = None
    effective_from: Instant | None = None
    base: int | None = Field(default=None, ge=0, le=2_147_483_647)


class PlayTrigger(BaseModel):
    """A play whose facts are counted: its `when`."""

    model_config = ConfigDict(extra="forbid")

    play: str = Field(max_length=200)
    when: dict[str, str | int | list[str | int]]

    @model_validator(mode="after")
    def _names_a_fact(self) -> "PlayTrigger":
        if not isinstance(self.when.get("fact"), str):
            raise ValueError("when.fact is missing: write stage-changed, customer-stalled or customer-recovered")
        return self


class SimulationAsked(_Request):
    """A definition to simulate. `on_change` and `effective_from` as in a publication.

    `plays`: the facts that each of them would consider are counted.
    """

    plays: list[PlayTrigger] = Field(default=[], max_length=500)

    on_change: Literal["pin", "refold"] | None = None
    effective_from: Instant | None = None


class Checked(BaseModel):
    """The result of a check. `warnings`: types that look misspelt, in a text without errors.

    `diagram` is Mermaid text, `stages` the rules in words; null where the text is wrong.
    """

    ok: bool
    errors: list[DefinitionFault]
    warnings: list[DefinitionFault]
    diagram: str | None
    stages: list[StageRules] | None
    title: str | None
    lifecycle: str | None
    version: int | None


class Version(LifecycleVersion):
    """A version with its definition (YAML)."""

    definition: str


class Withdrawn(BaseModel):
    """The versions that do not run any more."""

    withdrawn: list[int]


class SimulationStarted(BaseModel):
    """The id of a simulation that runs."""

    id: str


class Simulation(BaseModel):
    """A simulation.

    `result` is of a sample of the customers at first (`sampled` true), then of all. `error`: why it failed.
    """

    id: str
    lifecycle: str
    state: Literal["running", "done", "failed", "cancelled"]
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    author: str
    created_at: str
    finished_at: str | None


class SimulatedCustomer(BaseModel):
    """A customer whom a simulation would move. Null: no stage."""

    customer_id: str
    running: str | None
    candidate: str | None
