"""Permanent faults of Kafka are recognised, wrapped ones too; assignments are complete or refused."""

import pytest
from aiokafka import TopicPartition, errors
from touchline_runtime.kafka.faults import REMEDIES, IncompleteAssignmentError, check_assignment, remedy


@pytest.mark.parametrize("kind", REMEDIES)
def test_a_permanent_fault_has_its_remedy_wrapped_or_not(kind: type[BaseException]) -> None:
    assert remedy(kind("about")) == REMEDIES[kind]
    if kind is not IncompleteAssignmentError:
        # As aiokafka's group coordinator does.
        assert remedy(errors.KafkaError(repr(kind("about")))) == REMEDIES[kind]


@pytest.mark.parametrize(
    "error",
    [
        errors.KafkaError(),
        errors.KafkaError("Unexpected error"),
        errors.KafkaError("dict(a=1)"),
        errors.KafkaError(repr(errors.NotLeaderForPartitionError())),
        errors.KafkaConnectionError("TopicAuthorizationFailedError()"),
        OSError("TopicAuthorizationFailedError()"),
    ],
)
def test_what_passes_has_none(error: BaseException) -> None:
    assert remedy(error) is None


def at(**partitions: int) -> set[TopicPartition]:
    return {TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)}


@pytest.mark.parametrize("assigned", [at(), at(a=1, b=1), at(a=12, b=12)])
def test_an_assignment_with_the_same_partitions_of_all_topics_is_complete(assigned: set[TopicPartition]) -> None:
    check_assignment(assigned, ("a", "b"))
    check_assignment(iter(assigned), ("a", "b"))


@pytest.mark.parametrize(
    ("assigned", "missing"), [(at(a=1), "b"), (at(b=3), "a"), (at(a=4, b=2), "b"), (at(a=1, b=1, c=2), "a, b")]
)
def test_one_that_lacks_partitions_is_refused_and_names_the_topics(assigned: set[TopicPartition], missing: str) -> None:
    topics = sorted({"a", "b"} | {one.topic for one in assigned})
    with pytest.raises(IncompleteAssignmentError, match=f"all partitions of {missing}$"):
        check_assignment(assigned, topics)
