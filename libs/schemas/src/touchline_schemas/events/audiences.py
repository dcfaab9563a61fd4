"""Who enters and leaves audiences, which are saved filters of customers."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from touchline_schemas.times import UtcTime

AudienceReasonKind = Literal["filter", "definition", "merge", "erased", "deleted"]


class AudienceReason(BaseModel):
    """Why a customer entered or left.

    ``filter``: something about the customer, or the clock. ``definition``: the audience was created or changed.
    ``merge``: the key is now part of another customer. ``erased``: the customer was erased. ``deleted``: the audience
    was deleted.
    """

    model_config = ConfigDict(extra="ignore")

    kind: AudienceReasonKind


class _AudienceChange(BaseModel):
    model_config = ConfigDict(extra="ignore")

    audience: str = Field(description="the audience's name")
    audience_incarnation: int = Field(ge=1, description="1, 2, 3… over the audiences that had this name")
    audience_version: int = Field(ge=1, description="rises with every change of the audience")
    customer_id: str
    incarnation: int = Field(default=0, ge=0, description="rises with every erasure of this customer")
    era: int = Field(
        default=0, ge=0, description="rises when the stage engine's database was restored from a backup; orders "
        "changes between incarnation and change_no",
    )  # fmt: skip
    change_no: int = Field(
        ge=1,
        description="1, 2, 3… over the changes of this customer in this audience: odd numbers enter, even ones leave",
    )
    occurred_at: UtcTime = Field(description="the instant as of which the filter was evaluated")
    decided_at: UtcTime = Field(description="the engine's clock when it decided")
    reason: AudienceReason


class AudienceEntered(_AudienceChange):
    """``touchline.audience-entered``: a customer is now a member."""


class AudienceLeft(_AudienceChange):
    """``touchline.audience-left``: a customer is no longer a member."""
