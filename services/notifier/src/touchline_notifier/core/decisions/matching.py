"""Which facts and customers a play concerns."""

from datetime import datetime

from touchline_notifier.core.decisions.customer_history import ActedStall, CustomerHistory
from touchline_notifier.core.decisions.stage_events import Fact
from touchline_notifier.core.plays.conditions import compare, holds
from touchline_notifier.core.plays.parts import If
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.profiles.profile import within


def matches(play: Play, fact: Fact) -> bool:
    """Whether a play's ``when`` is met by a fact."""
    when = play.when
    return (
        play.enabled
        and when.fact == fact.type
        and (not when.lifecycle or fact.lifecycle in when.lifecycle)
        and (not when.stage or fact.stage in when.stage)
        and (not when.from_stage or fact.from_stage in when.from_stage)
        and (not when.move or fact.move in when.move)
        and (not when.level or fact.level in when.level)
        and (play.corrections or not fact.correction)
    )


def conditions_hold(conditions: If, history: CustomerHistory, now: datetime) -> bool:
    """Whether conditions hold for a customer."""
    view = history.view()
    return all(holds(view, path, condition) for path, condition in conditions.profile.items()) and all(
        compare(len(history.profile.times(wanted.type, since=within(wanted.within, now))), wanted.count)
        for wanted in conditions.history
    )


def stall_of(fact: Fact, play: str) -> ActedStall | None:
    """Which stall a fact reports, by stage, level and the start of the silence; None of another fact."""
    since = fact.data.get("since")
    if fact.type != "customer-stalled" or since is None:
        return None
    return ActedStall(play, fact.lifecycle, fact.stage, str(since), fact.level or 1)
