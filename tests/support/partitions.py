"""Where a Kafka client's default partitioner puts a key."""

from aiokafka.partitioner import murmur2


def partition_of_client(key: str, partitions: int) -> int:
    """The partition of a key among that many."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)
