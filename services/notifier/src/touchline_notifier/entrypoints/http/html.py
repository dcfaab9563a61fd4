"""The pages' templates."""

from functools import cache
from importlib.resources import files
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from touchline_runtime.exports.pages import TEMPLATES
from touchline_runtime.http.page_policy import page_policy


@cache
def _environment() -> Environment:
    return Environment(
        loader=ChoiceLoader(
            [PackageLoader("touchline_notifier.entrypoints.http", "templates"), PackageLoader(*TEMPLATES)]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def policy() -> str:
    """The pages' content security policy: the style in their common template, and forms to this service."""
    base = files("touchline_notifier.entrypoints.http").joinpath("templates", "base.html").read_text(encoding="utf-8")
    return page_policy(base, form_action="'self'")


class Page(HTMLResponse):
    """An answer that is a page."""

    def init_headers(self, headers: Any = None) -> None:
        """Add the policy."""
        super().init_headers(headers)
        self.headers.setdefault("Content-Security-Policy", policy())
        self.headers.setdefault("X-Content-Type-Options", "nosniff")


def render(template: str, **values: Any) -> str:
    """A page."""
    return _environment().get_template(template).render(values)
