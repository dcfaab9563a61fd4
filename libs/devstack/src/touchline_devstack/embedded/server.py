"""What the two embedded servers have in common: being found again, waiting until well, ports that were lost."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from touchline_devstack.embedded.pids import ProcessIdentity, find_by_marker
from touchline_devstack.embedded.ports import is_free
from touchline_devstack.embedded.state import ServerState
from touchline_devstack.errors import ServerError

_TRIES = 3


class EmbeddedServer(ABC):
    """One server of one folder. Every method expects the folder's lock to be held by the caller."""

    title: str
    process_name: str
    start_timeout: float = 90.0  # seconds
    stop_timeout: float = 40.0

    def __init__(self, folder: Path, state: ServerState, remember: Callable[[], None]) -> None:
        """`remember` writes the folder's state, of which `state` is a part, to its file."""
        self.folder = folder
        self.state = state
        self.remember = remember

    @property
    @abstractmethod
    def marker(self) -> str:
        """The argument that only this folder's server has on its command line."""

    @property
    @abstractmethod
    def log(self) -> Path:
        """Where its output goes."""

    @abstractmethod
    def prepare(self) -> None:
        """Everything before the first start of this folder; nothing when it was done."""

    @abstractmethod
    def choose_ports(self) -> list[int]:
        """Put ports into the state, the remembered ones while they are free, and return them."""

    @abstractmethod
    def launch(self) -> ProcessIdentity:
        """Start the process and return at once."""

    @abstractmethod
    def trouble(self) -> str | None:
        """None when it really answers, else what is wrong."""

    @abstractmethod
    def ask_to_stop(self, process: ProcessIdentity) -> bool:
        """Stop it cleanly; True when it stopped by itself within `stop_timeout`."""

    def find(self) -> ProcessIdentity | None:
        """The running process: the recorded one, or one that runs unrecorded; None when there is none."""
        recorded = self.state.process
        if recorded is not None and recorded.is_alive():
            return recorded
        self.state.process = find_by_marker(self.marker, self.process_name)
        return self.state.process

    def start(self) -> bool:
        """Start it unless it runs, and wait until it answers. False when it ran already.

        Raises ServerError with the end of its log.
        """
        if (running := self.find()) is not None:
            self._wait_until_well(running)
            return False
        self.prepare()
        for attempt in range(1, _TRIES + 1):
            ports = self.choose_ports()
            process = self.state.process = self.launch()
            self.remember()
            try:
                self._wait_until_well(process)
                return True
            except ServerError:
                # Somebody may have taken a port between our look and its bind: then draw others.
                lost = not process.is_alive() and not all(is_free(port) for port in ports)
                if not lost or attempt == _TRIES:
                    raise
        raise AssertionError("unreachable")

    def stop(self) -> bool:
        """Stop it cleanly. False when it didn't run. Raises ServerError when even SIGKILL left it."""
        process = self.find()
        if process is None:
            self.state.process = None
            return False
        self.ask_to_stop(process)
        if process.is_alive():
            raise ServerError(f"{self.title} (pid {process.pid}) does not end.")
        self.state.process = None
        return True

    def take_down(self) -> bool:
        return self.stop()

    def kill(self) -> None:
        """SIGKILL it and its children, as a crash of the machine would. The pid stays recorded, as after a crash."""
        process = self.find()
        if process is not None:
            process.kill()

    def address(self) -> str | None:
        return self.state.address

    def pid(self) -> int | None:
        process = self.find()
        return process.pid if process is not None else None

    def _wait_until_well(self, process: ProcessIdentity) -> None:
        deadline = time.monotonic() + self.start_timeout
        trouble = self.trouble()
        while trouble is not None:
            if not process.is_alive():
                raise ServerError(f"{self.title} ended while starting. The end of {self.log}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.title} (pid {process.pid}) does not answer after {self.start_timeout:.0f} s: {trouble}. "
                    f"The end of {self.log}:\n{tail(self.log)}"
                )
            time.sleep(0.05)
            trouble = self.trouble()


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, for an error's text."""
    try:
        return "\n".join(path.read_text("utf-8", errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"
