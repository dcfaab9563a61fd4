"""Requests and responses of the routes about published plays."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.http.problems import problem_responses
from touchline_runtime.publishing.answers import Comment, DefinitionFault, DefinitionText, fault_json
from touchline_schemas.times import to_wire

from touchline_notifier.application.plays.checking import CheckedPlay, Trial
from touchline_notifier.application.plays.ports import PlayVersion

Version = Annotated[int, Field(ge=1, le=2_147_483_647)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    definition: DefinitionText = Field(description="the YAML")


class CheckRequest(_Request):
    """A play to check."""


class DifferencesRequest(_Request):
    """A play to compare. `version`: with this one; by default with the version in force."""

    version: Version | None = None


class PublicationRequest(_Request):
    """A play to publish. `base`: the version that it was made from; 0, or none: no version is in force."""

    comment: Comment = ""
    base: int | None = Field(default=None, ge=0, le=2_147_483_647)


class SwitchRequest(BaseModel):
    """A play's switch, on (true) or off (false)."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool
    reason: Annotated[Comment | None, Field(description="the audit log shows it")] = None


class Switched(BaseModel):
    """A play's switch."""

    play: str
    enabled: bool


class Withdrawn(BaseModel):
    """The version that was in force."""

    withdrawn: int


class Texts(BaseModel):
    """A play's texts for a customer. `step`: of a sequence. `locale`: the language; null: the play does not say.
    `chosen`: the customer would get these; otherwise they show another language of the play. `error`: why the action
    would be held (reason `template`).
    """

    customer_id: str
    step: str | None = None
    locale: str | None = None
    chosen: bool = True
    subject: str | None = None
    body: str | None = None
    html: str | None = None
    to: str | None = None
    data: dict[str, Any] | None = None
    headers: dict[str, str] | None = None
    error: DefinitionFault | None = None


class Checked(BaseModel):
    """The result of a check. `ok`: it can be published. `texts`: the templates, rendered for customers of today."""

    ok: bool
    errors: list[DefinitionFault]
    warnings: list[DefinitionFault]
    play: str | None
    title: str | None
    texts: list[Texts]


class ListedVersion(BaseModel):
    """A version of a play."""

    version: int
    in_force: bool
    author: str
    comment: str
    published_at: str


class WholeVersion(ListedVersion):
    """A version with its definition (YAML)."""

    definition: str


class Versions(BaseModel):
    """A page of versions, newest first. `next` is the cursor of the next page; null on the last page."""

    items: list[ListedVersion]
    next: str | None


def problems(**described: str) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route: its own (`not_found=…`, `conflict=…`), and those of every route."""
    return problem_responses(
        {
            401: "a token of TOUCHLINE_API_TOKENS is missing",
            403: "the token's role is too low",
            404: described.get("not_found"),
            409: described.get("conflict"),
            422: "the request or the definition is wrong",
            429: described.get("busy"),
            503: "PostgreSQL or Kafka does not answer; try again after Retry-After",
        }
    )


def checked_json(checked: CheckedPlay) -> dict[str, Any]:
    """A check as the API reports it."""
    return {
        "ok": checked.play is not None,
        "errors": [fault_json(fault) for fault in checked.faults],
        "warnings": [fault_json(fault) for fault in checked.warnings],
        "play": None if checked.play is None else checked.play.play,
        "title": None if checked.play is None else checked.play.title,
        "texts": [_texts(trial) for trial in checked.trials],
    }


def _texts(trial: Trial) -> dict[str, Any]:
    if trial.rendered is None:
        error = None if trial.fault is None else fault_json(trial.fault)
        return {
            "customer_id": trial.customer_id,
            "step": trial.step,
            "locale": trial.locale,
            "chosen": trial.chosen,
            "error": error,
        }
    rendered = trial.rendered
    return {
        "customer_id": trial.customer_id,
        "step": trial.step,
        "locale": trial.locale,
        "chosen": trial.chosen,
        "subject": rendered.subject,
        "body": rendered.text,
        "html": rendered.html,
        "to": rendered.to,
        "data": dict(rendered.data),
        "headers": dict(rendered.headers),
    }


def version_json(version: PlayVersion) -> Mapping[str, Any]:
    """A version as the API lists it."""
    return {
        "version": version.version,
        "in_force": version.in_force,
        "author": version.author,
        "comment": version.comment,
        "published_at": to_wire(version.published_at),
    }
