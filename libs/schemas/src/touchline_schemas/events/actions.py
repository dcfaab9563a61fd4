"""What the notifier publishes: every decision of a play for a customer, and what became of it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from touchline_schemas.times import UtcTime

Outcome = Literal["decided", "held", "held_out", "sent", "failed", "cancelled"]


class Action(BaseModel):
    """One decision of a play for one customer.

    ``touchline.action-decided`` carries outcome decided, held, held_out or cancelled; ``touchline.action-delivered``
    carries sent; ``touchline.action-failed`` carries failed. ``action_id`` is UUIDv5 of (play, fact_id), and of a
    sequence's step of (run_id, step).
    """

    model_config = ConfigDict(extra="ignore")

    action_id: str
    play: str
    fact_id: str
    customer_id: str
    lifecycle: str
    stage: str | None
    channel: str
    outcome: Outcome
    reason: str | None = Field(default=None, description="why it was held back, cancelled, or failed")
    decided_at: UtcTime
    endpoint: str | None = None
    sequence: int | None = Field(default=None, description="1, 2, 3… over the events of this action")
    run_id: str | None = Field(default=None, description="of a sequence's step: the customer's run of the sequence")
    step: str | None = Field(default=None, description="of a sequence: which step, such as 1 or 3.then.2")
