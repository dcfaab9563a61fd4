"""What the command line reads and shows of endpoints and replays."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from touchline_runtime.errors import ConfigurationError


class ReplayStatus(StrEnum):
    """Which deliveries of an endpoint a replay takes."""

    failed = "failed"
    cancelled = "cancelled"
    sent = "sent"


def instant(text: str | None) -> datetime | None:
    """A day (its beginning in UTC) or a time with a zone.

    Raises:
        ConfigurationError: it is neither.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is not None and found.tzinfo is None and len(text) <= len("2026-03-01"):
        found = found.replace(tzinfo=UTC)
    if found is None or found.tzinfo is None:
        raise ConfigurationError(
            f"--since {text}: write a day or a time with its zone: 2026-03-01, 2026-03-01T12:00:00Z"
        )
    return found


def show_endpoints(found: Sequence[Mapping[str, Any]]) -> None:
    """A table of endpoints, with the terms of the API."""
    wide = [Column(name, overflow="fold") for name in ("breaker", "last error")]
    table = Table("endpoint", "type", wide[0], Column("pending", justify="right"), wide[1])
    for one in found:
        breaker = one["breaker"]
        if one["disabled_at"]:
            breaker += f" since {one['disabled_at']}: {one['disabled_reason']}"
        elif breaker != "closed" and one["retry_after"]:
            breaker += f" until {one['retry_after']}"
        error = f"{one['last_error']} ({one['last_error_at']})" if one["last_error"] else ""
        table.add_row(one["endpoint"], one["type"] or "(not configured)", breaker, str(one["pending"]), error)
    say = Console(emoji=False, highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    say.print(table)
    say.print(
        "closed: messages go out. open: paused after failures. half_open: one message goes out as a probe. "
        "disabled: nothing goes out until `endpoints enable NAME`."
    )
