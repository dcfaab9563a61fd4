"""What the pages share: the renderer and the person's services."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from touchline_console.application.ports import Services
from touchline_console.entrypoints.http.rendering import Renderer


@dataclass(frozen=True)
class Pages:
    """Handed to every router."""

    renderer: Renderer
    currency: str


def services(request: Request) -> Services:
    """The three services, as the person of the request asks them."""
    return cast(Services, request.state.services)


def given(value: str | None) -> str | None:
    """A parameter of a form: an empty field is none."""
    return value.strip() or None if value else None
