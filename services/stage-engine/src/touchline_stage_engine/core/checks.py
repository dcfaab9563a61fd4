"""What `check` refuses: definitions of the right shape that have no sound meaning."""

from touchline_stage_engine.core.definition import Definition
from touchline_stage_engine.core.problems import Places, Problem


def check(definition: Definition, places: Places) -> list[Problem]:
    """Everything in a definition that has no sound meaning; an empty list: it may run."""
    return []
