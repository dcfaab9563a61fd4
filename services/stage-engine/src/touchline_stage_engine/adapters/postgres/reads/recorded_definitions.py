"""Definitions as they are recorded in `lifecycles`, parsed once for each text: parsing takes tens of milliseconds."""

from functools import lru_cache

from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition


@lru_cache(maxsize=200)
def recorded_definition(text: str, name: str) -> Definition:
    """The definition of a recorded text. A recorded text never changes, and a definition is immutable."""
    return read_definition(text, name)
