"""What a deployment's database must agree on with its settings, before anything is folded."""

import hmac
import secrets

import asyncpg
from touchline_runtime.errors import ConfigurationError

from touchline_stage_engine.settings import StageEngineSettings

REMEMBER_DEPLOYMENT = """
INSERT INTO deployment (partitions, erasure_secret, erasure_secret_check)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
"""
DEPLOYMENT = "SELECT partitions, repartitioning, erasure_secret, erasure_secret_check FROM deployment"

# The secret may change as long as there are no erasures.
REMEMBER_CHECK = """
UPDATE deployment
SET erasure_secret_check = $1
WHERE NOT EXISTS (SELECT FROM erasures)
RETURNING 1
"""


async def check_deployment(pool: asyncpg.Pool, settings: StageEngineSettings) -> bytes:
    """Check that customers are filed by this number of partitions; the secret of the erasures' hashes.

    Raises:
        ConfigurationError: they were filed by another number, a change of the number is not complete, or people were
            erased under another secret.
    """
    configured, made = settings.erasure_secret.get_secret_value().encode(), secrets.token_bytes(32)
    await pool.execute(REMEMBER_DEPLOYMENT, settings.partitions, made, secret_check(configured or made))
    row = await pool.fetchrow(DEPLOYMENT)
    assert row is not None, "it was inserted above, unless it was there"
    if row["repartitioning"] is not None:
        raise ConfigurationError(
            f"a change from {row['partitions']} to {row['repartitioning']} partitions is not complete: run "
            f"`touchline-stage-engine repartition {row['repartitioning']}` until it says so"
        )
    if row["partitions"] != settings.partitions:
        raise ConfigurationError(
            f"this database's customers are filed by {row['partitions']} partitions and TOUCHLINE_PARTITIONS says "
            f"{settings.partitions}: set TOUCHLINE_PARTITIONS={row['partitions']}, or stop every service and change "
            f"the number with `touchline-stage-engine repartition {settings.partitions}`"
        )
    secret = configured or bytes(row["erasure_secret"])
    check = secret_check(secret)
    if check != row["erasure_secret_check"] and await pool.fetchval(REMEMBER_CHECK, check) is None:
        raise ConfigurationError(
            "people were erased under another TOUCHLINE_ERASURE_SECRET: with this one their touchpoints would be taken "
            "again. Set the former secret; where none was set then, leave the variable out"
        )
    return secret


def secret_check(secret: bytes) -> bytes:
    """A keyed hash by which a secret is known again, and which doesn't give it away."""
    return hmac.digest(secret, b"touchline erasure secret", "sha256")
