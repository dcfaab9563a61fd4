"""``/docs``: Swagger UI, served by the process itself, on the OpenAPI document of the service.

The files in ``swagger_ui/`` come from the npm package swagger-ui-dist (Apache-2.0), unchanged, but for ``start.js``.
To update them: ``npm pack swagger-ui-dist``, copy the same file names, change ``VERSION``.
"""

from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

VERSION = "5.35.0"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""The content security policy of the page: scripts and styles of this process, nothing inline, no other host."""

_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "start.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
PATHS = frozenset(("/docs", "/openapi.json", *(f"/docs/{name}" for name in _FILES)))
"""Everything that the page requests."""

SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API token."},
    "basic": {"type": "http", "scheme": "basic", "description": "Any user, with an API token as the password."},
}
_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css?v={VERSION}">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js?v={VERSION}"></script>
<script src="docs/start.js?v={VERSION}"></script>
</html>
"""


def install(app: FastAPI) -> None:
    """Add ``/docs`` and the files that it loads."""
    folder = files("touchline_runtime.http") / "swagger_ui"

    @app.get("/docs", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": POLICY})

    def add(name: str, media_type: str) -> None:
        @app.get(f"/docs/{name}", include_in_schema=False)
        def file() -> Response:
            headers = {"Cache-Control": "private, max-age=86400"}
            return Response((folder / name).read_bytes(), media_type=media_type, headers=headers)

    for name, media_type in _FILES.items():
        add(name, media_type)


def with_security(document: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document that says how to authenticate; its own schemes and requirements stay."""
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    document["components"]["securitySchemes"] = SECURITY_SCHEMES | schemes
    document.setdefault("security", [{"bearer": []}, {"basic": []}, {}])
    return document
