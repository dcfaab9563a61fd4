"""Checks that parameters of all routes share.

Unknown query parameters are rejected, because with a misspelt filter a list would return everything.
"""

from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import AfterValidator

from touchline_runtime.http.problems import Problem


def _without_nul(text: str | None) -> str | None:
    if text is not None and "\x00" in text:
        raise ValueError("holds a NUL character, which PostgreSQL does not store")
    return text


WITHOUT_NUL = AfterValidator(_without_nul)
"""For the annotation of a text that is stored: one with a NUL character is answered 422."""


async def only_known_parameters(request: Request) -> None:
    """A dependency for a router: every query parameter is one of the route's.

    Raises:
        Problem: 422, with the names the route has.
    """
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if dependant is None:
        return
    known = _query_parameters(dependant)
    for name in request.query_params:
        if name not in known:
            refuse("query parameter", name, known)


def _query_parameters(dependant: Dependant) -> list[str]:
    names = [field.alias for field in dependant.query_params]
    for one in dependant.dependencies:
        names += _query_parameters(one)
    return names


def refuse(what: str, name: str, known: list[str]) -> None:
    """Reject an unknown name.

    Raises:
        Problem: 422, with the names there are and the one that was probably meant.
    """
    nearest = get_close_matches(name, known, 1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    there_are = ", ".join(sorted(known)) or "none"
    raise Problem(422, f"there is no {what} {name!r}{hint} There are: {there_are}", type="invalid-request")
