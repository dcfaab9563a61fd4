"""Routes that check, compare, publish, switch and withdraw plays."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from touchline_runtime.audit.routes import actor_of
from touchline_runtime.errors import Unavailable
from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.http.problems import Problem
from touchline_runtime.publishing.answers import Differences, Published, faulty, refused
from touchline_runtime.publishing.differences import text_difference
from touchline_runtime.publishing.publication import PublicationRefusedError
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError

from touchline_notifier.application.plays import publishing
from touchline_notifier.application.plays.checking import CheckedPlay, PlayChecker
from touchline_notifier.application.plays.live import LivePlays
from touchline_notifier.application.plays.ports import PlayStore, PlayVersion
from touchline_notifier.core.plays.differences import differences, play_of
from touchline_notifier.core.plays.play import Play
from touchline_notifier.entrypoints.http.plays.answers import (
    Checked,
    CheckRequest,
    DifferencesRequest,
    PublicationRequest,
    Switched,
    SwitchRequest,
    Versions,
    WholeVersion,
    Withdrawn,
    checked_json,
    problems,
    version_json,
)

PlayName = Annotated[str, Path(description="the play's name", examples=["win-back"])]
Limit = Annotated[int, Query(ge=1, le=500, description="items a page")]
Cursor = Annotated[str | None, Query(max_length=20, description="`next` of the page before")]
NOT_FOUND = problems(not_found="no such play or version")
CONFLICT = problems(
    not_found="no version of it is in force", conflict="managed by file, or another version is in force"
)


@dataclass(frozen=True)
class PublishingRoutes:
    """What the routes need."""

    store: PlayStore
    live: LivePlays
    checker: PlayChecker

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(prefix="/v1/plays", tags=["plays"])
        self._add_checks(router)
        self._add_versions(router)
        self._add_changes(router)
        return router

    def _add_checks(self, router: APIRouter) -> None:
        @router.post(
            "/check",
            summary="Check a play: every error with its line, and its texts for customers of today",
            responses=problems(),
            response_model=Checked,
        )
        async def check(body: CheckRequest) -> dict[str, Any]:
            return checked_json(await self.checker.check(body.definition))

        @router.post(
            "/{name}/differences",
            summary="Compare a play with a version: text and meaning",
            responses=NOT_FOUND,
            response_model=Differences,
        )
        async def compare(name: PlayName, body: DifferencesRequest) -> dict[str, Any]:
            number, text = await self._text(name, body.version)
            try:
                meaning = differences(play_of(text), play_of(body.definition))
            except FaultyDocumentError as error:
                raise faulty(error) from None
            before = f"version {number}" if number else "in force"
            return {
                "version": number,
                "same": not meaning,
                "text": text_difference(text, body.definition, before, "draft"),
                "meaning": [{"where": one.where, "text": one.text} for one in meaning],
            }

    def _add_versions(self, router: APIRouter) -> None:
        @router.get(
            "/{name}/versions",
            summary="Every published version of a play, newest first",
            responses=NOT_FOUND,
            response_model=Versions,
        )
        async def versions(name: PlayName, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
            if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
                raise Problem(422, "cursor: this list did not issue it", type="invalid-request")
            found = await self._versions(name)
            after = [one for one in found if cursor is None or one.version < int(cursor)]
            more = len(after) > limit
            items = [version_json(one) for one in after[:limit]]
            return {"items": items, "next": str(after[limit - 1].version) if more else None}

        @router.get(
            "/{name}/versions/{version}",
            summary="One version with its definition",
            responses=NOT_FOUND,
            response_model=WholeVersion,
        )
        async def version(name: PlayName, version: int) -> dict[str, Any]:
            for one in await self._versions(name):
                if one.version == version:
                    return {**version_json(one), "definition": one.definition}
            raise Problem(404, f"play {name!r} has no version {version}", type="not-found")

    def _add_changes(self, router: APIRouter) -> None:
        @router.put(
            "/{name}",
            summary="Publish a play: every fact from now on is decided by it, on all notifiers",
            status_code=201,
            responses={**CONFLICT, 200: {"model": Published, "description": "in force already, with the same text"}},
            response_model=Published,
        )
        async def publication(name: PlayName, body: PublicationRequest, request: Request) -> Response:
            checked = await self.checker.check(body.definition, try_templates=False)
            try:
                accept(checked, name)
                draft = publishing.Draft(name, body.definition, body.comment, body.base)
                in_files = self.live.in_force.in_files
                done = await publishing.publish(self.store, draft, actor_of(request), datetime.now(UTC), in_files)
            except FaultyDocumentError as error:
                raise faulty(error) from None
            except PublicationRefusedError as error:
                raise refused(error) from None
            await self._take_up()
            location = f"/v1/plays/{name}/versions/{done.version}"
            return JSONResponse(done._asdict(), 201 if done.changed else 200, {"Location": location})

        @router.put(
            "/{name}/switch",
            summary="Switch a published play on or off, whatever its version",
            responses=CONFLICT,
            response_model=Switched,
        )
        async def switch(name: PlayName, body: SwitchRequest, request: Request) -> dict[str, Any]:
            try:
                play = await publishing.switch(
                    self.store, _storable(name), body.enabled, actor_of(request), body.reason,
                    self.live.in_force.in_files,
                )  # fmt: skip
            except LookupError:
                raise _not_published(name) from None
            except PublicationRefusedError as error:
                raise refused(error) from None
            await self._take_up()
            return {"play": play.play, "enabled": play.enabled}

        @router.delete(
            "/{name}",
            summary="Stop a published play; a shipped one returns to the shipped text",
            responses=CONFLICT,
            response_model=Withdrawn,
        )
        async def withdrawal(
            name: PlayName, request: Request, reason: Annotated[str | None, Query(max_length=2000), WITHOUT_NUL] = None
        ) -> dict[str, Any]:
            try:
                play = await publishing.withdraw(
                    self.store, _storable(name), actor_of(request), reason, self.live.in_force.in_files
                )
            except LookupError:
                raise _not_published(name) from None
            except PublicationRefusedError as error:
                raise refused(error) from None
            await self._take_up()
            return {"withdrawn": play.version}

    async def _take_up(self) -> None:
        """Show the change. It is committed, so what keeps it from being shown is no error of the request."""
        with suppress(Unavailable):
            await self.live.refresh()

    async def _versions(self, name: str) -> list[PlayVersion]:
        found = await self.store.published.versions(_storable(name))
        if not found and name not in self.live.in_force.sources:
            raise Problem(404, f"play {name!r} has no version", type="not-found")
        return found

    async def _text(self, name: str, version: int | None) -> tuple[int, str]:
        """Number and text of a version; None: of the play in force, which may be a file's (0)."""
        source = self.live.in_force.sources.get(name)
        if version is None and source is not None:
            return source.version, source.text
        for one in await self._versions(name):
            if one.version == version:
                return one.version, one.definition
        which = "is not in force" if version is None else f"has no version {version}"
        raise Problem(404, f"play {name!r} {which}", type="not-found")


def accept(checked: CheckedPlay, name: str) -> Play:
    """The play of a text that can be published under a name.

    Raises:
        FaultyDocumentError: it is wrong, or another play.
    """
    if checked.play is None:
        raise FaultyDocumentError(checked.faults)
    if checked.play.play != name:
        fault = Fault("", 1, "play", f"is {checked.play.play}", f"write {name}, or publish it there")
        raise FaultyDocumentError([fault])
    return checked.play


def _not_published(name: str) -> Problem:
    return Problem(404, f"no version of play {name!r} is in force", type="not-found")


def _storable(name: str) -> str:
    if any(ord(character) < 32 or "\ud800" <= character <= "\udfff" for character in name):
        raise Problem(404, "no such play: names hold no control characters", type="not-found")
    return name
