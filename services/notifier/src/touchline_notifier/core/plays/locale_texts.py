"""The texts of a play in the language that a customer gets."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from touchline_runtime.yaml.positions import Path

from touchline_notifier.core.plays.parts import ActionSpec, LocaleTexts
from touchline_notifier.core.texts import languages

FALLBACK = "en"
"""``text_locale`` of a play that does not say its language."""


class Text(NamedTuple):
    """A template and where it is; None: there is none."""

    path: Path
    template: str | None


class ChosenTexts(NamedTuple):
    """The texts of an action.

    Attributes:
        locale: the language picked; None: the play does not say in which its texts are.
        formats: how dates, numbers and money are written; None: as the customer's own language does.
    """

    subject: Text
    body: Text
    html: Text
    locale: str | None = None
    formats: str | None = None


def chosen_texts(spec: ActionSpec, customer: Mapping[str, Any], asked: str | None = None) -> ChosenTexts:
    """The texts for a customer.

    Args:
        customer: what :meth:`CustomerHistory.view` gives.
        asked: the texts of this locale, whatever the customer's.
    """
    default = spec.locale
    if default is None:
        return _texts(spec, [], None, None)
    found = languages.choose([asked] if asked else languages.stated(customer), [default, *spec.locales])
    picked, wanted = found or (default, default)
    # A customer of Austria who gets the German texts gets Austrian dates.
    formats = wanted if languages.is_known(wanted) else picked
    return _texts(spec, lineage(spec, picked), picked.replace("_", "-"), formats)


def lineage(spec: ActionSpec, locale: str) -> list[str]:
    """The locales of a play whose texts a locale takes, the nearest first; none for the default."""
    known = {languages.tag(name): name for name in spec.locales}
    if languages.tag(locale) not in known:
        return []
    return [known[tag] for tag in languages.chain(locale) if tag in known]


def _texts(spec: ActionSpec, names: list[str], locale: str | None, formats: str | None) -> ChosenTexts:
    subject, body, html = (_text(spec, names, field) for field in ("subject", "body", "html"))
    return ChosenTexts(subject, body, html, locale, formats)


def _text(spec: ActionSpec, names: list[str], field: str) -> Text:
    if not names:
        return Text(("action", field), getattr(spec, field))
    for name in names:
        template = getattr(spec.locales[name], field)
        if template is not None:
            return Text(("action", "locales", name, field), template)
    return Text(("action", "locales", names[0], field), None)


def incomplete(spec: ActionSpec) -> Iterator[tuple[Path, str]]:
    """Locales that lack a text which the play has: the mail would be in two languages, or lack a part."""
    for name in spec.locales:
        texts = _texts(spec, lineage(spec, name), name, name)
        lacks = [field for field in LocaleTexts.model_fields if getattr(spec, field) and not getattr(texts, field)[1]]
        if "body" in lacks and texts.html.template:
            lacks.remove("body")  # it is made from the HTML
        if lacks:
            yield ("action", "locales", name), f"has no {' and no '.join(lacks)}, which the texts in {spec.locale} have"
