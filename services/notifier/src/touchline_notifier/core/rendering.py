"""A play's texts: Jinja templates in a sandbox, where a name that isn't known is an error rather than a blank."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from jinja2 import StrictUndefined, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from touchline_runtime.places import Path, describe_path
from touchline_schemas.times import to_wire
from touchline_schemas.touchpoint import unstorable

from touchline_notifier.core.book import Action
from touchline_notifier.core.play import Play

UnsubscribeLink: TypeAlias = Callable[[str, str], str]
"""(customer id, channel) → the one-click address."""

_MAX_TEXT = 16_000
_MAX_SUBJECT = 500


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

    def render(self, play: Play, action: Action, customer: Mapping[str, Any]) -> Rendered:
        """The texts of an action.

        Args:
            customer: what :meth:`Book.view` gives.

        Raises:
            RenderingError: a name isn't known, or the template goes wrong.
        """
        spec = play.action
        link = self._unsubscribe_link(action.customer_id, play.limits.consent_channel or action.channel)
        context = {**customer, **_of_fact(action), "play": play.play, "unsubscribe_url": link}
        subject = self._text(("subject",), spec.subject, context)
        return Rendered(
            to=spec.to or customer.get("email"),
            # What goes to the company itself, or has to be sent anyway, offers no way out.
            unsubscribe_url=None if spec.to or play.transactional else link,
            # A header is one line, whatever a trait contains.
            subject=None if subject is None else " ".join(subject.split())[:_MAX_SUBJECT],
            text=self._text(("body",), spec.body, context),
            html=self._text(("html",), spec.html, context, html=True),
            data={name: self._value(("data", name), value, context) for name, value in spec.data.items()},
            headers={
                name: " ".join((self._text(("headers", name), value, context) or "").split())
                for name, value in spec.headers.items()
            },
        )

    def _value(self, where: Path, value: Any, context: Mapping[str, Any]) -> Any:
        if isinstance(value, str):
            return self._text(where, value, context)
        if isinstance(value, Mapping):
            return {name: self._value((*where, name), item, context) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value((*where, index), item, context) for index, item in enumerate(value)]
        return value

    def _text(self, where: Path, template: str | None, context: Mapping[str, Any], *, html: bool = False) -> str | None:
        if template is None:
            return None
        environment = self._html if html else self._plain
        try:
            text = environment.from_string(template).render(context)
        except SecurityError as error:
            raise RenderingError(where, f"not allowed in a template: {error}") from None
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise RenderingError(where, f"{error}") from None
        except (OverflowError, MemoryError, RecursionError) as error:
            raise RenderingError(where, f"the template asks for too much: {type(error).__name__}") from None
        why = unstorable(text)
        if why:
            raise RenderingError(where, f"{why}")
        if len(text.encode()) > _MAX_TEXT:
            raise RenderingError(where, f"longer than {_MAX_TEXT} bytes")
        return text


def _environment(*, autoescape: bool) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=autoescape, keep_trailing_newline=False)


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
