"""The filter of customers that the list of customers and audiences share. Pure.

Times are microseconds since the epoch; spans are microseconds.
"""

from dataclasses import dataclass, replace

from touchline_schemas.definitions.durations import DAY

SLIPPED_WITHIN = 90 * DAY
"""A backward move as recent as this puts a customer at risk."""


@dataclass(frozen=True)
class CustomerFilter:
    """Conditions that hold together; None means no condition.

    Attributes:
        at_risk: stalled, or the last move was backward in the last 90 days.
        entered_within, in_stage_for: entered the stage less than a span ago; at least a span ago.
        seen_within, not_seen_for: the last activity is less than a span ago; at least a span ago, or there is none.
        now: the instant that spans end at.
    """

    q: str | None = None
    lifecycle: str | None = None
    stage: str | None = None
    stalled: bool | None = None
    at_risk: bool | None = None
    entered_since: int | None = None
    entered_before: int | None = None
    entered_within: int | None = None
    in_stage_for: int | None = None
    min_value: float | None = None
    max_value: float | None = None
    seen_since: int | None = None
    seen_before: int | None = None
    seen_within: int | None = None
    not_seen_for: int | None = None
    first_channel: str | None = None
    first_source: str | None = None
    trait: str | None = None
    trait_value: str | None = None
    now: int = 0

    @property
    def asks_for_stages(self) -> bool:
        """Whether a condition refers to stages."""
        conditions = (
            self.lifecycle, self.stage, self.stalled, self.at_risk, self.entered_since, self.entered_before,
            self.entered_within, self.in_stage_for,
        )  # fmt: skip
        return any(value is not None for value in conditions)

    @property
    def depends_on_time(self) -> bool:
        """Whether a customer may begin or cease to match while nothing about them changes."""
        return bool(self.at_risk) or any(
            span is not None for span in (self.entered_within, self.in_stage_for, self.seen_within, self.not_seen_for)
        )

    def at(self, now: int) -> "CustomerFilter":
        """The same conditions with spans that end at another instant."""
        return replace(self, now=now)

    def span_end(self, span: int) -> int:
        """The instant a span before `now`."""
        return self.now - span
