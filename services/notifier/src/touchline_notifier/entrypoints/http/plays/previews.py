"""The route that previews a play over the facts of the last days."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.http.problems import Problem
from touchline_runtime.publishing.answers import DefinitionText
from touchline_schemas.identity import customer_key

from touchline_notifier.application.plays.checking import PlayChecker
from touchline_notifier.application.plays.live import LivePlays
from touchline_notifier.application.plays.previewing import (
    MOST_DAYS,
    PreviewBusyError,
    PreviewOrder,
    PreviewProcesses,
    order_texts,
)
from touchline_notifier.entrypoints.http.plays.answers import problems
from touchline_notifier.entrypoints.http.plays.drafts import CustomerId, checked_text
from touchline_notifier.entrypoints.http.plays.publishing import PlayName


class PreviewRequest(BaseModel):
    """A preview. `definition`: a draft; by default the play in force."""

    model_config = ConfigDict(extra="forbid")

    definition: DefinitionText | None = Field(default=None, description="the YAML")
    days: int = Field(default=7, ge=1, le=MOST_DAYS, description="how many days back from now")
    customer_id: CustomerId = Field(default=None, description="the facts of this customer alone")
    ignore_backfill: bool = Field(
        default=False, description="take facts of imported history as if each had just happened"
    )
    limit: int = Field(default=50, ge=0, le=500, description="items that would be sent, and as many others")


class OutcomeCount(BaseModel):
    """How many actions would have ended so. `reason`: its code."""

    outcome: str
    reason: str | None
    actions: int


class Limit(BaseModel):
    """What held an action back."""

    code: str
    text: str


class Wait(BaseModel):
    """A decision to wait."""

    at: str
    reason: str | None


class PreviewedAction(BaseModel):
    """What would have become of an action. `limits`: all that held it back. `waited`: what it waited for before."""

    customer_id: str
    at: str
    lifecycle: str
    stage: str | None
    channel: str
    outcome: str = Field(description="would_be_sent, held, held_out or cancelled")
    reason: str | None
    limits: list[Limit]
    waited: list[Wait]
    subject: str | None
    body: str | None
    locale: str | None = Field(description="the language of the texts; null: the play does not say")


class Preview(BaseModel):
    """What a play would have done. `share`: of the customers whose facts were read; `outcomes` counts their actions."""

    play: str
    since: str
    until: str
    share: float
    facts: int
    customers: int
    actions: int
    outcomes: list[OutcomeCount]
    items: list[PreviewedAction]


@dataclass(frozen=True)
class PreviewRoutes:
    """What the route needs."""

    live: LivePlays
    checker: PlayChecker
    processes: PreviewProcesses

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(prefix="/v1/plays", tags=["plays"])

        @router.post(
            "/{name}/previews",
            summary="Preview a play: who would have been sent what over the last days, and what held back the rest",
            responses=problems(not_found="no such play is in force", busy="another preview is running"),
            response_model=Preview,
        )
        async def preview(name: PlayName, body: PreviewRequest) -> dict[str, Any]:
            text, play = await checked_text(self.live, self.checker, name, body.definition)
            order = PreviewOrder(
                play.play,
                order_texts(self.live.in_force.sources, play.play, text),
                body.days,
                None if body.customer_id is None else customer_key(body.customer_id),
                body.ignore_backfill,
                body.limit,
            )
            try:
                return await self.processes.run(order)
            except PreviewBusyError:
                detail = "another preview is running in this notifier: try again in a few seconds"
                raise Problem(429, detail, type="busy", headers={"Retry-After": "5"}) from None

        return router
