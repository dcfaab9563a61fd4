"""Changes the number of partitions while every service is stopped: new topics and tables, filled from the old ones.

Kafka cannot rename a topic. So each topic is copied to a staging topic with the new number of partitions, deleted,
created again under its name, and copied back. Records keep their order by key, headers and timestamps. Then the tables
file every customer under their new partition, in one transaction with the new positions. A change that was interrupted
goes on when the command is run again; no service starts before it is complete.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from touchline_runtime.errors import ConfigurationError
from touchline_schemas.topics import IDENTITY, TOPICS, Topic


class Filing(NamedTuple):
    """How a deployment's customers are filed.

    Attributes:
        partitions: the number that customers are filed by.
        target: the number of a change that is under way; None: none is.
    """

    partitions: int
    target: int | None


class StoredPosition(NamedTuple):
    """How far a partition is folded (next offsets of both input topics), and published.

    Attributes:
        last_outbox_id: the newest record of its outbox.
        published_through: the newest that the database knows to be published; the topic itself may be further.
    """

    touchpoints: int
    identity: int
    last_outbox_id: int
    published_through: int


class InputIds(NamedTuple):
    """What positions are valid for: the cluster, and the topics of touchpoints and of messages between owners."""

    cluster_id: str
    touchpoints_id: str
    identity_id: str


class Repartitioned(NamedTuple):
    """What a change has done: records copied by topic, and rows filed anew by table."""

    records: Mapping[str, int]
    rows: Mapping[str, int]


Progress = Callable[[str], None]
"""Takes a line about the step that begins."""


class RepartitionTopics(Protocol):
    """The topics of a deployment."""

    async def check(self, before: int) -> None:
        """Check that nothing is being read and that the topics have the numbers of partitions expected.

        Raises:
            ConfigurationError: a consumer group has members, a topic is missing, or has another number of partitions.
        """

    async def check_read(self, positions: Mapping[int, StoredPosition]) -> None:
        """Check that everything is folded and every outbox is published.

        Raises:
            ConfigurationError: records are unread or unpublished.
        """

    async def move(self, topic: Topic, before: int, after: int, progress: Progress) -> int:
        """Give a topic its new partitions, or go on with it; the number of records that were copied.

        Raises:
            ConfigurationError: it has an unexpected number of partitions.
        """

    async def inputs(self) -> InputIds:
        """The ids of the present topics."""

    async def ends(self) -> dict[int, int]:
        """Partition → the end of the present topic of touchpoints."""


class RepartitionTables(Protocol):
    """The tables of a deployment."""

    async def filing(self) -> Filing | None:
        """How customers are filed; None: no engine has run."""

    async def positions(self, inputs: InputIds) -> dict[int, StoredPosition]:
        """Partition → how far it is folded on these topics.

        Raises:
            ConfigurationError: an engine still holds a partition.
        """

    async def begin(self, target: int) -> None:
        """Record that a change is under way: from here on no engine starts."""

    async def refile(self, target: int, inputs: InputIds, ends: Mapping[int, int]) -> dict[str, int]:
        """File every row under its new partition, to be folded on from these ends, and record that the change is
        complete; rows by table.
        """


async def repartition(
    topics: RepartitionTopics, tables: RepartitionTables, target: int, progress: Progress
) -> Repartitioned | None:
    """Change the number of partitions to ``target``, or complete a change to it; None: there is nothing to do.

    Raises:
        ConfigurationError: a service runs, records are unread, or another change is under way.
    """
    filing = await tables.filing()
    if filing is None:
        raise ConfigurationError(
            "no engine has stored anything in this database: set TOUCHLINE_PARTITIONS instead, before topics exist"
        )
    if filing.target is None:
        if filing.partitions == target:
            return None
        positions = await tables.positions(await topics.inputs())
        await topics.check(filing.partitions)
        await topics.check_read(positions)
        await tables.begin(target)
    elif filing.target != target:
        raise ConfigurationError(
            f"a change from {filing.partitions} to {filing.target} partitions is under way: complete it with "
            f"`touchline-stage-engine repartition {filing.target}` first"
        )
    records = {
        topic.name: await topics.move(topic, filing.partitions, target, progress)
        for topic in TOPICS
        if not topic.one_partition
    }
    progress("customers are filed under their new partitions")
    rows = await tables.refile(target, await topics.inputs(), await topics.ends())
    return Repartitioned(records, rows)


def keeps_records(topic: Topic) -> bool:
    """Whether a topic's records are copied. Messages between owners have all been read: the topic begins empty."""
    return topic is not IDENTITY
