"""What an operator does from the command line."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from touchline_runtime.audit.entry import Actor
from touchline_runtime.errors import ConfigurationError

from touchline_notifier.application.api_ports import Operations, Queries, Replay
from touchline_notifier.core.delivery.endpoints import Endpoint


async def replay_all(
    operations: Operations,
    queries: Queries,
    configured: Mapping[str, Endpoint],
    wanted: Replay,
    actor: Actor,
    *,
    dry_run: bool,
) -> tuple[list[dict[str, Any]], str]:
    """Try an endpoint's deliveries again; which ones, and the state of the endpoint's breaker.

    Raises:
        ConfigurationError: there is no such endpoint.
    """
    breakers = {state["endpoint"]: state["breaker"] for state in await queries.endpoints(configured)}
    found = await operations.replayable(wanted)
    if wanted.endpoint not in breakers and not found:
        raise _unknown(wanted.endpoint, sorted(breakers))
    if not dry_run:
        await operations.replay_all(wanted, datetime.now(UTC), actor)
    return found, breakers.get(wanted.endpoint, "closed")


async def enable(
    operations: Operations, queries: Queries, configured: Mapping[str, Endpoint], names: Sequence[str], actor: Actor
) -> None:
    """Send to endpoints again that are disabled, or that wait for their breakers.

    Raises:
        ConfigurationError: there is no such endpoint; none was enabled then.
    """
    known = [state["endpoint"] for state in await queries.endpoints(configured)]
    for name in names:
        if name not in known:
            raise _unknown(name, known)
    for name in names:
        await operations.enable(name, datetime.now(UTC), actor)


def _unknown(name: str, known: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(f"there is no endpoint {name!r}: there are {', '.join(known) or 'none'}")
