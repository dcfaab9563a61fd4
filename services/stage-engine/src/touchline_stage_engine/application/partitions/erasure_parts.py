"""Separates requests to erase a key from the other records of that key, so that each part is folded by itself.

A batch settles all its links before it erases anybody, and an erasure reads what is stored. If the records of one batch
concerned the same key, what is erased would depend on where batches end.
"""

from collections.abc import Iterator

from touchline_stage_engine.application.identities.messages import is_erase_request
from touchline_stage_engine.application.values import Records


def erasure_parts(records: Records) -> Iterator[Records]:
    """Records in as few parts as possible: whatever a part erases, it has one record of. Usually there is one part.

    The order stays: touchpoints, then messages. Records of different keys change nothing of each other's.
    """
    touchpoints, messages = records
    erasing = [is_erase_request(message) for message in messages]
    if not any(erasing):
        yield records
        return
    seen = {record.key for record in touchpoints}
    erased: set[bytes | None] = set()
    begin = 0
    for index, (message, erases) in enumerate(zip(messages, erasing, strict=True)):
        if message.key in erased or (erases and message.key in seen):
            yield Records(touchpoints, messages[begin:index])
            touchpoints, begin = [], index
            seen, erased = set(), set()
        seen.add(message.key)
        if erases:
            erased.add(message.key)
    yield Records(touchpoints, messages[begin:])
