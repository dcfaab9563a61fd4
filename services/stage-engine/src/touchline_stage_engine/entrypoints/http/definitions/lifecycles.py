"""Routes that check, compare, publish and withdraw lifecycle definitions."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from touchline_runtime.audit.routes import actor_of
from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.http.problems import Problem
from touchline_runtime.publishing.answers import Differences, Published, fault_json, faults_json, faulty, refused
from touchline_runtime.publishing.differences import text_difference
from touchline_runtime.publishing.publication import PublicationRefusedError
from touchline_runtime.yaml.positions import FaultyDocumentError

from touchline_stage_engine.application.ports import DefinitionStore
from touchline_stage_engine.application.publishing import Draft, publish, withdraw
from touchline_stage_engine.application.queries.ports import LifecycleQueries
from touchline_stage_engine.core.analysis.explanation import rules_in_words
from touchline_stage_engine.core.definitions.diagram import draw
from touchline_stage_engine.core.definitions.differences import differences
from touchline_stage_engine.core.definitions.near_misses import near_misses
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.entrypoints.http.answers import LifecycleVersion, Page, problems
from touchline_stage_engine.entrypoints.http.definitions.answers import (
    Checked,
    CheckRequest,
    DifferencesRequest,
    PublicationRequest,
    Version,
    Withdrawn,
)
from touchline_stage_engine.entrypoints.http.parameters import DEFAULT, Cursor, LifecycleName, Limit, storable

CONFLICT = problems(not_found="no such lifecycle", conflict="managed by file, or another version is in force")
_OF_A_SOUND_ONE = ("diagram", "stages", "title", "lifecycle", "version")
NOT_FOUND = problems(not_found="no such lifecycle or version")


def definitions_router(store: DefinitionStore, queries: LifecycleQueries, in_files: frozenset[str]) -> APIRouter:
    """``/v1/lifecycles/check``, ``…/{name}/versions``, ``…/{name}/differences``, and the withdrawal."""
    router = APIRouter(tags=["definitions"])

    @router.post(
        "/v1/lifecycles/check",
        summary="Check a definition: every error and warning with its line, and the diagram",
        responses=problems(),
        response_model=Checked,
    )
    async def check(body: CheckRequest) -> dict[str, Any]:
        try:
            definition = read_definition(body.definition, "")
        except FaultyDocumentError as error:
            return {"ok": False, "errors": faults_json(error), "warnings": []} | dict.fromkeys(_OF_A_SOUND_ONE)
        return {
            "ok": True,
            "errors": [],
            "warnings": [fault_json(one) for one in near_misses(body.definition, "")],
            "diagram": draw(definition),
            "stages": rules_in_words(definition),
            "title": definition.label,
            "lifecycle": definition.lifecycle,
            "version": definition.version,
        }

    @router.get(
        "/v1/lifecycles/{name}/versions",
        summary="Every version of a lifecycle, newest first",
        responses=NOT_FOUND,
        response_model=Page[LifecycleVersion],
    )
    async def versions(name: LifecycleName, limit: Limit = DEFAULT, cursor: Cursor = None) -> dict[str, Any]:
        found = await queries.versions(storable(name, "lifecycle"))
        if not found:
            raise Problem(404, f"lifecycle {name!r} has no version", type="not-found")
        if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
            raise Problem(422, "cursor: this list did not issue it", type="invalid-request")
        newest_first = [one for one in reversed(found) if cursor is None or one["version"] < int(cursor)]
        more = len(newest_first) > limit
        return {"items": newest_first[:limit], "next": str(newest_first[limit - 1]["version"]) if more else None}

    @router.get(
        "/v1/lifecycles/{name}/versions/{version}",
        summary="One version with its definition",
        responses=NOT_FOUND,
        response_model=Version,
    )
    async def version(name: LifecycleName, version: int) -> dict[str, Any]:
        return await _version(name, version)

    async def _version(name: str, number: int | None) -> dict[str, Any]:
        """A version with its definition; None: the one in force."""
        known = await queries.versions(storable(name, "lifecycle"))
        found = [one for one in known if one["in_force"] if number is None] or [
            one for one in known if one["version"] == number
        ]
        if not found:
            which = "no version in force" if number is None else f"no version {number}"
            raise Problem(404, f"lifecycle {name!r} has {which}", type="not-found")
        text = await queries.text_of(name, found[0]["version"])
        return found[0] | {"definition": text}

    @router.post(
        "/v1/lifecycles/{name}/differences",
        summary="Compare a definition with a version: text and meaning",
        responses=NOT_FOUND,
        response_model=Differences,
    )
    async def compare(name: LifecycleName, body: DifferencesRequest) -> dict[str, Any]:
        other = await _version(name, body.version)
        try:
            after = read_definition(body.definition, "")
        except FaultyDocumentError as error:
            raise faulty(error) from None
        before = read_definition(other["definition"], "")
        meaning = differences(before, after)
        return {
            "version": other["version"],
            "same": not meaning,
            "text": text_difference(other["definition"], body.definition, f"version {other['version']}", "draft"),
            "meaning": [{"where": one.where, "text": one.text} for one in meaning],
        }

    @router.post(
        "/v1/lifecycles/{name}/versions",
        summary="Publish a definition: running engines take it up within seconds",
        status_code=201,
        responses={**CONFLICT, 200: {"model": Published, "description": "in force already, with the same content"}},
        response_model=Published,
    )
    async def publication(name: LifecycleName, body: PublicationRequest, request: Request) -> Response:
        header: dict[str, str | None] = {}
        if body.on_change is not None:
            header["on_change"] = body.on_change
        if "effective_from" in body.model_fields_set:
            header["effective_from"] = body.effective_from
        draft = Draft(storable(name, "lifecycle"), body.definition, body.comment, body.base, header)
        try:
            published = await publish(store, draft, actor_of(request), time.time_ns() // 1000, in_files)
        except FaultyDocumentError as error:
            raise faulty(error) from None
        except PublicationRefusedError as error:
            raise refused(error) from None
        location = f"/v1/lifecycles/{name}/versions/{published.version}"
        return JSONResponse(published._asdict(), 201 if published.changed else 200, {"Location": location})

    @router.delete(
        "/v1/lifecycles/{name}",
        summary="Stop a published lifecycle; a built-in one returns to the built-in version",
        responses=CONFLICT,
        response_model=Withdrawn,
    )
    async def withdrawal(
        name: LifecycleName, request: Request, reason: Annotated[str | None, Query(max_length=2000), WITHOUT_NUL] = None
    ) -> dict[str, Any]:
        try:
            gone = await withdraw(store, storable(name, "lifecycle"), actor_of(request), reason)
        except LookupError:
            raise Problem(404, f"no version of lifecycle {name!r} was published", type="not-found") from None
        except PublicationRefusedError as error:
            raise refused(error) from None
        return {"withdrawn": gone}

    return router
