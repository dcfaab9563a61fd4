"""Which versions are in force when, and when everybody has to be folded again."""

from typing import Any

from touchline_stage_engine.application.definitions import Catalogue, Version
from touchline_stage_engine.core.definitions.model import Definition

DAY = 86_400 * 10**6


def version(name: str, number: int, effective_from: int | None, **more: Any) -> Version:
    stages = [{"name": "a", "rules": [{"when": ["t"], "to": "next"}]}, {"name": "b"}]
    written = {"lifecycle": name, "version": number, "stages": stages, **more}
    return Version(Definition.model_validate(written), "", f"{name}/{number}", effective_from)


def versions_at(catalogue: Catalogue, now: int, event_time: int) -> list[tuple[str, int]]:
    return [(fold.name, fold.timeline.at(event_time).version) for fold in catalogue.folds(now)]


def test_a_fold_for_each_lifecycle_in_the_order_of_their_names() -> None:
    catalogue = Catalogue([version("z", 1, None), version("a", 1, None)])
    assert versions_at(catalogue, 0, 0) == [("a", 1), ("z", 1)]


def test_a_version_that_refolds_counts_from_its_time_and_then_for_all_time() -> None:
    catalogue = Catalogue([version("a", 1, None), version("a", 2, 5 * DAY, on_change="refold")])
    assert versions_at(catalogue, 4 * DAY, 9 * DAY) == [("a", 1)]
    assert versions_at(catalogue, 5 * DAY, 0) == [("a", 2)]
    assert catalogue.next_change(4 * DAY) == 5 * DAY
    assert catalogue.next_change(5 * DAY) is None
    assert catalogue.generation(4 * DAY, 0) != catalogue.generation(5 * DAY, 0)


def test_a_pinned_version_is_there_from_the_start_and_holds_from_its_event_time() -> None:
    catalogue = Catalogue([version("a", 1, None), version("a", 2, 5 * DAY, on_change="pin")])
    assert versions_at(catalogue, 0, 4 * DAY) == [("a", 1)]
    assert versions_at(catalogue, 0, 5 * DAY) == [("a", 2)]
    assert catalogue.next_change(0) is None
    assert catalogue.generation(0, 0) == catalogue.generation(9 * DAY, 0)


def test_another_lifecycle_or_a_rebuild_means_folding_again_and_nothing_else_does() -> None:
    one, two = version("a", 1, None), version("b", 1, None)
    assert Catalogue([one]).generation(0, 0) == Catalogue([one]).generation(DAY, 0)
    assert Catalogue([one]).generation(0, 0) != Catalogue([one, two]).generation(0, 0)
    assert Catalogue([one]).generation(0, 0) != Catalogue([one]).generation(0, 1)
