"""Finds the record at which a batch fails, so that it becomes a dead letter and the others are folded.

A record may be decoded and fail later: a value that the database cannot store, a row too large for an index, a bug.
Nothing of a failed batch is written, so its records are folded again in halves, each in its own transaction, until the
failing record is alone.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence

import structlog

from touchline_stage_engine.application.errors import Interrupted, PermanentFaultError
from touchline_stage_engine.application.values import Records

log = structlog.get_logger(__name__)

CONSECUTIVE_FAILURES = 1000
"""Records in a row that fail alone before the process, rather than the records, is considered faulty."""


class Isolation:
    """Folds records; a record that fails is committed as a dead letter.

    Args:
        fold: folds and commits records; when it raises an unexpected exception, nothing is committed.
        reject: commits one record as a dead letter, with the error it fails with.
        reset: discards what a failed batch left in memory.
    """

    def __init__(
        self,
        partition: int,
        fold: Callable[[Records], Awaitable[None]],
        reject: Callable[[Records, Exception], Awaitable[None]],
        reset: Callable[[], None],
    ) -> None:
        self._partition = partition
        self._fold = fold
        self._reject = reject
        self._reset = reset
        self._failed_in_a_row = 0

    async def fold(self, records: Records) -> None:
        """Fold records, and reject those that fail.

        Raises:
            Interrupted: the fault is not a record's.
        """
        waiting = [records]
        while waiting:
            part = waiting.pop()
            number = len(part.touchpoints) + len(part.identity)
            try:
                await self._fold(part)
            except (Interrupted, MemoryError):
                raise
            except Exception as error:
                self._reset()
                if number > 1:
                    if part is records:
                        log.warning("batch_failed", partition=self._partition, records=number, error=_kind(error))
                    waiting += reversed(list(halves(part)))
                    continue
                await self._alone(part, error)
            else:
                self._failed_in_a_row = 0

    async def _alone(self, record: Records, error: Exception) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row > CONSECUTIVE_FAILURES:
            raise PermanentFaultError(
                f"{CONSECUTIVE_FAILURES} records in a row could not be folded, the last because of {error!r}: this is "
                "hardly the records' fault; report it, and replay the dead letters (reason unprocessable) afterwards"
            ) from error
        (found,) = (*record.touchpoints, *record.identity)
        log.error(
            "record_rejected", partition=self._partition, topic=found.topic, offset=found.offset, error=_kind(error),
            exc_info=error,
        )  # fmt: skip
        await self._reject(record, error)


async def each_part(
    names: Sequence[str],
    work: Callable[[Sequence[str]], Awaitable[None]],
    failed: Callable[[str, Exception], Awaitable[None]],
    reset: Callable[[], None],
) -> None:
    """Call ``work`` for several customers at once; where it fails, in halves, and ``failed`` for each that fails alone.

    ``reset`` discards what a failure left in memory.

    Raises:
        Interrupted: the fault is not a customer's.
    """
    waiting = [names]
    while waiting:
        part = waiting.pop()
        try:
            await work(part)
        except (Interrupted, MemoryError):
            raise
        except Exception as error:
            reset()
            middle = len(part) // 2
            if middle:
                waiting += [part[middle:], part[:middle]]
            else:
                await failed(part[0], error)


def halves(records: Records) -> Iterator[Records]:
    """Records in two parts, in order; touchpoints before messages."""
    touchpoints, identity = records
    middle = (len(touchpoints) + len(identity)) // 2
    split = max(0, middle - len(touchpoints))
    yield Records(touchpoints[:middle], identity[:split])
    yield Records(touchpoints[middle:], identity[split:])


def _kind(error: Exception) -> str:
    # The text of an error may contain a customer's data.
    return type(error).__name__
