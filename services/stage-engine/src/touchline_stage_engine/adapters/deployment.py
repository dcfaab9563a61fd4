"""What a deployment's database must agree on with its settings, before anything is folded."""

import secrets

import asyncpg
from touchline_runtime.errors import ConfigurationError

from touchline_stage_engine.settings import StageEngineSettings

REMEMBER_DEPLOYMENT = """
INSERT INTO deployment (partitions, erasure_secret)
VALUES ($1, $2)
ON CONFLICT DO NOTHING
"""
DEPLOYMENT = "SELECT partitions, erasure_secret FROM deployment"


async def check_deployment(pool: asyncpg.Pool, settings: StageEngineSettings) -> bytes:
    """Check that customers are filed by this number of partitions; the secret of the erasures' hashes.

    Raises:
        ConfigurationError: they were filed by another number.
    """
    await pool.execute(REMEMBER_DEPLOYMENT, settings.partitions, secrets.token_bytes(32))
    row = await pool.fetchrow(DEPLOYMENT)
    assert row is not None, "it was inserted above, unless it was there"
    if row["partitions"] != settings.partitions:
        raise ConfigurationError(
            f"this database's customers are filed by {row['partitions']} partitions and TOUCHLINE_PARTITIONS says "
            f"{settings.partitions}. The count can't change under them: set TOUCHLINE_PARTITIONS={row['partitions']}, "
            "or choose another TOUCHLINE_TOPIC_PREFIX (it has tables of its own) and post the history anew"
        )
    configured = settings.erasure_secret.get_secret_value()
    return configured.encode() if configured else bytes(row["erasure_secret"])
