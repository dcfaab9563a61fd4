"""The demo's output: steps with durations, progress, a table of totals, customer stories, addresses."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from touchline_demo.checks.verifier import Verifier
from touchline_demo.clients.api import Answers


class Display:
    """Writes to a console; on something that is no terminal, plain lines alone."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print a step and its duration."""
        started = time.monotonic()
        with self.console.status(f"{title} …") if self.console.is_terminal else _nothing():
            yield
        self.seconds[title] = time.monotonic() - started
        self.say(f"  [green]✓[/] {title} [dim]({self.seconds[title]:.1f} s)[/]")

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Progress]:
        """A bar; the caller moves its only task."""
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            bar.add_task(title, total=total)
            yield bar

    @contextmanager
    def live(self) -> Iterator[Live | None]:
        """A table that is kept up to date; None where there is no terminal."""
        if not self.console.is_terminal:
            yield None
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as live:
            yield live


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def board(verifier: Verifier, stages: Mapping[str, tuple[str, ...]], answers: Answers, *, lag: int) -> RenderableType:
    """The responses to posts, and stages, moves, stalls, actions and lag as the verifier has read them."""
    return Group(_stages(verifier, stages), _happened(verifier, answers, lag))


def _stages(verifier: Verifier, stages: Mapping[str, tuple[str, ...]]) -> Table:
    table = Table(title="Where the customers are", title_justify="left", expand=False)
    table.add_column("lifecycle", style="bold")
    table.add_column("stage")
    table.add_column("customers", justify="right")
    table.add_column("stalled", justify="right", style="yellow")
    for lifecycle, names in stages.items():
        here = [data for (_, name), data in verifier.stages.stages.items() if name == lifecycle]
        for index, stage in enumerate(names):
            those = [data for data in here if data["stage"] == stage]
            stalled = sum(data["stalled_level"] > 0 for data in those)
            table.add_row(lifecycle if index == 0 else "", stage, f"{len(those):,}", f"{stalled:,}" if stalled else "")
        table.add_section()
    return table


def _happened(verifier: Verifier, answers: Answers, lag: int) -> Table:
    facts, actions = verifier.facts, verifier.actions
    table = Table(title="What happened", title_justify="left", show_header=False, expand=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row(
        "touchpoints", f"{answers.accepted:,} accepted, {verifier.touchpoints.duplicates:,} of them duplicates"
    )
    table.add_row("", f"{answers.rejected:,} invalid events rejected, as expected")
    table.add_row("moves", _counts(facts.moves))
    table.add_row("stalls", f"{facts.stalls:,}, of which {facts.recoveries:,} recovered")
    table.add_row("identities", f"{facts.merges:,} keys merged; erased with all keys: {facts.erasures:,} keys")
    table.add_row("actions", _counts(actions.outcomes) or "none yet")
    for reason, count in actions.reasons.most_common(6):
        table.add_row("", f"[dim]{count:,} × {reason}[/]")
    table.add_row("dead letters", f"{verifier.dead_letters.total:,}")
    table.add_row("lag", f"{lag:,}")
    return table


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(counts.items()) if count)


def stories(entries: list[tuple[str, list[str]]]) -> RenderableType:
    """A few customers, in plain words."""
    return Group(*(Panel("\n".join(lines), title=title, title_align="left", expand=False) for title, lines in entries))


def addresses(rows: list[tuple[str, str]]) -> RenderableType:
    """Where to look."""
    table = Table(title="To open", title_justify="left", show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, where in rows:
        table.add_row(what, where)
    return table


def customers_line(summary: Mapping[str, Any]) -> str:
    """How many customers there are, and who they are."""
    people = summary["people"]
    return (
        f"{summary['customers']:,} customers: of {people['made up']:,} people at the beginning and "
        f"{people['came by live']:,} newcomers in the live part, {people['erased on request']:,} erased on request "
        f"({summary['erasures']:,} keys erased)"
    )


def summary_line(summary: Mapping[str, Any]) -> str:
    """The sum that has to be right, in one line; what was refused is no part of it."""
    return (
        f"{summary['touchpoints_rejected']:,} refused; "
        f"{summary['touchpoints_accepted']:,} accepted = {summary['touchpoints_folded']:,} folded + "
        f"{summary['duplicates']:,} duplicates + {summary['dead_letters']:,} dead-lettered + "
        f"{summary['erased']:,} dropped as erased; lag {summary['lag']}"
    )
