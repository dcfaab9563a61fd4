"""The plays that ship: sound, and some for every built-in lifecycle."""

import pytest
from touchline_notifier.adapters.files.play_files import shipped_plays
from touchline_notifier.core.plays.built_in_lifecycles import BUILT_IN
from touchline_notifier.core.plays.parse import check_lifecycles, read_plays

SHIPPED = shipped_plays()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_play_is_sound_and_named_as_its_file(name: str) -> None:
    parsed = read_plays([SHIPPED[name]])
    assert parsed.faults == []
    assert parsed.warnings == []
    assert check_lifecycles(parsed, BUILT_IN) == []
    play = parsed.plays[name]
    assert play.title
    assert play.about
    assert play.limits.play_caps()


def test_every_built_in_lifecycle_has_plays() -> None:
    plays = read_plays(SHIPPED.values()).plays.values()
    counts = {lifecycle.name: 0 for lifecycle in BUILT_IN}
    for play in plays:
        for lifecycle in play.when.lifecycle:
            counts[lifecycle] += 1
    assert min(counts.values()) >= 3, counts
