"""Derived identifiers: the same input always has the same id, in every version and every process."""

from uuid import UUID, uuid5

# Fixed for all time: ids derived in one version must be found again by every later one.
FACT_NAMESPACE = UUID("6f9a3a52-7c1b-5d0e-9b35-2f1f4a9f8f10")
ACTION_NAMESPACE = UUID("0f5d4c3e-52f1-5b8e-8a77-9d0f6f6c2c11")
AUDIENCE_NAMESPACE = UUID("c1c02ef9-adf9-4194-bd6f-c79b8c76541b")
TOUCHPOINT_NAMESPACE = UUID("b7c6a2de-3d0b-5f0a-8a3f-1f6f2d2e7a12")


def _joined(*parts: object) -> str:
    # U+001F can be in no part: control characters are refused in ids and names.
    return "\x1f".join(str(part) for part in parts)


def fact_name(customer_id: str, lifecycle: str, incarnation: int, fact_no: int, era: int = 0) -> str:
    """The name under ``FACT_NAMESPACE`` from which a fact's ``ce_id`` is derived.

    The era of a partition rises whenever its database is found to be behind what the topics hold (a restored backup):
    a number may then be given to another fact than before. While it is 0 it is left out.
    """
    if era:
        return f"{customer_id}\x1f{lifecycle}\x1f{incarnation}\x1f{era}\x1f{fact_no}"
    return f"{customer_id}\x1f{lifecycle}\x1f{incarnation}\x1f{fact_no}"


def fact_id(customer_id: str, lifecycle: str, incarnation: int, fact_no: int, era: int = 0) -> UUID:
    """The ``ce_id`` of a fact: UUIDv5 of (customer, lifecycle, incarnation, era, fact_no)."""
    return uuid5(FACT_NAMESPACE, fact_name(customer_id, lifecycle, incarnation, fact_no, era))


def audience_change_id(
    audience: str, audience_incarnation: int, customer_id: str, incarnation: int, change_no: int, era: int = 0
) -> UUID:
    """The ``ce_id`` of a customer's entering or leaving: UUIDv5 of the audience, the customer and the change's number.

    An audience's incarnation rises when one of the same name was deleted before, a customer's with every erasure. The
    era is that of facts, and is left out while it is 0.
    """
    parts: tuple[object, ...] = (audience, audience_incarnation, customer_id, incarnation)
    return uuid5(AUDIENCE_NAMESPACE, _joined(*parts, *((era,) if era else ()), change_no))


def action_id(play: str, fact: str | UUID) -> UUID:
    """An action's id: UUIDv5 of (play, fact id), so that a fact seen twice causes one action."""
    return uuid5(ACTION_NAMESPACE, _joined(play, fact))


def step_action_id(run: str | UUID, step: str) -> UUID:
    """The id of the action of a sequence's step: UUIDv5 of (run id, step), so that a run does each step once."""
    return uuid5(ACTION_NAMESPACE, _joined(run, step))


def idempotent_touchpoint_id(source: str, idempotency_key: str, index: int) -> UUID:
    """The id of a touchpoint posted without one, under an ``Idempotency-Key`` header: UUIDv5 of it and the index."""
    return uuid5(TOUCHPOINT_NAMESPACE, _joined(source, idempotency_key, index))
