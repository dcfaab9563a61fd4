"""``/audiences``: the list, one with its members, the form that saves one, its deletion."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from touchline_runtime.exports.first_item import with_first_item_read

from touchline_console.application import people
from touchline_console.application.changes import audiences
from touchline_console.application.changes.audiences import AudienceDraft
from touchline_console.application.ports import Rejected
from touchline_console.core.roles import EDITOR
from touchline_console.entrypoints.http.pages.context import Pages, given, services
from touchline_console.entrypoints.http.pages.editor import is_editor, unix
from touchline_console.entrypoints.http.rendering import path_of
from touchline_console.entrypoints.http.security import needs

_LIMITS = {"name": 200, "title": 200, "description": 2000, "comment": 2000}


def audiences_router(pages: Pages) -> APIRouter:
    """The pages of audiences."""
    router = APIRouter(include_in_schema=False)
    renderer = pages.renderer

    @router.get("/audiences")
    async def listed(request: Request, cursor: str | None = None) -> HTMLResponse:
        found = await audiences.audiences(services(request), cursor)
        return await renderer.page(request, "audiences.html", may_edit=is_editor(request), cursor=cursor, **found)

    async def form(request: Request, draft: AudienceDraft, status: int = 200, **more: Any) -> HTMLResponse:
        found = await audiences.form(services(request), draft)
        return await renderer.page(
            request,
            "audience_form.html",
            status=status,
            choices=people.CHOICES,
            **({"faults": [], "in_force": None} | found | more),
        )

    @router.get("/audiences/new")
    async def new(request: Request) -> HTMLResponse:
        needs(request, EDITOR)
        return await form(request, _draft(request.query_params))

    @router.get("/audiences/count")
    async def count(request: Request) -> HTMLResponse:
        found = await audiences.count(services(request), _draft(request.query_params))
        return renderer.part(request, "parts/audience_count.html", **found)

    @router.post("/audiences/new")
    async def add(request: Request) -> Response:
        needs(request, EDITOR)
        return await save(request, _draft(await request.form()))

    async def save(request: Request, draft: AudienceDraft) -> Response:
        try:
            name = await audiences.save(services(request), draft)
        except Rejected as error:
            status = error.status if error.status in (409, 422) else 400
            return await form(
                request, draft, status, faults=audiences.faults_of(error), in_force=error.body.get("in_force")
            )
        return RedirectResponse(path_of("audiences", name), 303)

    @router.get("/audiences/{name}/members.csv")
    async def exported(request: Request, name: str) -> Response:
        rows = await with_first_item_read(audiences.as_csv(services(request), name))
        headers = {"Content-Disposition": 'attachment; filename="members.csv"'}
        return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)

    @router.get("/audiences/{name}/edit")
    async def edit(request: Request, name: str) -> HTMLResponse:
        needs(request, EDITOR)
        return await form(request, await audiences.draft_of(services(request), name))

    @router.post("/audiences/{name}/edit")
    async def change(request: Request, name: str) -> Response:
        needs(request, EDITOR)
        return await save(request, _draft(await request.form(), name))

    @router.post("/audiences/{name}/delete")
    async def delete(
        request: Request,
        name: str,
        base: Annotated[int, Form(ge=1)],
        typed: Annotated[str, Form(max_length=400)] = "",
        reason: Annotated[str, Form(max_length=2000)] = "",
    ) -> Response:
        needs(request, EDITOR)
        if typed.strip() != name:
            words = {
                "kind": "refused",
                "title": "Not deleted",
                "detail": "The text that you typed is not the audience's name. Go back and type it as it is shown.",
            }
            return await renderer.page(request, "problem.html", status=422, **words)
        await audiences.delete(services(request), name, base, given(reason))
        return RedirectResponse("/audiences", 303)

    @router.get("/audiences/{name}")
    async def one(request: Request, name: str, cursor: str | None = None) -> HTMLResponse:
        found = await audiences.audience(services(request), name, cursor)
        return await renderer.page(request, "audience.html", may_edit=is_editor(request), cursor=cursor, **found)

    return router


def _draft(values: Mapping[str, Any], name: str | None = None) -> AudienceDraft:
    """What a form, or the address of one, holds. ``name``: of the audience that is changed; None: of a new one."""
    texts = {field: unix(str(values.get(field) or "")).strip()[:most] for field, most in _LIMITS.items()}
    base = str(values.get("base") or "")
    return AudienceDraft(
        name=texts["name"] if name is None else name,
        title=texts["title"],
        description=texts["description"],
        comment=texts["comment"],
        asked=people.asked_of(values),
        rest={} if values.get("drop_rest") else _rest(str(values.get("rest") or "{}")),
        base=int(base) if name is not None and base.isascii() and base.isdigit() and len(base) < 10 else 0,
    )


def _rest(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text[:20_000])
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
