"""The sandbox that renders a play's texts: names are looked up in data alone, and an unknown one is an error."""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from types import TracebackType
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, Template, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2.filters import make_attrgetter, sync_do_join
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from touchline_notifier.core.plays.template_formats import FILTERS, readable

_COMPILED = 256
"""Templates kept compiled."""
_INLINE = "<template>"
"""Jinja's file name of a template that has no name."""
_NAMED = "template of the play: "
# Filters of ours alone: no template can write such names.
_PART = "part of a text"
_TIME = "time in a text"


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


class Sandbox(ImmutableSandboxedEnvironment):
    """Looks names up in data only: ``traits.values`` is the trait of that name, never a method of Python's.

    Args:
        templates: those that texts may extend, include or import.
        html: escape every value. Nothing that a customer said becomes markup: ``| safe`` does nothing, and
            ``{% autoescape false %}`` escapes.
        for_people: timestamps print as people read them; otherwise as they are, in RFC 3339.
    """

    def __init__(self, templates: Mapping[str, str], *, html: bool = False, for_people: bool = True) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=html,
            keep_trailing_newline=False,
            finalize=_printed_for_people if for_people else _printed,
            loader=FunctionLoader(lambda name: _source(templates, name)),
            auto_reload=False,
        )
        self.filters.update(FILTERS)
        self._html = html
        self._for_people = for_people
        self.filters[_PART] = _printed_for_people if for_people else _printed
        if for_people:
            self.filters[_TIME] = readable
            self.filters["join"] = _joined
        if html:
            self.filters["safe"] = _unchanged
        # Compiling takes several times as long as rendering.
        self.compiled: Callable[[str], Template] = lru_cache(_COMPILED)(self.from_string)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        # A macro in another template knows the customer too: its dates are in their language.
        for node in tree.find_all((nodes.Import, nodes.FromImport)):
            node.with_context = True  # type: ignore[attr-defined]
        _print_parts(tree, times=self._for_people)
        if self._html:
            for scope in tree.find_all(nodes.EvalContextModifier):
                for option in scope.options:
                    option.value = nodes.Const(True, lineno=scope.lineno)
        return tree

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


def _source(templates: Mapping[str, str], name: str) -> tuple[str, str, Callable[[], bool]] | None:
    found = templates.get(name)
    return None if found is None else (found, _NAMED + name, lambda: True)


def where_of(error: Exception) -> tuple[str | None, int | None]:
    """The named template that an error is in (None: in the text itself), and the line in it, as far as is known."""
    if isinstance(error, TemplateSyntaxError):
        return error.name, error.lineno
    last: tuple[str | None, int | None] = (None, None)
    for filename, line in _frames(error.__traceback__):
        if filename == _INLINE:
            last = None, line
        elif filename.startswith(_NAMED):
            last = filename.removeprefix(_NAMED), line
    return last


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, int]]:
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next


def _print_parts(tree: nodes.Template, *, times: bool) -> None:
    """Let what becomes part of a longer text be written as it would be alone: ``"since " ~ fact.since``."""
    for concat in list(tree.find_all(nodes.Concat)):
        concat.nodes = [_filtered(one, _PART) for one in concat.nodes]
    if not times:
        return
    for add in list(tree.find_all(nodes.Add)):
        add.left, add.right = _filtered(add.left, _TIME), _filtered(add.right, _TIME)
    for percent in list(tree.find_all(nodes.Mod)):
        values = percent.right
        if isinstance(values, nodes.Tuple):
            values.items = [_filtered(one, _TIME) for one in values.items]
        else:
            percent.right = _filtered(values, _TIME)
    for one in list(tree.find_all(nodes.Filter)):
        if one.name == "format":
            one.args = [_filtered(value, _TIME) for value in one.args]
            for named in one.kwargs:
                named.value = _filtered(named.value, _TIME)


def _filtered(node: nodes.Expr, name: str) -> nodes.Expr:
    if isinstance(node, nodes.TemplateData) or (isinstance(node, nodes.Const) and node.value is not None):
        return node
    found = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
    found.environment = node.environment
    return found


def _unchanged(value: Any) -> Any:
    return value


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


@pass_context
def _joined(context: Context, values: Any, d: str = "", attribute: str | int | None = None) -> str:
    """Jinja's ``join``, with the times among the values as people read them."""
    chosen = values if attribute is None else map(make_attrgetter(context.environment, attribute), values)
    return sync_do_join(context.eval_ctx, [_printed_for_people(context, one) for one in chosen], d)
