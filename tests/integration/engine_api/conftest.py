"""An engine over a few hundred lives, for everything that asks it over HTTP."""

import secrets
from collections.abc import Iterator

import pytest
from touchline_devstack.stack import Stack

from tests.support.engine.api import ApiWorld


@pytest.fixture(scope="session")
def api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    """A running engine that has folded the posted touchpoints."""
    name = f"test_engine_api_{secrets.token_hex(4)}"
    url = stack.create_database(name)
    try:
        folder = tmp_path_factory.mktemp("api")
        with ApiWorld.open(stack.kafka_bootstrap, url, f"t{secrets.token_hex(5)}", folder) as one:
            yield one
    finally:
        stack.drop_database(name)
