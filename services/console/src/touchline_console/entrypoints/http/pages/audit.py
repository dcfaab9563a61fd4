"""``/audit``: who changed what, when and why."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from touchline_runtime.exports.csv_text import csv_lines

from touchline_console.application.changes import audit
from touchline_console.entrypoints.http.pages.context import Pages, given, services


def audit_router(pages: Pages) -> APIRouter:
    """The audit logs of the services."""
    router = APIRouter(include_in_schema=False)

    @router.get("/audit")
    async def listed(request: Request, cursor: str | None = None) -> HTMLResponse:
        chosen, filters = _asked(request)
        found = await audit.audit(services(request), chosen, filters, cursor if chosen else None)
        return await pages.renderer.page(
            request, "audit.html", chosen=chosen, filters=filters, choices=audit.SERVICES, **found
        )

    @router.get("/audit.csv")
    async def exported(request: Request) -> Response:
        rows = await audit.exported(services(request), *_asked(request))
        headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
        return Response(csv_lines(rows), media_type="text/csv; charset=utf-8", headers=headers)

    return router


def _asked(request: Request) -> tuple[str, dict[str, str | None]]:
    """The service that was chosen (empty: all), and the filters."""
    query = request.query_params
    service = query.get("service", "")
    filters = {name: given((query.get(name) or "")[:400]) for name in ("actor", "action", "target")}
    return service if service in dict(audit.SERVICES) else "", filters
