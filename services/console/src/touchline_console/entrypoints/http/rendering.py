"""Templates: one environment, with the console's formats as filters and its components as macros."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from touchline_runtime.exports.pages import TEMPLATES, pretty

from touchline_console.application.access.sessions import ANYONE, Person
from touchline_console.application.navigation import Navigation
from touchline_console.core import figures, formats, words
from touchline_console.core.customer_story import touchpoint_text
from touchline_console.core.sparkline import sparkline

THEMES = ("light", "dark")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY}


def path_of(*steps: str) -> str:
    """A path of the console whose last steps are ids, every one of them quoted whole."""
    return "/" + "/".join(quote(step, safe="") for step in steps)


def query_of(path: str, **parameters: Any) -> str:
    """A path with the parameters that are given."""
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def embedded_json(value: Any) -> Markup:
    """JSON for a data block of a page; nothing in it can end the block."""
    text = orjson.dumps(value).decode()
    for character, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escaped)
    return Markup(text)  # noqa: S704  (every character that could end the block is escaped above)


@pass_context
def time_tag(context: Context, text: str | None, kind: str = "minute") -> Markup:
    """A ``<time>`` in UTC, which the browser shows in the reader's zone. ``kind``: minute, day, time, ago."""
    moment = formats.instant(text)
    now = context["now"]
    if moment is None:
        return Markup.escape(formats.NONE)
    shown = {
        "day": lambda: formats.day(moment, now),
        "time": lambda: f"{moment:%H:%M:%S}",
        "ago": lambda: formats.ago(moment, now),
    }.get(kind, lambda: formats.day_and_time(moment, now))()
    tag = (
        '<time datetime="{}" title="{} UTC">{}</time>'
        if kind == "ago"
        else '<time datetime="{}" data-kind="{}">{}</time>'
    )
    iso = moment.isoformat().replace("+00:00", "Z")
    return Markup(tag).format(iso, f"{moment:%d %b %Y %H:%M}" if kind == "ago" else kind, shown)  # noqa: S704


def amount_tag(value: float | None, currency: str) -> str:
    """An amount; where it is shortened, with the exact one as a tooltip and for screen readers."""
    shown = formats.money(value, currency)
    if value is None or (abs(value) < _SHORTENED and round(value, 2) == round(value)) or abs(value) < 1000:
        return shown
    exact = formats.exact_money(value, currency)
    tag = '<data class="amount" value="{}" title="{}">{}<span class="visually-hidden"> (exactly {})</span></data>'
    return Markup(tag).format(f"{value:.2f}", exact, shown, exact)  # noqa: S704


def _stage_options(lifecycles: list[dict[str, Any]], chosen: str) -> list[tuple[str, str]]:
    """The stages to choose from: those of the chosen lifecycle, else of all of them."""
    options: dict[str, str] = {}
    for one in lifecycles:
        if chosen in ("", one["name"]):
            for stage in (*one["stages"], *one["off_path"]):
                options.setdefault(stage["name"], stage["title"])
    return list(options.items())


_SHORTENED = 1e7
"""From here on `formats.money` writes no whole number."""


def _environment(static: Callable[[str], str], currency: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("touchline_console.web"), PackageLoader(*TEMPLATES)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": formats.number,
        "compact": formats.compact,
        "percent": formats.percent,
        "duration": formats.duration,
        "titled": formats.title,
        "money": lambda value: amount_tag(value, currency),
        "when": time_tag,
        "json_block": embedded_json,
        "reason": words.reason,
        "step_result": words.step_result,
        "run_end": words.run_end,
        "points": words.points,
        "pretty": pretty,
        "play_options": lambda items: [(name, title or formats.title(name)) for name, title in items],
        "outcome": words.outcome,
        "slipped": words.slipped,
        "outcome_options": lambda names: [(name, words.outcome(name)) for name in names],
        "pairs": words.pairs,
        "month": formats.month,
        "pair": lambda value: (value, value),
        "zip_heads": lambda names, titles: [(titles.lifecycle(name), "wrap") for name in names],
        "zip_titles": lambda names, titles: [(name, titles.lifecycle(name)) for name in names],
    }
    environment.globals |= {
        "static": static,
        "path_of": path_of,
        "query_of": query_of,
        "plural": formats.plural,
        "sparkline": sparkline,
        "change": formats.change,
        "move_words": words.move,
        "RESULTS": words.RESULTS,
        "REASONS": words.REASONS,
        "STEPS": words.STEPS,
        "BREAKERS": words.BREAKERS,
        "reason_words": words.reason_kind,
        "play_when": words.play_when,
        "verdict": words.verdict,
        "touchpoint_words": lambda kind, properties: touchpoint_text(kind, properties, currency),
        "stage_options": _stage_options,
        "stage_pairs": lambda stages: [(stage["name"], stage["title"]) for stage in stages],
        "column_heads": lambda stages: [(stage["title"], "num") for stage in stages],
        "month_heads": lambda months: [(f"{month + 1} mo", "num") for month in range(months)],
        "define": figures.define,
        "currency": currency,
    }
    return environment


class Renderer:
    """Renders pages and parts of pages."""

    def __init__(self, static: Callable[[str], str], currency: str, navigation: Navigation) -> None:
        self._environment = _environment(static, currency)
        self._navigation = navigation
        self.currency = currency

    async def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A whole page, with the navigation."""
        services = getattr(request.state, "services", None)
        lifecycles = await self._navigation.lifecycles(services) if services is not None else []
        return HTMLResponse(self._render(request, template, navigation=lifecycles, **values), status, HEADERS)

    def part(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A part of a page, without the frame."""
        return HTMLResponse(self._render(request, template, **values), status, HEADERS)

    def text(self, template: str, now: datetime, **values: Any) -> str:
        """A fragment outside of a request, such as a row of the live list."""
        return self._environment.get_template(template).render(now=now, **values)

    def _render(self, request: Request, template: str, **values: Any) -> str:
        theme = request.cookies.get("touchline_theme")
        person: Person = getattr(request.state, "person", ANYONE)
        return self._environment.get_template(template).render(
            request=request,
            here=request.url.path,
            now=datetime.now(UTC),
            person=person,
            theme=theme if theme in THEMES else "",
            **values,
        )


class StaticFiles:
    """The console's own files, held in memory; an address carries the content's hash and may be kept for ever."""

    def __init__(self) -> None:
        folder = files("touchline_console.web") / "static"
        self._files: dict[str, tuple[bytes, str]] = {}
        self._addresses: dict[str, str] = {}
        kinds = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
        names = ["console.css", "console.js", "editor.js", "icon.svg", "vendor/echarts.min.js", "vendor/htmx.min.js"]
        for name in names:
            content = (folder / name).read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            address = f"/static/{digest}/{name}"
            self._files[address] = (content, kinds["." + name.rsplit(".", 1)[1]])
            self._addresses[name] = address

    def address(self, name: str) -> str:
        """The address of a file."""
        return self._addresses[name]

    def find(self, address: str) -> tuple[bytes, str] | None:
        """Content and media type."""
        return self._files.get(address)
