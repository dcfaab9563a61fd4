"""The codes that reasons of actions begin with. docs/plays.md explains each; a test compares the two."""

from typing import Any, Literal, cast, get_args

FinalHoldCode = Literal["backfill", "too_old", "no_address", "suppressed", "no_consent", "template"]
ClockCode = Literal["quiet_hours", "not_a_business_day"]
TemporaryHoldCode = (
    ClockCode | Literal["delay", "capped_customer", "capped_channel", "capped_play", "sending_off", "not_in_audience"]
)
HoldCode = FinalHoldCode | TemporaryHoldCode
CancelCode = Literal[
    "too_old", "recovered", "moved_on", "stalled_again", "converted", "not_concerned", "play_gone", "merged", "erased"
]
EndCode = CancelCode | Literal["completed", "suppressed", "no_consent", "hold_out"]
"""Why a run of a sequence is over."""
HeldOutCode = Literal["hold_out"]
FailCode = Literal["delivery_failed"]
ReasonCode = HoldCode | CancelCode | HeldOutCode | FailCode


def codes_of(alias: Any) -> tuple[str, ...]:
    """The codes of one of these types."""
    return tuple(code for one in get_args(alias) for code in ([one] if isinstance(one, str) else codes_of(one)))


REASON_CODES = tuple(dict.fromkeys(codes_of(ReasonCode)))
"""Every code, for programs."""


def cancellation(ended: tuple[EndCode, str] | None) -> tuple[CancelCode, str] | None:
    """Why actions of a run that is over are cancelled. None: it is not over, or they may still arrive."""
    if ended is None:
        return None
    code, text = ended
    return (cast(CancelCode, code), text) if code in codes_of(CancelCode) else None
