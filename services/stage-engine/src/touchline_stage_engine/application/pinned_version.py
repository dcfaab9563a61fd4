"""What a version with `on_change: pin` changes at once: nothing, unless its `effective_from` is in the past."""

from collections.abc import Sequence

from touchline_schemas.times import parse_instant

from touchline_stage_engine.application.definitions import Catalogue, Version
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.touchpoint import Touchpoint


def pinned_fold(in_force: Sequence[Version], candidate: Definition, until: int) -> Fold | None:
    """The fold if the candidate is pinned after these versions; None where it then moves nobody at once.

    A candidate that is not numbered after them is taken for the next version.
    """
    if not in_force or candidate.effective_from is None:
        return None
    if candidate.lifecycle != in_force[0].definition.lifecycle:
        return None
    since = parse_instant(candidate.effective_from)
    if since > until:
        return None
    number = max(version.definition.version for version in in_force)
    changes = {"on_change": "pin", "version": max(candidate.version, number + 1)}
    return Catalogue([*in_force, Version(candidate.model_copy(update=changes), "", "", since)]).folds(until)[0]


def moves(running: Fold, pinned: Fold, touchpoints: Sequence[Touchpoint], until: int) -> bool:
    """Whether a customer is in another stage under the pinned version."""
    before, _ = running.refold(touchpoints, until)
    after, _ = pinned.refold(touchpoints, until)
    return (None if before is None else before.stage.name) != (None if after is None else after.stage.name)
