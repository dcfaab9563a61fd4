"""The compiled steps, for tests that run on both kinds."""

import pytest
from touchline_stage_engine.application.hot_path import HotPath, compiled

NOT_BUILT = "the compiled steps are not built: make setup builds them where there is a C compiler"


def compiled_hot_path() -> HotPath:
    """The compiled steps; without them the test is skipped."""
    found = compiled()
    if found is None:
        pytest.skip(NOT_BUILT)
    return found
