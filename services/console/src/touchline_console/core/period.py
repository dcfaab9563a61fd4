"""The span of time that a page looks at, from its filter bar. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

CHOICES = (("7", "Last 7 days"), ("30", "Last 30 days"), ("90", "Last 90 days"), ("180", "Last 180 days"),
           ("365", "Last 12 months"), ("all", "All time"))  # fmt: skip


@dataclass(frozen=True)
class Period:
    """From ``since`` (None: since ever) until ``until``. ``chosen`` is the filter bar's value, ``custom`` for dates.

    ``ends_now``: ``until`` is the time of the request, which is not the same in the next one.
    """

    since: datetime | None
    until: datetime
    chosen: str
    first: str = ""
    last: str = ""
    ends_now: bool = False

    @property
    def before(self) -> "Period | None":
        """The period of the same length before this one; None where it has no beginning.

        Where this one ends now, its length is taken in whole hours: so the period before is the same in the next
        request, and the services keep its answers.
        """
        if self.since is None:
            return None
        length = (_hour(self.until) if self.ends_now else self.until) - self.since
        return Period(self.since - max(length, timedelta(hours=1)), self.since, self.chosen)

    @property
    def days(self) -> int | None:
        """Its length in whole days."""
        return None if self.since is None else max(1, round((self.until - self.since).total_seconds() / 86_400))

    @property
    def words(self) -> str:
        """In words, to stand after "in"."""
        if self.since is None:
            return "all time"
        if self.chosen == "custom":
            return f"{self.since:%-d %b %Y} to {self.until - timedelta(seconds=1):%-d %b %Y}"
        return f"the last {self.days} days"

    def parameters(self) -> dict[str, str | None]:
        """``since`` and ``until`` for a service. One that ends now has no end, so that answers can be shared."""
        until = None if self.ends_now else wire(self.until)
        return {"since": None if self.since is None else wire(self.since), "until": until}

    def explicit(self) -> dict[str, str | None]:
        """The same with its end, for a period that does not end now."""
        return {"since": None if self.since is None else wire(self.since), "until": wire(self.until)}


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def wire(moment: datetime) -> str:
    """RFC 3339, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _date(text: str | None) -> date | None:
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        return None
    return found if 1990 <= found.year <= 2200 else None


def read_period(days: str | None, first: str | None, last: str | None, now: datetime, usual: str = "30") -> Period:
    """The period that a filter bar asks for: two dates (UTC, both included) win over a number of days.

    What is no date (1990 to 2200) or no offered number counts as not said. A period that begins days ago begins at the
    hour, so that the same question asked twice is one question: the services keep the answers that take them long.
    """
    begin, end = _date(first), _date(last)
    if begin or end:
        until = datetime.combine(end, datetime.min.time(), UTC) + timedelta(days=1) if end else now
        since = datetime.combine(begin, datetime.min.time(), UTC) if begin else None
        if since is None or since < until:
            return Period(since, min(until, now), "custom", first or "", last or "", until >= now)
    offered = {value for value, _ in CHOICES}
    chosen = days if days in offered else usual
    if chosen == "all":
        return Period(None, now, "all", ends_now=True)
    return Period(_hour(now) - timedelta(days=int(chosen)), now, chosen, ends_now=True)
