"""From when on actions and deliveries are kept."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from touchline_notifier.core.plays.play import Play

MARGIN = timedelta(days=7)
"""Beyond what a play looks back: a cap may be asked about some time after the fact."""


def actions_kept_from(now: datetime, days: int, plays: Iterable[Play]) -> datetime:
    """The instant from which actions are kept: ``days`` ago, or longer where a play in force looks back further.

    A play looks back over its caps' windows, its goal's window and the greatest age of its facts.
    """
    needed = [max(play.widest_window, play.max_age, play.goal.within) + MARGIN for play in plays]
    return now - max([timedelta(days=days), *needed])
