"""The demo's plays are sound, and one of them is a sequence."""

from pathlib import Path

import touchline_demo
from touchline_notifier.adapters.files.play_files import texts_of, with_templates
from touchline_notifier.core.plays.parse import read_plays

PLAYS = Path(touchline_demo.__file__).parent / "plays"


def test_every_play_of_the_demo_is_sound() -> None:
    bundles = with_templates(texts_of(PLAYS, "TOUCHLINE_PLAYS_DIR"))
    parsed = read_plays((file, bundle.text) for file, bundle in bundles.items())
    assert parsed.faults == []
    assert [str(one) for one in parsed.warnings] == []
    assert [name for name, play in parsed.plays.items() if play.steps] == ["welcome"]
