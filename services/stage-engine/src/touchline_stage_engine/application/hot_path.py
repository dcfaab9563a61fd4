"""The steps that every touchpoint goes through, in Python or compiled.

The Python code is the reference, and does what the compiled code leaves to it. `make setup` and the images build the
compiled code from the `.pyx` files (deploy/build_compiled.py).
"""

from collections.abc import Callable
from typing import NamedTuple

from touchline_stage_engine.application.outbox_records import RecordBuilder
from touchline_stage_engine.core.decoding import Arrival, Poison, decode


class HotPath(NamedTuple):
    """The steps of one kind; see `core.decoding.decode` and `RecordBuilder`."""

    decode: Callable[[bytes | None, bytes | None], Arrival | Poison]
    record_builder: Callable[[int, int], RecordBuilder]


IN_PYTHON = HotPath(decode, RecordBuilder)


def compiled() -> HotPath | None:
    """The compiled steps; None where they are not built for this Python."""
    try:
        from touchline_stage_engine.application.compiled_facts import CompiledRecordBuilder
        from touchline_stage_engine.core import compiled_decoding
    except ImportError:
        return None
    return HotPath(compiled_decoding.decode, CompiledRecordBuilder)
