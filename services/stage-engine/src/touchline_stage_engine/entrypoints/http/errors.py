"""Map errors of queries to responses."""

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from touchline_runtime.answer_cache import AnswerNotReady
from touchline_runtime.http.problems import Problem, server_problem

from touchline_stage_engine.application.errors import Interrupted
from touchline_stage_engine.application.queries.values import BadCursorError


def install(app: FastAPI) -> None:
    """Answer an invalid cursor with 422, an answer that is not ready with 202, a server's fault with 503."""

    @app.exception_handler(BadCursorError)
    async def _bad_cursor(_: Request, error: BadCursorError) -> Response:
        return Problem(422, f"cursor: {error}", type="invalid-request").response()

    @app.exception_handler(AnswerNotReady)
    async def _computing(_: Request, error: AnswerNotReady) -> Response:
        return JSONResponse({"state": "computing"}, 202, {"Retry-After": "1"})

    @app.exception_handler(Interrupted)
    async def _interrupted(request: Request, error: Interrupted) -> Response:
        if (problem := server_problem(request, error)) is None:
            raise error
        return problem.response()
