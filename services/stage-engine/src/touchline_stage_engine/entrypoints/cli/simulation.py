"""Run a simulation from the command line, and write its result as tables, JSON or a page."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from touchline_runtime.errors import ConfigurationError
from touchline_schemas.times import parse_micros

from touchline_stage_engine import bootstrap_commands
from touchline_stage_engine.application.simulation import SimulationRequest
from touchline_stage_engine.entrypoints.cli.simulation_page import page
from touchline_stage_engine.entrypoints.cli.simulation_table import print_tables
from touchline_stage_engine.settings import StageEngineSettings


def run(settings: StageEngineSettings, request: SimulationRequest, *, as_json: bool, html: Path | None) -> None:
    """Simulate, and write the result to standard output; with ``html``, also to a page.

    Raises:
        ConfigurationError: an option is wrong; the message says which, and what to do.
        Unavailable: the database does not answer.
    """
    if html is not None and not html.absolute().parent.is_dir():
        raise ConfigurationError(f"{html} can't be written: there is no folder {html.absolute().parent}")
    result = asyncio.run(bootstrap_commands.simulate(settings, request, _progress))
    console = Console(emoji=False, stderr=True, soft_wrap=True)
    for invalid in result.invalid_lines:
        console.print(f"line {invalid.line}: {invalid.error}", highlight=False, markup=False)
    if result.invalid > len(result.invalid_lines):
        console.print(f"{result.invalid - len(result.invalid_lines)} more lines are not touchpoints")
    if html is not None:
        _write(html, page(result))
        console.print(f"wrote the page to {html}", highlight=False, markup=False)
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(result.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        print_tables(result, Console(emoji=False))


def instant(text: str | None) -> int:
    """Microseconds of an RFC 3339 text; None: now.

    Raises:
        ConfigurationError: the text is not an instant.
    """
    if text is None:
        return time.time_ns() // 1000
    try:
        return parse_micros(text)
    except ValueError as error:
        raise ConfigurationError(f"--until {text}: {error}. Write an instant such as 2026-03-01T12:00:00Z") from None


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """A progress bar on standard error."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(emoji=False, stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda step: progress.advance(task, step)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from None
