"""The route that sends a message of a play as a test."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.audit.routes import actor_of
from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.http.problems import Problem
from touchline_runtime.publishing.answers import DefinitionText
from touchline_schemas.identity import customer_key

from touchline_notifier.application.plays.checking import PlayChecker
from touchline_notifier.application.plays.live import LivePlays
from touchline_notifier.application.plays.testing import PlayTester, TestMessage, TestRefusedError, TestResult
from touchline_notifier.core.plays.rendering import RenderingError
from touchline_notifier.entrypoints.http.plays.answers import problems
from touchline_notifier.entrypoints.http.plays.drafts import CustomerId, checked_text
from touchline_notifier.entrypoints.http.plays.publishing import PlayName


class TestRequest(BaseModel):
    """A test. `to`: your own address, on channels that write to one (email). `definition`: a draft; by default the play
    in force. `customer_id`: for whom the texts are rendered; by default whom the newest action was about. `locale`: in
    this language of the play; by default in that customer's. `step`: of a sequence, such as 1 or 3.then.1; by default
    its first message.
    """

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str | None, Field(min_length=1, max_length=400), WITHOUT_NUL] = None
    definition: DefinitionText | None = Field(default=None, description="the YAML")
    customer_id: CustomerId = None
    locale: Annotated[str | None, Field(min_length=1, max_length=35), WITHOUT_NUL] = None
    step: Annotated[str | None, Field(min_length=1, max_length=100), WITHOUT_NUL] = None


class Tested(BaseModel):
    """A test, sent once. `error`: why the endpoint did not accept it. The texts are those that were sent."""

    play: str
    customer_id: str
    channel: str
    endpoint: str
    to: str | None
    outcome: Literal["sent", "failed"]
    status: int | None
    error: str | None
    subject: str | None
    body: str | None
    locale: str | None = Field(description="the language of the texts; null: the play does not say")


@dataclass(frozen=True)
class TestingRoutes:
    """What the route needs."""

    live: LivePlays
    checker: PlayChecker
    tester: PlayTester
    partitions: int

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(prefix="/v1/plays", tags=["plays"])

        @router.post(
            "/{name}/test",
            summary="Send a message of a play as a test, once: it counts for nothing",
            responses=problems(
                not_found="no such play is in force",
                conflict="sending is off, the endpoint is disabled, the address is suppressed, or nobody is known",
                busy="you have sent 30 tests in the last hour",
            ),
            response_model=Tested,
        )
        async def test(name: PlayName, body: TestRequest, request: Request) -> Mapping[str, Any]:
            text, play = await checked_text(self.live, self.checker, name, body.definition)
            customer = None if body.customer_id is None else customer_key(body.customer_id)
            message = TestMessage(play, text, body.to, customer, body.locale, body.step)
            try:
                result = await self.tester.send(
                    message, self.live.in_force.endpoints, self.partitions, actor_of(request), datetime.now(UTC)
                )
            except TestRefusedError as error:
                if error.kind == "too-many-tests":
                    raise Problem(429, str(error), type=error.kind, headers={"Retry-After": "600"}) from None
                raise Problem(422 if error.invalid else 409, str(error), type=error.kind) from None
            except RenderingError as error:
                detail = f"{error}, for this customer: name another, or write a default into the template"
                raise Problem(422, detail, type="template") from None
            return _answer(play.play, result)

        return router


def _answer(play: str, result: TestResult) -> Mapping[str, Any]:
    return {
        "play": play,
        "customer_id": result.customer_id,
        "channel": result.channel,
        "endpoint": result.endpoint,
        "to": result.rendered.to,
        "outcome": result.outcome,
        "status": result.status,
        "error": result.error,
        "subject": result.rendered.subject,
        "body": result.rendered.text,
        "locale": result.rendered.locale,
    }
