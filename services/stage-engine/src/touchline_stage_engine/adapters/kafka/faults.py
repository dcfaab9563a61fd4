"""Kafka's errors in the application's terms."""

from touchline_runtime.kafka.faults import remedy

from touchline_stage_engine.application.errors import Interrupted, KafkaAwayError, PermanentFaultError


def kafka_fault(error: BaseException, what: str) -> Interrupted:
    """The interruption behind a failed Kafka request; ``what`` describes the failure."""
    todo = remedy(error)
    if todo is not None:
        return PermanentFaultError(f"{what}: {error!r}: {todo}")
    return KafkaAwayError(f"{what}: {error!r}")
