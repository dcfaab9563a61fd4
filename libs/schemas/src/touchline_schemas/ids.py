"""Identifiers: derived ones, so that doing a thing twice names it the same, and time-ordered ones."""

import hashlib
import os
import time
from collections.abc import Callable
from uuid import UUID, uuid5

# Fixed for all time: ids derived in one version must be found again by every later one.
FACT_NAMESPACE = UUID("6f9a3a52-7c1b-5d0e-9b35-2f1f4a9f8f10")
ACTION_NAMESPACE = UUID("0f5d4c3e-52f1-5b8e-8a77-9d0f6f6c2c11")
TOUCHPOINT_NAMESPACE = UUID("b7c6a2de-3d0b-5f0a-8a3f-1f6f2d2e7a12")

_FACT_NAMESPACE = FACT_NAMESPACE.bytes
# The two highest bits of the variant's digit are 10 (RFC 9562 §4.1).
_VARIANT_BITS, _RAND_B = 0x2 << 62, (1 << 62) - 1
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _joined(*parts: object) -> str:
    # U+001F can be in no part: control characters are refused in ids and names.
    return "\x1f".join(str(part) for part in parts)


def fact_id(customer_id: str, lifecycle: str, incarnation: int, fact_no: int) -> UUID:
    """The ``ce_id`` of a fact: UUIDv5 of (customer, lifecycle, incarnation, fact_no)."""
    return uuid5(FACT_NAMESPACE, _joined(customer_id, lifecycle, incarnation, fact_no))


def fact_id_text(customer_id: str, lifecycle: str, incarnation: int, fact_no: int) -> str:
    """`fact_id` as text, for hot code: the same as ``str(fact_id(...))`` without an object in between."""
    name = f"{customer_id}\x1f{lifecycle}\x1f{incarnation}\x1f{fact_no}"
    digest = hashlib.sha1(_FACT_NAMESPACE + name.encode()).hexdigest()  # noqa: S324  (RFC 9562 §5.5 says SHA-1)
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"


def action_id(play: str, fact: str | UUID) -> UUID:
    """An action's id: UUIDv5 of (play, fact id), so that a fact seen twice acts once."""
    return uuid5(ACTION_NAMESPACE, _joined(play, fact))


def idempotent_touchpoint_id(source: str, idempotency_key: str, index: int) -> UUID:
    """The id of a touchpoint posted without one, under an ``Idempotency-Key`` header: UUIDv5 of it and the index."""
    return uuid5(TOUCHPOINT_NAMESPACE, _joined(source, idempotency_key, index))


def uuid7(unix_ms: int | None = None) -> UUID:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of Unix time in milliseconds, then random bits."""
    moment = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    value = (moment & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return UUID(int=value | 0x7 << 76 | 0x2 << 62)


def uuid7_text() -> str:
    """A UUIDv7 of now as text, for hot code: the same as ``str(uuid7())`` without an object in between."""
    moment = f"{time.time_ns() // 1_000_000:012x}"
    random = os.urandom(10).hex()
    return f"{moment[:8]}-{moment[8:]}-7{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"


def uuid7_series() -> Callable[[int], str]:
    """Names for the items of one request, by index: UUIDv7s of now that rise with it (RFC 9562 §6.2, method 2).

    One draw of random bits for all of them: for each it would cost more than everything else that is done to an item.
    """
    first = uuid7().int
    head, start = str(UUID(int=first))[:18], first & _RAND_B

    def name(index: int) -> str:
        tail = f"{start + index & _RAND_B | _VARIANT_BITS:016x}"
        return f"{head}-{tail[:4]}-{tail[4:]}"

    return name
