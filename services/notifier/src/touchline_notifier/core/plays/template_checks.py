"""Try the templates of a play: the names of layouts and partials, and every text with sample data."""

from typing import NamedTuple

from touchline_runtime.yaml.positions import Fault, Path, SourcePositions

from touchline_notifier.core.plays.locale_texts import incomplete
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import RenderingError, Templates
from touchline_notifier.core.plays.samples import EVERYTHING_KNOWN, NOTHING_KNOWN, sample_actions
from touchline_notifier.core.texts import named_templates
from touchline_notifier.core.texts.named_templates import TOP
from touchline_notifier.core.tracking.links import MailTracker
from touchline_notifier.core.tracking.tokens import MailTokens

_SAMPLE_TRACKER = MailTracker("https://notify.example.org", MailTokens(bytes(64)))
"""So that a mail is as long as it will be."""


class Findings(NamedTuple):
    """What is wrong, and what is worth a look."""

    faults: list[Fault]
    warnings: list[Fault]


def check_templates(play: Play, positions: SourcePositions) -> Findings:
    """Everything about a play's templates: those of each message of a sequence."""
    faults: list[Fault] = []
    warnings: list[Fault] = []
    texts: list[tuple[Path, str]] = []
    for path, spec in play.message_paths():
        found = _check_message(play.with_message(spec), MessagePositions(positions, path))
        faults += found.faults
        warnings += found.warnings
        texts += named_templates.texts_of(spec.model_dump(mode="python"))
    if not faults:
        warnings += _unused(play, positions, texts)
    return Findings(list(dict.fromkeys(faults)), list(dict.fromkeys(warnings)))


class MessagePositions:
    """Positions of a play of one message, in the text of the play that it is a message of.

    Args:
        path: of the message.
    """

    def __init__(self, positions: SourcePositions, path: Path) -> None:
        self._positions = positions
        self._path = path

    def fault(self, path: Path, message: str, instead: str = "", *, within: int | None = None) -> Fault:
        """See :meth:`SourcePositions.fault`."""
        whole = (*self._path, *path[1:]) if path[:1] == ("action",) else path
        return self._positions.fault(whole, message, instead, within=within)


def _check_message(play: Play, positions: MessagePositions) -> Findings:
    texts = list(named_templates.texts_of(play.action.model_dump(mode="python")))
    problems = [*named_templates.missing(texts, play.templates), *named_templates.circles(play.templates)]
    if problems:
        return Findings([positions.fault(one.path, one.message, within=one.line) for one in problems], [])
    lacking = [positions.fault(path, message) for path, message in incomplete(play.action)]
    if lacking:
        return Findings(lacking, [])
    tried = _tried(play, positions)
    return Findings(tried.faults, [*tried.warnings, *_unescaped(play, positions)])


def _tried(play: Play, positions: MessagePositions) -> Findings:
    """The texts in every language, with every kind of fact."""
    warnings: list[Fault] = []
    for locale in (play.action.locale, *play.action.locales):
        found = _tried_in(locale, play, positions)
        if found.faults:
            return found
        warnings += found.warnings
    return Findings([], list(dict.fromkeys(warnings)))  # de-AT has texts of de


def _tried_in(locale: str | None, play: Play, positions: MessagePositions) -> Findings:
    templates = Templates(tracker=_SAMPLE_TRACKER)
    actions = list(sample_actions(play))
    for action in actions:
        try:
            templates.render(play, action, EVERYTHING_KNOWN, locale=locale)
        except RenderingError as error:
            message = f"{error.message} (tried with a fact of kind {action.fact.move or action.fact.type})"
            return Findings([positions.fault(error.path, message, within=error.line)], [])
    for action in actions[:1]:
        try:
            templates.render(play, action, NOTHING_KNOWN, locale=locale)
        except RenderingError as error:
            message = f"{error.message}, for a customer of whom it isn't known"
            advice = "write | default(…), or ask for it under if"
            return Findings([], [positions.fault(error.path, message, advice, within=error.line)])
    return Findings([], [])


def _unused(play: Play, positions: SourcePositions, texts: list[tuple[Path, str]]) -> list[Fault]:
    names = named_templates.unused((text for _, text in texts), play.templates)
    return [positions.fault((TOP, name), "no text names this template") for name in names]


def _unescaped(play: Play, positions: MessagePositions) -> list[Fault]:
    spec = play.action
    pages: list[tuple[Path, str | None]] = [(("action", "html"), spec.html)]
    pages += [(("action", "locales", name, "html"), texts.html) for name, texts in spec.locales.items()]
    if all(page is None for _, page in pages):
        return []
    texts = [*pages, *(((TOP, name), text) for name, text in play.templates.items())]
    message = "`| safe` and `{% autoescape %}` change nothing in HTML: what a customer says never becomes markup"
    found = [(path, named_templates.switches_escaping_off(text or "")) for path, text in texts]
    return [positions.fault(path, message, within=line) for path, line in found if line is not None]
