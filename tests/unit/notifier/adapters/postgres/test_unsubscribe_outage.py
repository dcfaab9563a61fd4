"""Kind: a line in the log for each click on an unsubscribe link while the database is away."""

import asyncio

import asyncpg
from structlog.testing import capture_logs
from touchline_notifier.adapters.postgres.unsubscribe import PostgresSubscriptionStore
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_runtime.errors import Unavailable

from tests.support.ports import free_port

CLICKS = 200


async def test_clicks_while_the_database_is_away_are_logged_once() -> None:
    address = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    async with asyncpg.create_pool(address, min_size=0) as pool:
        store = PostgresSubscriptionStore(pool, Hashes("secret"), 4)
        with capture_logs() as logs:
            answers = await asyncio.gather(*(store.link_keys() for _ in range(CLICKS)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unavailable}
    (line,) = logs
    assert line["event"] == "unsubscribe_not_recorded"
