"""Which Kafka errors are permanent, and what to do about them."""

import re
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import TopicPartition, errors


class IncompleteAssignmentError(errors.KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """Partitions of one input topic were assigned without those of another."""


REMEDIES: Mapping[type[BaseException], str] = {
    IncompleteAssignmentError: "the topic was deleted, or the user may not describe it: create it again, or grant the "
    "ACLs in docs/operating.md",
    errors.UnsupportedCodecError: "records are compressed with a codec that can't be read here: install cramjam, or "
    "have the producer or the topic (compression.type) use gzip, snappy, lz4, zstd or none",
    errors.CorruptRecordException: "a record's checksum is wrong: restore the partition from a replica or a backup",
    errors.TopicAuthorizationFailedError: "the user may not use the topic: grant it the ACLs in docs/operating.md",
    errors.GroupAuthorizationFailedError: "the user may not use the consumer group: grant it the ACLs in "
    "docs/operating.md",
    errors.ClusterAuthorizationFailedError: "the user may not write idempotently or create topics: grant it the ACLs "
    "in docs/operating.md",
    errors.TransactionalIdAuthorizationFailed: "the user may not use the transactional id: grant it the ACLs in "
    "docs/operating.md",
    errors.AuthenticationFailedError: "the broker refuses the user: correct TOUCHLINE_KAFKA_SASL_USERNAME, "
    "TOUCHLINE_KAFKA_SASL_PASSWORD and TOUCHLINE_KAFKA_SASL_MECHANISM",
    errors.SaslAuthenticationFailed: "the broker refuses the user: correct TOUCHLINE_KAFKA_SASL_USERNAME, "
    "TOUCHLINE_KAFKA_SASL_PASSWORD and TOUCHLINE_KAFKA_SASL_MECHANISM",
    errors.AuthenticationMethodNotSupported: "the broker does not know the mechanism: correct "
    "TOUCHLINE_KAFKA_SASL_MECHANISM",
    errors.UnsupportedSaslMechanismError: "the broker does not know the mechanism: correct "
    "TOUCHLINE_KAFKA_SASL_MECHANISM",
    errors.UnsupportedVersionError: "the broker is too old or too new: use Kafka 2.8 or later",
    errors.UnrecognizedBrokerVersion: "the broker is too old or too new: use Kafka 2.8 or later",
    errors.IncompatibleBrokerVersion: "the broker is too old or too new: use Kafka 2.8 or later",
    errors.InvalidTopicError: "the topic's name is not valid: correct TOUCHLINE_TOPIC_PREFIX",
    errors.MessageSizeTooLargeError: "a record is larger than the topic takes: raise its max.message.bytes",
    errors.RecordTooLargeError: "a record is larger than the topic takes: raise its max.message.bytes",
    errors.RecordListTooLargeError: "records are larger than the topic takes: raise its max.message.bytes",
}
"""Permanent errors, each with its remedy."""


def remedy(error: BaseException) -> str | None:
    """What to do about a permanent fault; None for a transient one."""
    for kind in _kind(error).__mro__:
        if kind in REMEDIES:
            return REMEDIES[kind]
    return None


def _kind(error: BaseException) -> type[BaseException]:
    """The class of an error. aiokafka's group coordinator wraps an error as ``KafkaError(repr(error))``."""
    if type(error) is errors.KafkaError and error.args and (name := re.match(r"(\w+)\(", str(error.args[0]))):
        kind = getattr(errors, name[1], None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            return kind
    return type(error)


def check_assignment(assigned: Iterable[TopicPartition], topics: Sequence[str]) -> None:
    """Check that of each topic the same partitions were assigned.

    A topic that is gone or may not be described is missing from the broker's metadata without an error.

    Raises:
        IncompleteAssignmentError: it names the topics that are missing.
    """
    numbers: dict[str, set[int]] = {topic: set() for topic in topics}
    for at in assigned:
        numbers[at.topic].add(at.partition)
    most = max(numbers.values(), key=len)
    if short := [topic for topic, its in numbers.items() if its != most]:
        raise IncompleteAssignmentError(f"Kafka does not show all partitions of {', '.join(short)}")
