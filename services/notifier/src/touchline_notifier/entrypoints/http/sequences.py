"""Routes about sequences: how many people are at each step, and who."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel
from touchline_runtime.answer_cache import AnswerCache
from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.http.problems import Problem
from touchline_schemas.identity import customer_key

from touchline_notifier.application.api_ports import BadCursorError, SequenceReads
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.sequences.definition import definition_of
from touchline_notifier.core.sequences.describe import described

Name = Annotated[str, Path(description="the play's name")]


class StepFigures(BaseModel):
    """A step, where it leads, and its people. `left`: how those who were there left it, by result or reason."""

    step: str
    kind: Literal["send", "wait", "wait_until", "branch"]
    title: str | None
    text: str
    depth: int
    next: str | None
    then: str | None
    otherwise: str | None
    entered: int
    here: int
    left: dict[str, int]


class SequenceFigures(BaseModel):
    """The steps of a sequence with their people. `runs`: by how they ended (`running`: they go on). `earlier_runs`: of
    earlier versions, each of which has steps of its own.
    """

    play: str
    steps: list[StepFigures]
    runs: dict[str, int]
    earlier_runs: dict[str, int]


class Runs(BaseModel):
    """A page of runs."""

    items: list[dict[str, Any]]
    next: str | None


def sequences_router(reads: SequenceReads, plays: Mapping[str, Play], answers: AnswerCache) -> APIRouter:
    """``/v1/plays/{name}/steps`` and ``/v1/plays/{name}/runs``."""
    router = APIRouter(prefix="/v1/plays", tags=["plays"])

    def known(name: str) -> Play:
        if name not in plays:
            running = ", ".join(sorted(plays)) or "none"
            raise Problem(404, f"there is no play {name!r} running; there are: {running}", type="unknown-play")
        return plays[name]

    @router.get("/{name}/steps", summary="The steps of a sequence, and how many people are at each")
    async def steps(
        name: Name,
        since: Annotated[AwareDatetime | None, Query(description="runs that began from this instant on")] = None,
    ) -> SequenceFigures:
        play = known(name)
        if not play.steps:
            return SequenceFigures(play=name, steps=[], runs={}, earlier_runs={})
        definition = definition_of(play)
        key = ("steps", name, definition.digest, since)
        found, _ = await answers.get(key, lambda: _figures(reads, name, definition.digest, since))
        none = {"entered": 0, "here": 0, "left": {}}
        listed = [
            StepFigures(**{**step, "otherwise": step["else"]}, **found["steps"].get(step["step"], none))
            for step in described(definition)
        ]
        return SequenceFigures(play=name, steps=listed, runs=found["ended"], earlier_runs=found["earlier"])

    @router.get("/{name}/runs", summary="Who is in a sequence, the newest first")
    async def runs(
        name: Name,
        customer_id: Annotated[str | None, WITHOUT_NUL] = None,
        step: Annotated[str | None, Query(description="where they are, such as 2 or 3.then.1"), WITHOUT_NUL] = None,
        state: Annotated[Literal["running", "ended"] | None, Query(description="left out: both")] = None,
        limit: Annotated[int, Query(ge=1, le=500, description="items a page")] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> Runs:
        known(name)
        try:
            page = await reads.runs(
                name,
                customer_id=None if customer_id is None else customer_key(customer_id),
                step=step,
                running=None if state is None else state == "running",
                limit=limit,
                cursor=cursor,
            )
        except BadCursorError as error:
            raise Problem(400, str(error), type="bad-cursor") from None
        return Runs(items=page.items, next=page.next)

    return router


async def _figures(reads: SequenceReads, name: str, digest: bytes, since: datetime | None) -> dict[str, Any]:
    return await reads.steps(name, digest, since)
