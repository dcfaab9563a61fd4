"""Check a play before it is published: its text, what it names, and every template for customers of today."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from touchline_runtime.yaml.positions import Fault, SourcePositions

from touchline_notifier.application.plays.live import LivePlays
from touchline_notifier.application.plays.ports import RecentCustomers
from touchline_notifier.application.plays_in_force import customer_channels
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.plays.locale_texts import chosen_texts
from touchline_notifier.core.plays.parse import (
    KnownLifecycle,
    ParsedPlays,
    check_lifecycles,
    check_play_endpoints,
    equal_priorities,
    merged_lifecycles,
    read_plays,
)
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Rendered, RenderingError, Templates
from touchline_notifier.core.plays.samples import sample_action
from touchline_notifier.core.plays.template_checks import MessagePositions
from touchline_notifier.core.sequences.program import sends

TRIED_WITH = 5
"""Customers."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The texts of a play for a customer. ``rendered`` is None where a template fails for them.

    Attributes:
        locale: the language; None: the play does not say.
        chosen: the customer would get these texts.
        step: of a sequence.
    """

    customer_id: str
    rendered: Rendered | None
    fault: Fault | None = None
    locale: str | None = None
    chosen: bool = True
    step: str | None = None


@dataclass(frozen=True, slots=True)
class CheckedPlay:
    """What a check found.

    Attributes:
        play: None where the text is wrong.
        faults: the play cannot be published.
        warnings: worth a look; templates that fail for a customer are among them.
    """

    play: Play | None
    faults: Sequence[Fault]
    warnings: Sequence[Fault]
    trials: Sequence[Trial] = field(default=())


class PlayChecker:
    """Checks plays with the endpoints, lifecycles and other plays that are in force.

    Args:
        lifecycles: reads those that the engine has announced; raises ``Unavailable``.
    """

    def __init__(
        self,
        live: LivePlays,
        lifecycles: Callable[[], Awaitable[Sequence[KnownLifecycle]]],
        customers: RecentCustomers | None,
    ) -> None:
        self._live = live
        self._lifecycles = lifecycles
        self._customers = customers

    async def check(self, text: str, *, try_templates: bool = True) -> CheckedPlay:
        """Check a text.

        Args:
            try_templates: also with customers of today.

        Raises:
            Unavailable: Kafka or PostgreSQL does not answer, or the notifier is starting.
        """
        # Templates may take long, and this process may be deciding meanwhile.
        parsed = await asyncio.to_thread(read_plays, [("", text)])
        names = [*parsed.plays, *parsed.faulty]
        if not names:
            return CheckedPlay(None, parsed.faults, parsed.warnings)
        name = names[0]
        files = self._live.files
        named = files.endpoints_file or "TOUCHLINE_ENDPOINTS_FILE (not set)"
        known = merged_lifecycles((*files.known_lifecycles(), *await self._lifecycles()))
        faults = [
            *parsed.faults,
            *check_lifecycles(parsed, known),
            *check_play_endpoints(parsed, files.endpoints, self._live.channels, named),
            *self._live.missing_public_url(parsed, name),
        ]
        play = parsed.plays.get(name)
        warnings = [*parsed.warnings, *(self._competition(parsed) if play is not None else ())]
        if play is None or faults:
            return CheckedPlay(None, faults, warnings)
        trials: list[Trial] = []
        if try_templates and self._customers is not None:
            customers = await self._customers.recent(TRIED_WITH)
            trials = await asyncio.to_thread(_tried, play, parsed.positions[name], customers)
            warnings += [trial.fault for trial in trials if trial.fault is not None]
        return CheckedPlay(play, faults, warnings, trials)

    def _competition(self, parsed: ParsedPlays) -> list[Fault]:
        """Plays in force of the same priority that compete for the same caps."""
        others = self._live.latest.parsed
        together = ParsedPlays({**others.plays, **parsed.plays}, positions={**others.positions, **parsed.positions})
        return [fault for fault in equal_priorities(together, customer_channels(self._live.channels)) if not fault.file]


def _tried(play: Play, positions: SourcePositions, customers: Sequence[CustomerHistory]) -> list[Trial]:
    """The play's texts for each customer in every language, as if a fact that the play looks at had just come.

    What each customer would get is returned, the other languages for the first customer, and whatever fails.
    """
    templates = Templates()
    trials = []
    steps: list[str | None] = [name for name, _, _ in sends(play.steps)]
    for step, (path, action) in zip(steps or [None], play.message_paths(), strict=True):
        message, there = play.with_message(action), MessagePositions(positions, path)
        for number, history in enumerate(customers):
            own = chosen_texts(action, history.view()).locale
            others = [name.replace("_", "-") for name in (action.locale, *action.locales) if name is not None]
            for locale in dict.fromkeys((own, *others)):
                trial = _trial(templates, message, there, history, locale, chosen=locale == own)
                if trial.chosen or trial.fault is not None or number == 0:
                    trials.append(replace(trial, step=step))
    return trials


def _trial(
    templates: Templates,
    play: Play,
    positions: MessagePositions,
    history: CustomerHistory,
    locale: str | None,
    *,
    chosen: bool,
) -> Trial:
    customer_id = history.customer_id
    # A customer's own texts have their own formats: Austrian dates in German texts.
    asked = None if chosen else locale
    try:
        rendered = templates.render(play, sample_action(play, customer_id), history.view(), locale=asked)
    except RenderingError as error:
        message = f"{error.message}, for customer {customer_id}: the action would be held (template)"
        fault = positions.fault(error.path, message, within=error.line)
        return Trial(customer_id, None, fault, locale, chosen)
    return Trial(customer_id, rendered, None, locale, chosen)
