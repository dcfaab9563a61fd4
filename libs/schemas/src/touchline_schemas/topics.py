"""The topic registry: who writes what, where, and for how long it is kept.

Every topic's full name is ``<prefix>.<name>.v<version>``. Customer-keyed topics share one partition count and Kafka's
default partitioner, so that everything about a customer is on the same partition number everywhere.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from touchline_schemas.events.actions import Action
from touchline_schemas.events.audiences import AudienceEntered, AudienceLeft
from touchline_schemas.events.facts import (
    CustomerErased,
    CustomerMerged,
    CustomerRecovered,
    CustomerStage,
    CustomerStalled,
    LifecycleDefined,
    StageChanged,
)
from touchline_schemas.touchpoint import Touchpoint

DEFAULT_PREFIX = "touchline"
DEFAULT_PARTITIONS = 8


@dataclass(frozen=True)
class Topic:
    """One topic of the contract.

    Attributes:
        kept: ``time`` (deleted after the broker's or the topic's retention) or ``compacted`` (the latest per key).
        events: ``ce_type`` → the model of its JSON data; empty where the bytes are the sender's (dead letters).
        one_partition: small reference data that every subscriber reads completely.
        largest: bytes of a record at most; None: as the broker has it.
    """

    name: str
    version: int
    kept: Literal["time", "compacted"]
    key: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    events: dict[str, type[BaseModel]]
    about: str
    one_partition: bool = False
    internal: bool = False
    largest: int | None = None

    def full_name(self, prefix: str = DEFAULT_PREFIX) -> str:
        """The name on the broker."""
        return f"{prefix}.{self.name}.v{self.version}"

    def config(self) -> dict[str, str]:
        """Topic-level settings for its creation."""
        size = {} if self.largest is None else {"max.message.bytes": str(self.largest)}
        if self.kept == "compacted":
            return {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": "600000"} | size
        # A year of event time at least: refolds read PostgreSQL, but a new subscriber may want the past.
        return {"cleanup.policy": "delete", "retention.ms": str(400 * 24 * 3600 * 1000)} | size


TOUCHPOINTS = Topic(
    "touchpoints", 1, "time", "customer key", ("ingest", "notifier"), ("stage engine", "notifier"),
    {"touchline.touchpoint": Touchpoint},
    "Every accepted touchpoint.",
)  # fmt: skip
STAGE_CHANGES = Topic(
    "stage-changes", 1, "time", "customer id", ("stage engine",), ("notifier", "marketing tools"),
    {
        "touchline.stage-changed": StageChanged,
        "touchline.customer-stalled": CustomerStalled,
        "touchline.customer-recovered": CustomerRecovered,
        "touchline.customer-merged": CustomerMerged,
        "touchline.customer-erased": CustomerErased,
    },
    "One ordered stream of facts per customer.",
)  # fmt: skip
CUSTOMER_STAGES = Topic(
    "customer-stages", 1, "compacted", "customer_id/lifecycle", ("stage engine",), ("anybody",),
    {"touchline.customer-stage": CustomerStage},
    "The latest stage per customer and lifecycle, on the customer's own partition; a tombstone on erasure or merge.",
)  # fmt: skip
IDENTITY = Topic(
    "identity", 1, "time", "customer key of the recipient", ("stage engine",), ("stage engine",), {},
    "Between owners of partitions: links, transfers, erasures, commands.",
    internal=True,
    # A touchpoint of the largest size grows when it is transferred between keys: it becomes JSON within JSON.
    largest=4 * 1024 * 1024,
)  # fmt: skip
AUDIENCE_CHANGES = Topic(
    "audience-changes", 1, "time", "customer id", ("stage engine",), ("notifier", "marketing tools"),
    {"touchline.audience-entered": AudienceEntered, "touchline.audience-left": AudienceLeft},
    "Who enters and leaves audiences, in order per customer.",
)  # fmt: skip
LIFECYCLES = Topic(
    "lifecycles", 1, "compacted", "name/version", ("stage engine",), ("notifier", "anybody"),
    {"touchline.lifecycle-defined": LifecycleDefined},
    "The definitions in force.",
    one_partition=True,
)  # fmt: skip
RETENTION_ACTIONS = Topic(
    "retention-actions", 1, "time", "customer id", ("notifier",), ("marketing tools",),
    {
        "touchline.action-decided": Action,
        "touchline.action-delivered": Action,
        "touchline.action-failed": Action,
    },
    "Every decision of a play, held-back ones too, and its outcome.",
)  # fmt: skip
DEAD_LETTERS = Topic(
    "dead-letters", 1, "time", "the original key, if any", ("ingest", "stage engine", "notifier"), ("operators",), {},
    "Records and requests that could not be processed: the original bytes and headers, with reason, error and origin.",
)  # fmt: skip

TOPICS: tuple[Topic, ...] = (
    TOUCHPOINTS, STAGE_CHANGES, CUSTOMER_STAGES, IDENTITY, AUDIENCE_CHANGES, LIFECYCLES, RETENTION_ACTIONS,
    DEAD_LETTERS,
)  # fmt: skip

TYPE_OF: dict[type[BaseModel], str] = {
    model: name for topic in TOPICS for name, model in topic.events.items() if model is not Action
}
"""Model → ``ce_type``, for every model that has exactly one."""

ACTION_TYPE: dict[str, str] = {
    "decided": "touchline.action-decided",
    "held": "touchline.action-decided",
    "held_out": "touchline.action-decided",
    "cancelled": "touchline.action-decided",
    "sent": "touchline.action-delivered",
    "failed": "touchline.action-failed",
}
"""An action's outcome → ``ce_type``."""
