"""The topics of the contract, and the identity of the cluster and of the topics that the notifier reads."""

from typing import NamedTuple

from touchline_partitions.topic_ids import topic_ids
from touchline_runtime.kafka.clients import Admin, WantedTopic
from touchline_schemas.topics import AUDIENCE_CHANGES, STAGE_CHANGES, TOPICS, TOUCHPOINTS

from touchline_notifier.settings import NotifierSettings


class Inputs(NamedTuple):
    """What positions are valid for: a stream (cluster id and topic prefix), and the ids of the topics."""

    stream: str
    touchpoints_topic_id: str
    facts_topic_id: str
    audience_changes_topic_id: str


def wanted_topics(settings: NotifierSettings) -> list[WantedTopic]:
    """All topics of the contract: the first process to start creates them."""
    return [
        WantedTopic(
            topic.full_name(settings.topic_prefix), 1 if topic.one_partition else settings.partitions, topic.config()
        )
        for topic in TOPICS
    ]


async def ensure_topics(admin: Admin, settings: NotifierSettings) -> Inputs:
    """Create missing topics; returns what positions are valid for.

    Raises:
        ConfigurationError: a topic has another number of partitions than the settings say.
    """
    await admin.ensure_topics(wanted_topics(settings))
    names = [topic.full_name(settings.topic_prefix) for topic in (TOUCHPOINTS, STAGE_CHANGES, AUDIENCE_CHANGES)]
    ids = await topic_ids(admin, names)
    return Inputs(f"{await admin.cluster_id()}/{settings.topic_prefix}", *(ids[name] for name in names))
