"""``/lifecycles/{name}/edit``: check while typing, simulate, compare, publish."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from touchline_console.application.access.sessions import Person
from touchline_console.application.changes import definitions
from touchline_console.application.changes.definitions import Draft
from touchline_console.application.ports import Rejected
from touchline_console.core.roles import EDITOR, may
from touchline_console.entrypoints.http.pages.context import Pages, services
from touchline_console.entrypoints.http.rendering import path_of, query_of
from touchline_console.entrypoints.http.security import needs

MAX_TEXT = 200_000
Text = Annotated[str, Form(max_length=MAX_TEXT)]


def editor_router(pages: Pages) -> APIRouter:
    """The editor of lifecycles."""
    router = APIRouter(include_in_schema=False)
    renderer = pages.renderer

    @router.get("/lifecycles/{name}/edit")
    async def edit(request: Request, name: str, version: int | None = None) -> HTMLResponse:
        shown = await definitions.editor(services(request), name, version)
        checks = {}
        if is_editor(request):
            checks = await definitions.checked(services(request), name, shown["draft"].text)
        return await renderer.page(request, "editor.html", may_edit=is_editor(request), **(shown | checks))

    @router.post("/lifecycles/{name}/edit/check")
    async def check(request: Request, name: str, definition: Text = "") -> HTMLResponse:
        needs(request, EDITOR)
        found = await definitions.checked(services(request), name, unix(definition))
        return renderer.part(request, "editor/checks.html", **found)

    @router.post("/lifecycles/{name}/edit/simulate")
    async def simulate(
        request: Request,
        name: str,
        definition: Text = "",
        on_change: Annotated[str, Form()] = "pin",
        effective_from: Annotated[str, Form(max_length=40)] = "",
    ) -> HTMLResponse:
        needs(request, EDITOR)
        draft = Draft(unix(definition), 0, on_change=_on_change(on_change), effective_from=_instant(effective_from))
        return renderer.part(
            request, "editor/simulation.html", name=name, **await definitions.simulate(services(request), name, draft)
        )

    @router.get("/lifecycles/{name}/edit/simulations/{number}")
    async def simulation(request: Request, name: str, number: str) -> HTMLResponse:
        found = await definitions.simulation(services(request), number)
        return renderer.part(request, "editor/simulation.html", name=name, **found)

    @router.post("/lifecycles/{name}/edit/simulations/{number}/cancel")
    async def cancel(request: Request, name: str, number: str) -> HTMLResponse:
        needs(request, EDITOR)
        await definitions.cancel(services(request), number)
        found = await definitions.simulation(services(request), number)
        return renderer.part(request, "editor/simulation.html", name=name, **found)

    @router.post("/lifecycles/{name}/edit")
    async def publish(
        request: Request,
        name: str,
        definition: Text = "",
        base: Annotated[int, Form(ge=0)] = 0,
        comment: Annotated[str, Form(max_length=2000)] = "",
        on_change: Annotated[str, Form()] = "pin",
        effective_from: Annotated[str, Form(max_length=40)] = "",
    ) -> Response:
        needs(request, EDITOR)
        draft = Draft(unix(definition), base, comment.strip(), _on_change(on_change), _instant(effective_from))
        try:
            await definitions.publish(services(request), name, draft)
        except Rejected as error:
            shown = await definitions.why_not(services(request), name, draft, error)
            checks = await definitions.checked(services(request), name, draft.text)
            status = error.status if error.status in (409, 422) else 400
            return await renderer.page(request, "editor.html", status=status, may_edit=True, **(checks | shown))
        return RedirectResponse(query_of(path_of("lifecycles", name), published="1", view="definition"), 303)

    return router


def is_editor(request: Request) -> bool:
    """Whether the person who asks may publish."""
    person: Person = request.state.person
    return may(person.role, EDITOR)


def unix(text: str) -> str:
    """Browsers send a text area's lines with CR LF."""
    return text.replace("\r\n", "\n")


def _on_change(value: str) -> str:
    return "refold" if value == "refold" else "pin"


def _instant(local: str) -> str:
    """An instant of a field for date and time, which the page labels as UTC. The browser leaves out zero seconds."""
    if not local or local.endswith("Z"):
        return local
    return f"{local}:00Z" if len(local) == len("2026-03-01T12:00") else f"{local}Z"
