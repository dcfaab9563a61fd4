"""``touchline-notifier preview``: what the plays would do, shown to a person or a program."""

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC

import orjson
from rich.console import Console
from rich.table import Column, Table
from touchline_schemas.times import to_wire

from touchline_notifier.core.plays.preview import Previewed, limit_lines, totals


def show(found: Sequence[Previewed], *, as_json: bool) -> None:
    """Write decisions to standard output: a table and sums, or JSON lines."""
    if as_json:
        for one in found:
            line = {
                "at": to_wire(one.at),
                "action_id": one.action_id,
                "customer_id": one.customer_id,
                "play": one.play,
                "channel": one.channel,
                "lifecycle": one.lifecycle,
                "stage": one.stage,
                "outcome": one.outcome,
                "reason": one.reason,
                "limits": [{"code": hold.code, "text": hold.text} for hold in one.limits],
                "subject": one.subject,
                "body": one.text,
                "locale": one.locale,
            }
            sys.stdout.write(orjson.dumps(line).decode() + "\n")
        return
    # In a file or a pipe nothing is cut to the width of a terminal.
    say = Console(emoji=False, highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    wide = [
        Column(name, overflow="fold")
        for name in ("customer", "play", "lifecycle", "stage", "outcome", "limits", "text")
    ]
    table = Table(Column("when (UTC)", no_wrap=True), *wide)
    for one in found:
        when = f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M}"
        limits = "\n".join(limit_lines(one))
        table.add_row(when, one.customer_id, one.play, one.lifecycle, one.stage or "", one.outcome, limits, _text(one))
    say.print(table)
    sums = Counter(one.outcome for one in found)
    say.print(", ".join(f"{count} {outcome}" for outcome, count in sums.most_common()) or "no play acts on these facts")
    for outcome, code, count in totals(found):
        if code:
            say.print(f"  {outcome}, {code}: {count}")
    if any(code == "backfill" for _, code, _ in totals(found)):
        say.print("Facts of imported history never send. --ignore-backfill shows what the plays would have done then.")
    say.print("Nothing was sent.")


def _text(one: Previewed) -> str:
    locale = f"[{one.locale}]" if one.locale else None
    return "\n".join(part for part in (locale, one.subject, one.text) if part)
