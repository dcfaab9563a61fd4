"""The codes that reasons of actions begin with. docs/plays.md tells what each means; a test compares the two."""

from typing import Literal

HeldForGood = Literal["backfill", "too_old", "no_address", "suppressed", "no_consent", "template"]
ClockCode = Literal["quiet_hours", "not_a_business_day"]
HeldForNow = ClockCode | Literal["delay", "capped_customer", "capped_channel", "capped_play", "sending_off"]
HoldCode = HeldForGood | HeldForNow
CancelCode = Literal["recovered", "moved_on", "stalled_again", "not_concerned", "play_gone", "merged", "erased"]
HeldOutCode = Literal["hold_out"]
ReasonCode = HoldCode | CancelCode | HeldOutCode
