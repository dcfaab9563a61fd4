"""A play's texts: Jinja templates in a sandbox, where an unknown name is an error."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from jinja2 import StrictUndefined, Template, TemplateError, Undefined, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from touchline_runtime.yaml.positions import Path, describe_path
from touchline_schemas.times import to_wire
from touchline_schemas.touchpoint import unstorable

from touchline_notifier.core.decisions.customer_history import Action
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.template_formats import FILTERS, PLAY_ZONE, readable

UnsubscribeLink: TypeAlias = Callable[[str, str], str]
"""(customer id, channel) → the one-click address."""

_MAX_TEXT = 16_000
_MAX_SUBJECT = 500
_COMPILED = 256
"""Templates kept compiled."""


class RenderingError(ValueError):
    """A template can't be rendered for this customer; the text says which (`path` in the play) and why (`message`)."""

    def __init__(self, where: Path, message: str) -> None:
        self.path: Path = ("action", *where)
        self.message = message
        super().__init__(f"{describe_path(self.path)}: {message}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The texts of one action."""

    to: str | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    unsubscribe_url: str | None = None


def _sample_link(customer_id: str, channel: str) -> str:
    return f"https://example.org/v1/unsubscribe/{customer_id}.{channel}"


class Templates:
    """Renders plays' texts. ``{{ traits.first_name | default("there") }}``: see docs/plays.md for what can be named."""

    def __init__(self, unsubscribe_link: UnsubscribeLink = _sample_link) -> None:
        self._unsubscribe_link = unsubscribe_link
        self._plain = _environment(autoescape=False)
        self._html = _environment(autoescape=True)
        self._programs = _environment(autoescape=False, for_people=False)

    def render(self, play: Play, action: Action, customer: Mapping[str, Any]) -> Rendered:
        """The texts of an action.

        Args:
            customer: what :meth:`CustomerHistory.view` gives.

        Raises:
            RenderingError: a name isn't known, or the template goes wrong.
        """
        spec = play.action
        link = self._unsubscribe_link(action.customer_id, play.limits.consent_channel or action.channel)
        context = {**_known_of(customer), **_of_fact(action), "play": play.play, "unsubscribe_url": link}
        context[PLAY_ZONE] = play.limits.time_zone
        subject = self._text(("subject",), spec.subject, context)
        return Rendered(
            to=spec.to or customer.get("email"),
            # Messages to the company, and transactional ones, carry no unsubscribe link.
            unsubscribe_url=None if spec.to or play.transactional else link,
            # A header is one line, also with line breaks in a trait.
            subject=None if subject is None else " ".join(subject.split())[:_MAX_SUBJECT],
            text=self._text(("body",), spec.body, context),
            html=self._text(("html",), spec.html, context, self._html),
            data={name: self._value(("data", name), value, context) for name, value in spec.data.items()},
            headers={
                name: " ".join((self._text(("headers", name), value, context, self._programs) or "").split())
                for name, value in spec.headers.items()
            },
        )

    def _value(self, where: Path, value: Any, context: Mapping[str, Any]) -> Any:
        if isinstance(value, str):
            return self._text(where, value, context, self._programs)
        if isinstance(value, Mapping):
            return {name: self._value((*where, name), item, context) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value((*where, index), item, context) for index, item in enumerate(value)]
        return value

    def _text(
        self,
        where: Path,
        template: str | None,
        context: Mapping[str, Any],
        environment: "_Environment | None" = None,
    ) -> str | None:
        if template is None:
            return None
        try:
            text = (environment or self._plain).compiled(template).render(context)
        except SecurityError as error:
            raise RenderingError(where, f"not allowed in a template: {error}") from None
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise RenderingError(where, _without_values(f"{error}", context)) from None
        except (OverflowError, MemoryError, RecursionError) as error:
            raise RenderingError(where, f"the template asks for too much: {type(error).__name__}") from None
        why = unstorable(text)
        if why:
            raise RenderingError(where, f"{why}")
        if len(text.encode()) > _MAX_TEXT:
            raise RenderingError(where, f"longer than {_MAX_TEXT} bytes")
        return text


class _Method:
    """A method of a value: templates may call it, and it is no text, also to a filter, to ``~`` and in a list."""

    __slots__ = ("__name__", "_call")

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.__name__ = getattr(call, "__name__", "it")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._call(*arguments, **named)

    def __repr__(self) -> str:
        raise TypeError(_no_text(self))

    __str__ = __html__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)


class _Environment(ImmutableSandboxedEnvironment):
    """Looks names up in data only: ``traits.values`` is the trait of that name, never a method of Python's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Compiling takes several times as long as rendering.
        self.compiled: Callable[[str], Template] = lru_cache(_COMPILED)(self.from_string)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``."""
        if isinstance(obj, Mapping):
            return self._item(obj, attribute)
        return _callable_alone(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``obj[argument]``."""
        if isinstance(obj, Mapping):
            return self._item(obj, argument)
        return _callable_alone(super().getitem(obj, argument))

    def _item(self, obj: Mapping[Any, Any], name: Any) -> Any:
        try:
            return obj[name]
        except (KeyError, TypeError):  # TypeError: a name that can't be one, such as a list
            return self.undefined(obj=obj, name=name)


def _no_text(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__name__', 'it')} is a function: call it, or use a filter"


def _callable_alone(value: Any) -> Any:
    return _Method(value) if callable(value) and not isinstance(value, Undefined) else value


def _printed(value: Any) -> Any:
    """What a template prints: texts, numbers, several values as JSON; nothing for what isn't known (null).

    Raises:
        TypeError: anything else: Python's own way to write it is never meant.
    """
    if value is None:
        return ""
    if isinstance(value, str | int | float | Decimal | Undefined):
        return value
    if callable(value):
        raise TypeError(_no_text(value))
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    raise TypeError(f"a {type(value).__name__} is no text: write | join(', ')")


@pass_context
def _printed_for_people(context: Context, value: Any) -> Any:
    """What a text prints: a timestamp as a date and a time that people read."""
    return readable(context, _printed(value))


def _environment(*, autoescape: bool, for_people: bool = True) -> _Environment:
    """Args: for_people: timestamps print as people read them; otherwise as they are, in RFC 3339."""
    environment = _Environment(
        undefined=StrictUndefined,
        autoescape=autoescape,
        keep_trailing_newline=False,
        finalize=_printed_for_people if for_people else _printed,
    )
    environment.filters.update(FILTERS)
    return environment


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
