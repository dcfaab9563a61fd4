"""A simulation carried out: history and definitions in, tables, JSON or a page out."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.places import FaultyDocumentError
from touchline_schemas.times import from_micros, parse_micros, to_wire

from touchline_stage_engine import builtin
from touchline_stage_engine.adapters.catalogue import Catalogue, Version
from touchline_stage_engine.adapters.lifecycle_files import read_builtin, read_folder
from touchline_stage_engine.adapters.play_triggers import read_triggers
from touchline_stage_engine.adapters.recorded_history import HistoryFile, RecordedHistory, RunningVersion
from touchline_stage_engine.core.compile import compile_definition
from touchline_stage_engine.core.definition import Definition
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.reading import read_definition
from touchline_stage_engine.core.simulation import Simulation
from touchline_stage_engine.core.timeline import Timeline
from touchline_stage_engine.entrypoints.simulate_page import page
from touchline_stage_engine.entrypoints.simulate_table import tell
from touchline_stage_engine.entrypoints.simulated import Simulated
from touchline_stage_engine.settings import StageEngineSettings


class Asked(NamedTuple):
    """What the command line asked for. touchpoints None: the history is the database's."""

    file: Path
    touchpoints: Path | None
    running: str | None
    plays: Path | None
    until: str | None
    as_json: bool
    html: Path | None


def carry_out(asked: Asked, settings: StageEngineSettings) -> None:
    """Simulate and tell.

    Raises:
        ConfigurationError: something that was asked for is wrong: what, and what to do.
        Unavailable: the database does not answer.
    """
    fired_through = _instant(asked.until)
    candidate = _definition(asked.file)
    triggers = [] if asked.plays is None else read_triggers(asked.plays)
    if asked.html is not None and not asked.html.absolute().parent.is_dir():
        raise ConfigurationError(f"{asked.html} can't be written: there is no folder {asked.html.absolute().parent}")

    def begin(recorded: list[RunningVersion]) -> Simulation:
        against = _against(settings, candidate, asked.running, recorded, fired_through)
        return Simulation(_fold(candidate), against, fired_through, triggers)

    until = to_wire(from_micros(fired_through))
    if asked.touchpoints is not None:
        simulated = _from_file(asked.touchpoints, begin([]), until)
    else:
        name = asked.running or candidate.lifecycle
        simulated = asyncio.run(_from_database(settings, name, begin, until))
    console = Console(stderr=True, soft_wrap=True)
    for bad in simulated.bad_lines:
        console.print(f"line {bad.line}: {bad.error}", highlight=False, markup=False)
    if simulated.bad > len(simulated.bad_lines):
        console.print(f"and {simulated.bad - len(simulated.bad_lines)} more lines that are no touchpoints")
    if asked.html is not None:
        _write(asked.html, page(simulated))
        console.print(f"the page is in {asked.html}", highlight=False, markup=False)
    if asked.as_json:
        sys.stdout.buffer.write(orjson.dumps(simulated.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        tell(simulated, Console())


def _instant(text: str | None) -> int:
    if text is None:
        return time.time_ns() // 1000
    try:
        return parse_micros(text)
    except ValueError as error:
        raise ConfigurationError(f"--until {text}: {error}. Write an instant such as 2026-03-01T12:00:00Z") from None


def _definition(file: Path) -> Definition:
    try:
        return read_definition(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} can't be read: {error}") from None
    except FaultyDocumentError as error:
        raise ConfigurationError(str(error)) from None


def _fold(definition: Definition) -> Fold:
    return Fold(Timeline.of(compile_definition(definition)))


def _against(
    settings: StageEngineSettings,
    candidate: Definition,
    name: str | None,
    recorded: list[RunningVersion],
    now: int,
) -> Fold | None:
    """What the candidate is compared with; None where nothing of its name runs.

    Raises:
        ConfigurationError: a name was given and is found nowhere.
    """
    wanted = name or candidate.lifecycle
    if recorded:
        versions = [(read_definition(one.text, wanted), one) for one in recorded]
        in_force = [Version(read, one.text, read.fingerprint, one.effective_from) for read, one in versions]
        return Catalogue(in_force).folds(now)[0]
    if name is not None and Path(name).is_file():
        return _fold(_definition(Path(name)))
    in_folder = [one.definition for one in read_folder(settings.lifecycles_dir) if one.definition.lifecycle == wanted]
    if in_folder:
        return _fold(max(in_folder, key=lambda one: one.version))
    if wanted in builtin.NAMES:
        return _fold(read_builtin(wanted).definition)
    if name is not None:
        raise ConfigurationError(
            f"--running {name}: no such lifecycle runs, lies in TOUCHLINE_LIFECYCLES_DIR or is built in "
            f"({', '.join(builtin.NAMES)}), and it is no file"
        )
    return None


def _from_file(path: Path, simulation: Simulation, until: str) -> Simulated:
    with HistoryFile.open(path) as history:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
        with _progress("reading (bytes)", size) as (progress, task):
            history.read(lambda read: progress.advance(task, read))
        if not history.good:
            first = f" Line {history.bad_lines[0].line}: {history.bad_lines[0].error}" if history.bad else ""
            raise ConfigurationError(f"{path}: no line is a touchpoint.{first}")
        with _progress("folding customers", history.customers()) as (progress, task):
            for life in history.lives():
                simulation.add(life.customer_id, life.touchpoints)
                progress.advance(task)
        refused = len(history.refused)
        return Simulated(simulation.report(), str(path), until, history.bad, history.bad_lines, refused)


async def _from_database(
    settings: StageEngineSettings, name: str, begin: Callable[[list[RunningVersion]], Simulation], until: str
) -> Simulated:
    async with RecordedHistory.open(settings) as history:
        trial = begin(await history.running(name))
        with _progress("folding customers", await history.customers()) as (progress, task):
            async for life in history.lives():
                trial.add(life.customer_id, life.touchpoints)
                progress.advance(task)
        return Simulated(trial.report(), "the database", until)


@contextmanager
def _progress(what: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on standard error."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task(what, total=total)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from None
