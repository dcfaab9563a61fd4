"""The topics the engine needs, and the identity of the cluster and the topics it reads."""

from dataclasses import dataclass

from touchline_partitions.topic_ids import topic_ids
from touchline_runtime.kafka.clients import Admin, WantedTopic
from touchline_schemas.topics import IDENTITY, TOPICS, TOUCHPOINTS

from touchline_stage_engine.settings import StageEngineSettings


@dataclass(frozen=True)
class Inputs:
    """The topics that the engine reads: full names, and the ids that tell them from deleted ones of the same name."""

    cluster_id: str
    touchpoints: str
    touchpoints_id: str
    identity: str
    identity_id: str
    partitions: int


async def ensure_topics(admin: Admin, settings: StageEngineSettings) -> Inputs:
    """Create missing topics; returns those that the engine reads.

    Raises:
        ConfigurationError: a topic has another number of partitions than the settings say.
    """
    await admin.ensure_topics(
        WantedTopic(
            topic.full_name(settings.topic_prefix),
            1 if topic.one_partition else settings.partitions,
            topic.config(),
        )
        for topic in TOPICS
    )
    return await find_inputs(admin, settings)


async def find_inputs(admin: Admin, settings: StageEngineSettings) -> Inputs:
    """The topics that the engine reads, which exist."""
    touchpoints = TOUCHPOINTS.full_name(settings.topic_prefix)
    identity = IDENTITY.full_name(settings.topic_prefix)
    ids = await topic_ids(admin, [touchpoints, identity])
    return Inputs(
        cluster_id=await admin.cluster_id(),
        touchpoints=touchpoints,
        touchpoints_id=ids[touchpoints],
        identity=identity,
        identity_id=ids[identity],
        partitions=settings.partitions,
    )
