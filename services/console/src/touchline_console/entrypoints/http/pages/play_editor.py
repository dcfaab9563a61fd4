"""``/plays/{name}/edit``: check while typing, preview, send a test, compare, publish, switch."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from touchline_console.application.changes import play_drafts
from touchline_console.application.changes.play_drafts import PlayDraft
from touchline_console.application.ports import Rejected
from touchline_console.core.roles import EDITOR
from touchline_console.entrypoints.http.pages.context import Pages, given, services
from touchline_console.entrypoints.http.pages.editor import Text, is_editor, unix
from touchline_console.entrypoints.http.rendering import path_of
from touchline_console.entrypoints.http.security import needs

DAYS = ((1, "the last day"), (7, "the last 7 days"), (30, "the last 30 days"))
Days = Annotated[int, Form(ge=1, le=31)]
Checkbox = Annotated[str, Form(max_length=10)]


def play_editor_router(pages: Pages) -> APIRouter:
    """The editor of plays."""
    router = APIRouter(include_in_schema=False)
    renderer = pages.renderer

    @router.get("/plays/{name}/edit")
    async def edit(request: Request, name: str, version: int | None = None) -> HTMLResponse:
        shown = await play_drafts.editor(services(request), name, version)
        may_edit = is_editor(request)
        checks = await play_drafts.checked(services(request), name, shown["draft"].text) if may_edit else {}
        return await renderer.page(request, "play_editor.html", may_edit=may_edit, periods=DAYS, **(shown | checks))

    @router.post("/plays/{name}/edit/check")
    async def check(request: Request, name: str, definition: Text = "") -> HTMLResponse:
        needs(request, EDITOR)
        found = await play_drafts.checked(services(request), name, unix(definition))
        return renderer.part(request, "editor/play_checks.html", **found)

    @router.post("/plays/{name}/edit/preview")
    async def begin(request: Request, name: str) -> HTMLResponse:
        # The part that comes back asks for the preview: it takes seconds, and the reader is told so meanwhile.
        needs(request, EDITOR)
        return renderer.part(request, "editor/preview.html", name=name, running=True)

    @router.post("/plays/{name}/edit/preview/result")
    async def preview(
        request: Request, name: str, definition: Text = "", days: Days = 7, ignore_backfill: Checkbox = ""
    ) -> HTMLResponse:
        needs(request, EDITOR)
        found = await play_drafts.preview(
            services(request), name, unix(definition), days, ignore_backfill=bool(ignore_backfill)
        )
        return renderer.part(request, "editor/preview.html", name=name, running=False, **found)

    @router.post("/plays/{name}/edit/test")
    async def test(
        request: Request,
        name: str,
        definition: Text = "",
        to: Annotated[str, Form(max_length=400)] = "",
        customer_id: Annotated[str, Form(max_length=1000)] = "",
        locale: Annotated[str, Form(max_length=35)] = "",
    ) -> HTMLResponse:
        needs(request, EDITOR)
        found = await play_drafts.send_test(
            services(request), name, unix(definition), given(to), given(customer_id), given(locale)
        )
        return renderer.part(request, "editor/test.html", **found)

    @router.post("/plays/{name}/edit")
    async def publish(
        request: Request,
        name: str,
        definition: Text = "",
        base: Annotated[int, Form(ge=0)] = 0,
        comment: Annotated[str, Form(max_length=2000)] = "",
    ) -> Response:
        needs(request, EDITOR)
        draft = PlayDraft(unix(definition), base, comment.strip())
        try:
            await play_drafts.publish(services(request), name, draft)
        except Rejected as error:
            shown = await play_drafts.why_not(services(request), name, draft, error)
            checks = await play_drafts.checked(services(request), name, draft.text)
            status = error.status if error.status in (409, 422) else 400
            values = checks | shown
            return await renderer.page(
                request, "play_editor.html", status=status, may_edit=True, periods=DAYS, **values
            )
        return RedirectResponse(path_of("plays", name), 303)

    @router.post("/plays/{name}/switch")
    async def switch(
        request: Request, name: str, on: Annotated[str, Form()], reason: Annotated[str, Form(max_length=2000)] = ""
    ) -> Response:
        needs(request, EDITOR)
        await play_drafts.switch(services(request), name, on=on == "1", reason=given(reason))
        return RedirectResponse(path_of("plays", name, "edit"), 303)

    return router
