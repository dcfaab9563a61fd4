"""A play's texts: Jinja templates in a sandbox, where an unknown name is an error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from touchline_runtime.yaml.positions import Path, describe_path
from touchline_schemas.times import to_wire
from touchline_schemas.touchpoint import unstorable

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.plays.locale_texts import FALLBACK, chosen_texts
from touchline_notifier.core.plays.parts import Utm
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.template_formats import PLAY_ZONE, TEXT_LOCALE
from touchline_notifier.core.texts.links import Change, change_html, change_text, leads_to, with_parameters
from touchline_notifier.core.texts.named_templates import TOP
from touchline_notifier.core.texts.plain_text import text_of_html
from touchline_notifier.core.texts.sandbox import Sandbox, where_of
from touchline_notifier.core.tracking.links import MailTracker, written_hosts

UnsubscribeLink: TypeAlias = Callable[[str, str], str]
"""(customer id, channel) → the one-click address."""

EMAIL = "email"
_MAX_TEXT = 16_000
_MAX_HTML = 100_000
"""Bytes. Gmail cuts a mail off after 102 kB."""
_MAX_SUBJECT = 500
_SANDBOXES = 64
"""Sets of named templates whose sandboxes are kept."""


class RenderingError(ValueError):
    """A template can't be rendered for this customer; the text says which (`path` in the play) and why (`message`).

    Attributes:
        line: within the text at ``path``, as far as it is known.
    """

    def __init__(self, path: Path, message: str, line: int | None = None) -> None:
        self.path = path
        self.message = message
        self.line = line
        super().__init__(f"{describe_path(path)}: {message}")


class _Sandboxes(NamedTuple):
    """For texts, for HTML, and for what programs read."""

    plain: Sandbox
    html: Sandbox
    programs: Sandbox


@lru_cache(_SANDBOXES)
def _sandboxes(templates: tuple[tuple[str, str], ...]) -> _Sandboxes:
    named = dict(templates)
    return _Sandboxes(Sandbox(named), Sandbox(named, html=True), Sandbox(named, for_people=False))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The texts of one action.

    Attributes:
        locale: of the play's texts, where the play says it.
        pixel_url: of the pixel in the mail's HTML, where its opens are tracked.
    """

    to: str | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    unsubscribe_url: str | None = None
    locale: str | None = None
    pixel_url: str | None = None


def _sample_link(customer_id: str, channel: str) -> str:
    return f"https://example.org/v1/unsubscribe/{customer_id}.{channel}"


class Templates:
    """Renders plays' texts. ``{{ traits.first_name | default("there") }}``: see docs/plays.md for what can be named."""

    def __init__(self, unsubscribe_link: UnsubscribeLink = _sample_link, tracker: MailTracker | None = None) -> None:
        """Wire what makes addresses.

        Args:
            tracker: of the pixels and links of tracked mails. None: no mail is tracked.
        """
        self._unsubscribe_link = unsubscribe_link
        self._tracker = tracker

    def render(self, play: Play, action: Action, customer: Mapping[str, Any], *, locale: str | None = None) -> Rendered:
        """The texts of an action.

        Args:
            customer: what :meth:`CustomerHistory.view` gives.
            locale: take the texts of this locale, whatever the customer's.

        Raises:
            RenderingError: a name isn't known, or the template goes wrong.
        """
        spec = play.action
        link = self._unsubscribe_link(action.customer_id, play.limits.consent_channel or action.channel)
        context = {**_known_of(customer), **_of_fact(action), "play": play.play, "unsubscribe_url": link}
        context[PLAY_ZONE] = play.limits.time_zone
        texts = chosen_texts(spec, customer, locale)
        context |= {TEXT_LOCALE: texts.formats, "text_locale": texts.locale or FALLBACK}
        sandboxes = _sandboxes(tuple(play.templates.items()))
        plain, programs = _Renderer(sandboxes.plain, context), _Renderer(sandboxes.programs, context)
        html = _Renderer(sandboxes.html, context, _MAX_HTML if action.channel == EMAIL else _MAX_TEXT)
        subject, body, page = plain.text(*texts.subject), plain.text(*texts.body), html.text(*texts.html)
        tagged = _link_change(spec.utm, plain, link)
        if tagged is not None:
            page = None if page is None else change_html(page, tagged)
            body = None if body is None else change_text(body, tagged)
        if body is None and page is not None and action.channel == EMAIL:
            body = _text_of(texts.html.path, page)
        pixel = None
        if self._tracker is not None and spec.tracks and spec.track is not None:
            if spec.track.opens:
                pixel = self._tracker.pixel(action.action_id)
            if spec.track.clicks and page is not None:
                hosts = written_hosts((*spec.html_texts, *play.templates.values()))
                page = self._tracker.tracked(page, action.action_id, hosts, link)
                _check_length(texts.html.path, page)
        return Rendered(
            to=spec.to or customer.get("email"),
            # Messages to the company, and transactional ones, carry no unsubscribe link.
            unsubscribe_url=None if spec.to or play.transactional else link,
            # A header is one line, also with line breaks in a trait.
            subject=None if subject is None else " ".join(subject.split())[:_MAX_SUBJECT],
            text=body,
            html=page,
            data={name: programs.value(("action", "data", name), value) for name, value in spec.data.items()},
            headers={
                name: " ".join((programs.text(("action", "headers", name), value) or "").split())
                for name, value in spec.headers.items()
            },
            locale=texts.locale,
            pixel_url=pixel,
        )


@dataclass(frozen=True, slots=True)
class _Renderer:
    """Renders the texts of one action in a sandbox. ``most`` is in bytes."""

    sandbox: Sandbox
    context: Mapping[str, Any]
    most: int = _MAX_TEXT

    def value(self, path: Path, value: Any) -> Any:
        """A value with every text in it rendered."""
        if isinstance(value, str):
            return self.text(path, value)
        if isinstance(value, Mapping):
            return {name: self.value((*path, name), item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value((*path, index), item) for index, item in enumerate(value)]
        return value

    def text(self, path: Path, template: str | None) -> str | None:
        """A text.

        Raises:
            RenderingError: see :meth:`Templates.render`.
        """
        if template is None:
            return None
        try:
            text = self.sandbox.compiled(template).render(self.context)
        except SecurityError as error:
            raise _located(path, error, f"not allowed in a template: {error}") from None
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise _located(path, error, _without_values(f"{error}", self.context)) from None
        except (OverflowError, MemoryError, RecursionError) as error:
            raise RenderingError(path, f"the template asks for too much: {type(error).__name__}") from None
        why = unstorable(text)
        if why:
            raise RenderingError(path, f"{why}")
        if len(text.encode()) > self.most:
            raise RenderingError(path, f"longer than {self.most} bytes")
        return text


def _link_change(utm: Utm | None, plain: _Renderer, unsubscribe_url: str) -> Change | None:
    """What becomes of a link's address: it gets the play's UTM parameters, but for the unsubscribe link. None: none."""
    given = {} if utm is None else utm.model_dump(exclude_none=True)
    rendered = {name: (plain.text(("action", "utm", name), value) or "").strip() for name, value in given.items()}
    parameters = {f"utm_{name}": value for name, value in rendered.items() if value}
    if not parameters:
        return None
    return lambda address: address if leads_to(address, unsubscribe_url) else with_parameters(address, parameters)


def _check_length(path: Path, page: str) -> None:
    if len(page.encode()) > _MAX_HTML:
        raise RenderingError(path, f"longer than {_MAX_HTML} bytes with the addresses of its tracked links")


def _text_of(path: Path, html: str) -> str:
    try:
        return text_of_html(html)
    except ValueError as error:
        raise RenderingError(path, str(error)) from None


def _located(path: Path, error: Exception, message: str) -> RenderingError:
    name, line = where_of(error)
    return RenderingError(path if name is None else (TOP, name), message, line)


def _known_of(customer: Mapping[str, Any]) -> dict[str, Any]:
    """The customer without the values that are null: a trait that is null is not there, so ``default`` applies."""
    known = dict(customer)
    if isinstance(traits := customer.get("traits"), Mapping):
        known["traits"] = _without_nulls(traits)
    if isinstance(last := customer.get("last"), Mapping) and last:
        known["last"] = {kind: _without_nulls(values) for kind, values in last.items()}
    return known


def _without_nulls(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if None not in values.values():
        return values
    return {name: value for name, value in values.items() if value is not None}


def _without_values(message: str, context: Mapping[str, Any]) -> str:
    """An error without the customer's own values: it is published as the reason of a hold, and outlives an erasure."""
    groups = [context.get("traits"), *dict(context.get("last") or {}).values(), {"email": context.get("email")}]
    values = {str(value) for group in groups if isinstance(group, Mapping) for value in group.values()}
    for value in sorted(values, key=len, reverse=True):
        message = message.replace(repr(value), "the value")
    return message


def _of_fact(action: Action) -> dict[str, Any]:
    fact = action.fact
    return {
        "action_id": action.action_id,
        "lifecycle": fact.lifecycle,
        "stage": fact.stage,
        "from_stage": fact.from_stage,
        "move": fact.move,
        "level": fact.level,
        "occurred_at": to_wire(fact.at),
        "fact": {"id": fact.id, "type": fact.type, **fact.data},
    }
