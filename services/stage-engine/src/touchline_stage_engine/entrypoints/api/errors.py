"""The one place where errors of the reads become answers."""

from fastapi import FastAPI, Request, Response
from touchline_runtime.problems import Problem

from touchline_stage_engine.adapters.reads.pages import BadCursorError


def install(app: FastAPI) -> None:
    """Answer a cursor that no list handed out with a problem."""

    @app.exception_handler(BadCursorError)
    async def _bad_cursor(_: Request, error: BadCursorError) -> Response:
        return Problem(422, f"cursor: {error}", type="invalid-request").response()
