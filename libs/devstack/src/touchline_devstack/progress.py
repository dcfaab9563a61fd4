"""What a person sees while the stack comes up: a line per step and a bar for the first download, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn


class Narrator(Protocol):
    """Told what happens. `Silent` for tests and libraries, `OnConsole` for people."""

    def say(self, text: str) -> None:
        """One line about one step."""

    @contextmanager
    def download(self, title: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Yield a function to call with the number of bytes that arrived since its last call."""
        yield lambda _arrived: None


class Silent(Narrator):
    """Says nothing."""

    def say(self, text: str) -> None:
        return None


class OnConsole(Narrator):
    """Writes to a rich console; on something that is no terminal the bar is left out and the lines stay."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console if console is not None else Console(emoji=False, stderr=True, highlight=False)

    def say(self, text: str) -> None:
        self._console.print(f"[dim]\\[devstack][/dim] {text}", soft_wrap=True)

    @contextmanager
    def download(self, title: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        self.say(f"{title} ({total_bytes / 1_000_000:.0f} MB, once for this user)")
        columns = (TextColumn("           "), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(title, total=total_bytes)
            yield lambda arrived: progress.advance(task, arrived)
