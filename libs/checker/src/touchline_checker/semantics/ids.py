"""The derived ids of the contract: UUIDv5 under fixed namespaces, parts joined by U+001F."""

from uuid import UUID, uuid5

_FACTS = UUID("6f9a3a52-7c1b-5d0e-9b35-2f1f4a9f8f10")
_ACTIONS = UUID("0f5d4c3e-52f1-5b8e-8a77-9d0f6f6c2c11")


def fact_id(customer: str, lifecycle: str, incarnation: int, era: int, fact_no: int) -> str:
    """The ``ce_id`` of a move, stall or recovery; era 0 is left out."""
    parts = [customer, lifecycle, str(incarnation), *([str(era)] if era else []), str(fact_no)]
    return str(uuid5(_FACTS, "\x1f".join(parts)))


def action_id(play: str, fact: str) -> str:
    """The id of the action of a play on a fact."""
    return str(uuid5(_ACTIONS, f"{play}\x1f{fact}"))


def step_action_id(run: str, step: str) -> str:
    """The id of the action of a sequence's step. A run's id is that of an action of its play on its first fact."""
    return str(uuid5(_ACTIONS, f"{run}\x1f{step}"))
