"""Kinds, reasons and outcomes in the words of the pages. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from touchline_console.core import formats

_MOVES = {
    "enter": "Entered {to}",
    "advance": "Moved here from {from_}",
    "regress": "Moved back here from {from_}",
    "renew": "Began the cycle again after {from_}",
    "lapse": "Lapsed here from {from_}",
}
_KINDS = {
    "lapse": "By time alone: no activity for longer than the stage allows.",
    "manual": "Set by hand.",
    "merge": "Two keys turned out to be one customer, and the touchpoints of both were folded together.",
    "definition": "A new version of the definition was put in force.",
    "late_touchpoint": "A touchpoint arrived late, and the past was folded again.",
}
_SLIPPED = {"regress": "slipped back", "lapse": "slipped back by time"}
_TO_PLAYS = {
    "enter": "enters",
    "advance": "moves on",
    "regress": "moves back",
    "renew": "begins the cycle again",
    "lapse": "lapses",
}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
OUTCOMES = {
    "decided": "Decided",
    "sent": "Sent",
    "held": "Held back",
    "held_out": "Held out",
    "cancelled": "Cancelled",
    "failed": "Failed",
}
"""An action's outcomes, by the notifier's names."""
STATUSES = {
    "pending": "Pending",
    "delivering": "Delivering",
    "sent": "Sent",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
"""A delivery's states."""
CHANGED = {
    "stage": "The stage is set. It shows here once the engine has read it, which takes a few seconds.",
    "suppression": "The address is suppressed: no message goes to it until the suppression is lifted.",
    "lifted": "The suppression is lifted: messages go to the address again.",
}
"""What a customer's page says after a change."""
RESULTS = {"sent": "Sent", "retry": "Retry", "failed": "Failed"}
"""What came of an attempt."""
STEPS = {
    "facts": "times it applied",
    "decided": "decided to send",
    "sent": "sent",
    "opened": "opened",
    "clicked": "clicked",
    "recovered": "recovered",
    "returned": "returned",
    "converted": "converted",
}
"""The steps of a play's funnel. Of mails whose opens and clicks are not tracked, there are none of these."""
MEASURES = {name: STEPS[name] for name in ("recovered", "returned", "converted")}
"""What a play's groups are compared by."""
BREAKERS = {
    "closed": "messages go out",
    "open": "paused after failures",
    "half_open": "one message goes out as a probe",
    "disabled": "nothing goes out until an operator enables it",
}
"""The states of an endpoint's breaker; pages show the name and this."""
REASONS = {
    "quiet_hours": "quiet hours",
    "not_a_business_day": "not a business day",
    "backfill": "it concerns the past (imported history)",
    "capped_customer": "the customer had enough messages",
    "capped_play": "the play's limit was reached",
    "capped_channel": "the channel's limit was reached",
    "no_consent": "no consent",
    "suppressed": "the address is suppressed",
    "no_address": "no address is known",
    "too_old": "the fact is too old",
    "recovered": "the customer recovered first",
    "delay": "waits for its delay",
    "hold_out": "in the hold-out",
    "sending_off": "sending is switched off",
    "moved_on": "the customer moved on first",
    "stalled_again": "the customer stalled again",
    "converted": "the customer reached the goal first",
    "not_in_audience": "not a member of the audience",
    "not_concerned": "the play's conditions no longer hold",
    "play_gone": "the play no longer runs",
    "merged": "the customer was merged into another",
    "erased": "the customer was erased",
    "template": "a template could not be written",
    "delivery_failed": "the delivery failed",
}
"""The notifier's codes of reasons."""
_WITH_DETAILS = ("quiet_hours", "not_a_business_day", "no_address", "template", "delivery_failed")
"""Codes whose text says more than the code."""


STEP_RESULTS = {
    "sent": "sent",
    "failed": "not delivered",
    "waited": "went on",
    "happened": "did it",
    "timed_out": "did not",
}
"""How people left a step of a sequence; other results are codes of reasons."""


class StageTitles(Protocol):
    """Looks up a stage's title."""

    def stage(self, lifecycle: str, name: str | None) -> str:
        """Title of a stage."""


def move(last: Mapping[str, Any], titles: StageTitles, lifecycle: str) -> str:
    """The head of an explanation: "Moved here from Develop and nurture"."""
    text = _MOVES.get(last["move"], "Moved here")
    return text.format(from_=titles.stage(lifecycle, last["from_stage"]), to=titles.stage(lifecycle, last["to_stage"]))


def reason_kind(kind: str) -> str:
    """What a kind of reason means."""
    return _KINDS.get(kind, "")


def reason(text: str) -> str:
    """Why an action was held back: "quiet_hours: until 08:00" → "quiet hours: until 08:00"."""
    code, _, rest = text.partition(":")
    code, rest = code.strip(), _INSTANT.sub(_readable, rest.strip())
    if code == "delay" and rest:
        return rest.replace("_", " ")
    known = REASONS.get(code)
    if known is None:
        return _INSTANT.sub(_readable, text).replace("_", " ")
    return f"{known}: {rest.replace('_', ' ')}" if rest and code in _WITH_DETAILS else known


def step_result(result: str) -> str:
    """How people left a step: "timed_out" → "did not"."""
    return STEP_RESULTS.get(result) or reason(result)


def run_end(code: str) -> str:
    """Why a run of a sequence is over: "completed" → "came to the end"."""
    return "came to the end" if code == "completed" else reason(code)


def outcome(name: str) -> str:
    """An action's outcome or a delivery's state: "held" → "Held back"."""
    return OUTCOMES.get(name) or STATUSES.get(name) or formats.title(name)


def slipped(stage: Mapping[str, Any]) -> str:
    """How a customer slipped back: by a rule, or by time alone."""
    return _SLIPPED.get(stage["slipped_by"], "slipped back")


def _readable(found: re.Match[str]) -> str:
    moment = formats.instant(found[0])
    return f"{moment.day} {moment:%b %H:%M} UTC" if moment else found[0]


class Consent(NamedTuple):
    """The figure on a customer's page, and the line below it."""

    value: str
    hint: str


def consent(
    given: Mapping[str, bool], suppressions: Sequence[Any], messages: Sequence[Mapping[str, Any]] = ()
) -> Consent:
    """Topics whose messages are sent (where no play asks for consent: channels that may be used), refused channels and
    suppressions.
    """
    allowed = [formats.title(channel) for channel, allows in given.items() if allows]
    if messages:
        allowed = list(dict.fromkeys(formats.title(one["topic"]) for one in messages if one["sent"]))
    refused = [formats.title(channel) for channel, allows in given.items() if not allows]
    hints = []
    if refused:
        hints.append(f"refused: {', '.join(refused)}")
    hints.append(
        formats.plural(len(suppressions), "suppressed address", "suppressed addresses")
        if suppressions
        else "nothing suppressed"
    )
    return Consent(", ".join(allowed) or ("None" if refused or messages else "Never asked"), " · ".join(hints))


def play_when(when: Mapping[str, Any], titles: StageTitles) -> str:
    """On which fact a play acts: "stalls in Retention (Customer service cycle), level 1"."""
    lifecycles = _listed(when.get("lifecycle"))
    stages = _listed(when.get("stage"))
    place = "in"
    if when.get("fact") == "customer-stalled":
        text = "customer stalls"
    elif when.get("fact") == "customer-recovered":
        text = "customer recovers"
    else:
        moves, place = _listed(when.get("move")), "to"
        text = "customer " + (" or ".join(_TO_PLAYS.get(one, one) for one in moves) or "moves")
    if stages:
        lifecycle = lifecycles[0] if lifecycles else ""
        text += f" {place} {' or '.join(titles.stage(lifecycle, stage) for stage in stages)}"
    levels = _listed(when.get("level"))
    if levels:
        text += f", level {' or '.join(levels)}"
    return text


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def points(difference: float | None) -> str:
    """A difference of two shares in percentage points: "+3.2 pp"."""
    if difference is None:
        return formats.NONE
    value = round(difference * 100, 1)
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{abs(value):.1f} pp"


_VERDICTS = {
    "works": "it works: treated customers do it more often",
    "harms": "it harms: treated customers do it less often",
    "no difference shown": "no difference is shown: the interval contains zero",
    "too few to say": "too few customers to say",
}


def verdict(measures: Mapping[str, Any]) -> str:
    """What a comparison shows, measure by measure."""
    said = {_VERDICTS[one["verdict"]] for one in measures.values()}
    if len(said) == 1 and len(measures) > 1:
        text = said.pop()
        return f"{text[:1].upper()}{text[1:]}."
    found = [f"{formats.title(name)}: {_VERDICTS[one['verdict']]}." for name, one in measures.items()]
    return " ".join(found)


_HASH = re.compile(r"[0-9a-f]{64}")


def pairs(values: Mapping[str, Any] | None) -> str:
    """The fields of an audited change: "version: 2, suppressed: yes". Of a hash, enough to tell two apart."""
    found = []
    for name, value in (values or {}).items():
        if value is not None:
            text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
            found.append(f"{name}: {text[:8] + '…' if _HASH.fullmatch(text) else text}")
    return ", ".join(found)


def no_customer(key: str) -> dict[str, str]:
    """The page of a customer who is not there."""
    return {
        "kind": "unknown",
        "title": "No such customer",
        "detail": f"Nothing has been received of “{key}” yet. A new customer appears a few seconds after the first "
        "touchpoint. Look for a part of the name or an e-mail address above.",
    }
