"""Processes that outlive the one that started them, found again without ever confusing them with another process.

A pid alone proves nothing: pids are used again. A process is ours when its pid, its start time and the marker (an
absolute path in our folder that only our server has among its arguments) all agree.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from touchline_devstack.embedded.accounts import Account

# create_time() is computed from the boot time, which moves a little when the clock is set.
_START_TIME_TOLERANCE = 2.0  # seconds


@dataclass(frozen=True)
class ProcessIdentity:
    """A process of ours: pid, start time (epoch seconds), and the argument that is ours alone."""

    pid: int
    started_at: float
    marker: str

    def find(self) -> psutil.Process | None:
        """The live process, or None when it ended, is a zombie, or the pid belongs to another process by now."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started_at) > _START_TIME_TOLERANCE:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            if not _has_marker(process.cmdline(), self.marker):
                return None
        except psutil.Error:
            return None
        return process

    def is_alive(self) -> bool:
        return self.find() is not None

    def send(self, signal_number: int) -> bool:
        """Signal it if it is still ours. False when it is gone."""
        process = self.find()
        if process is None:
            return False
        try:
            process.send_signal(signal_number)
        except psutil.NoSuchProcess:
            return False
        return True

    def wait_gone(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for it to end. True when it has."""
        # Not psutil's wait(): it waits until the zombie is reaped, which in a container may take a while.
        deadline = time.monotonic() + timeout
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def stop(self, signal_number: int = signal.SIGTERM, timeout: float = 30.0) -> bool:
        """Signal it and wait; after `timeout` seconds SIGKILL. True when the polite way was enough."""
        if not self.send(signal_number) or self.wait_gone(timeout):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL, to it and to its children, and wait until all are gone."""
        process = self.find()
        if process is None:
            return
        try:
            children = process.children(recursive=True)
            process.kill()
        except psutil.NoSuchProcess:
            return
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        deadline = time.monotonic() + 10
        while any(_is_running(one) for one in (process, *children)) and time.monotonic() < deadline:
            time.sleep(0.02)


def find_by_marker(marker: str, name: str) -> ProcessIdentity | None:
    """The process called `name` with `marker` among its arguments, though nobody wrote its pid down.

    This finds the server whose starter was killed between starting it and recording it.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.name() == name and _has_marker(process.cmdline(), marker):
                found[process.pid] = process
        except psutil.Error:
            continue
    for process in found.values():
        try:
            # A freshly forked child still shows its parent's arguments: take the parent.
            if process.ppid() not in found and process.status() != psutil.STATUS_ZOMBIE:
                return ProcessIdentity(process.pid, process.create_time(), marker)
        except psutil.Error:
            continue
    return None


def working_in(folder: Path, name: str) -> list[int]:
    """Pids of the processes called `name` whose working directory is `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == name and process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def launch(
    command: Sequence[str],
    *,
    marker: str,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
) -> ProcessIdentity:
    """Start `command` in a session of its own, its output appended to `log`, and forget it.

    A shell in between starts it and ends, so the server is not our child: it outlives us, it leaves no zombie, and
    Ctrl-C on our terminal doesn't reach it. `account` is the user it runs as (only root can name one).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        starter = subprocess.run(  # noqa: S603 - our own command line
            ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=cwd,
            env=dict(os.environ) if env is None else dict(env),
            start_new_session=True,
            check=True,
            timeout=30,
            user=account.uid if account is not None else None,
            group=account.gid if account is not None else None,
            extra_groups=[] if account is not None else None,
        )
    pid = int(starter.stdout)
    try:
        started_at = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started_at = 0.0  # ended already: an identity that finds nothing
    return ProcessIdentity(pid, started_at, marker)


def _is_running(process: psutil.Process) -> bool:
    """False for a zombie: it holds no file and no port any more."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _has_marker(arguments: Sequence[str], marker: str) -> bool:
    return marker in arguments
