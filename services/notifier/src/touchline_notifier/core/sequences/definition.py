"""A sequence as runs follow it: a play with steps, fixed for as long as anybody runs under it.

A run goes on under the definition that it began under, whatever is published meanwhile: a step that was inserted or
removed would make it repeat a message, or skip one. So definitions are kept by their text, and runs name them by its
hash.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache

from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.sequences.program import Node, program

_KEPT_PARSED = 256


@dataclass(frozen=True, slots=True)
class Definition:
    """A play with steps.

    Attributes:
        text: JSON.
        digest: SHA-256 of the text.
        nodes: steps by name.
        messages: step → the play with that step's message alone.
    """

    play: Play
    text: str = field(repr=False)
    digest: bytes
    nodes: dict[str, Node] = field(repr=False)
    messages: dict[str, Play] = field(repr=False)


def definition_of(play: Play) -> Definition:
    """The definition of a play with steps."""
    text = json.dumps(play.definition(), ensure_ascii=False, separators=(",", ":"))
    nodes = program(play.steps)
    messages = {name: play.with_message(node.step.send) for name, node in nodes.items() if node.step.send is not None}
    return Definition(play, text, hashlib.sha256(text.encode()).digest(), nodes, messages)


@lru_cache(_KEPT_PARSED)
def read_definition(text: str) -> Definition:
    """Read back the text of a definition."""
    found = definition_of(Play.model_validate_json(text))
    # The digest is of the text as it was kept, also when a later release writes it in another way.
    return Definition(found.play, text, hashlib.sha256(text.encode()).digest(), found.nodes, found.messages)
