"""Processes that outlive their starter, ports, locks and the state file."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from touchline_devstack.embedded import ports
from touchline_devstack.embedded.locks import exclusive_lock
from touchline_devstack.embedded.pids import ProcessIdentity, find_by_marker, launch, working_in
from touchline_devstack.embedded.ports import answers, free_port, is_free
from touchline_devstack.embedded.state import ServerState, StackState
from touchline_devstack.errors import FolderBusyError

SLEEP = "import sys, time; print('awake', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessIdentity]:
    """A process that nobody is the parent of, with a marker of its own."""
    found = launch(
        [sys.executable, "-c", SLEEP, str(tmp_path)], marker=str(tmp_path), log=tmp_path / "log", cwd=tmp_path
    )
    yield found
    found.kill()


def name_of(process: ProcessIdentity) -> str:
    return str(psutil.Process(process.pid).name())


def wait_for_text(path: Path, text: str) -> None:
    deadline = time.monotonic() + 120
    while text not in path.read_text():
        assert time.monotonic() < deadline, f"{text!r} never came"
        time.sleep(0.01)


def test_a_launched_process_is_alive_belongs_to_nobody_and_is_stopped_by_pid(
    sleeper: ProcessIdentity, tmp_path: Path
) -> None:
    wait_for_text(tmp_path / "log", "awake")
    assert sleeper.is_alive()
    assert sleeper.pid not in {child.pid for child in psutil.Process().children(recursive=True)}
    assert sleeper.stop(timeout=120) is True
    assert not sleeper.is_alive()
    assert sleeper.stop() is True  # again: nothing to do


@pytest.mark.parametrize("changed", [{"started_at": 1.0}, {"marker": "/another/folder"}, {"pid": 2**22 - 1}])
def test_a_process_with_another_start_or_other_arguments_is_a_stranger_and_is_not_touched(
    sleeper: ProcessIdentity, changed: dict[str, object]
) -> None:
    stranger = replace(sleeper, **changed)  # type: ignore[arg-type]
    assert not stranger.is_alive()
    assert stranger.send(signal.SIGKILL) is False
    stranger.kill()
    assert sleeper.is_alive()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass", "the-zombie"])
    started_at = psutil.Process(child.pid).create_time()
    identity = ProcessIdentity(child.pid, started_at, "the-zombie")
    assert identity.wait_gone(120)  # not reaped yet
    child.wait()


def test_a_process_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = launch([sys.executable, "-c", DEAF, str(tmp_path)], marker=str(tmp_path), log=tmp_path / "log", cwd=tmp_path)
    wait_for_text(tmp_path / "log", "deaf")
    assert deaf.stop(timeout=0.2) is False
    assert not deaf.is_alive()


def test_a_process_is_found_by_its_marker_and_by_its_folder(sleeper: ProcessIdentity, tmp_path: Path) -> None:
    wait_for_text(tmp_path / "log", "awake")
    name = name_of(sleeper)
    assert find_by_marker(str(tmp_path), name) == sleeper
    assert find_by_marker(str(tmp_path), "postgres") is None
    assert find_by_marker(f"{tmp_path}/other", name) is None
    assert working_in(tmp_path, name) == [sleeper.pid]


def test_a_program_that_does_not_exist_is_an_identity_that_finds_nothing(tmp_path: Path) -> None:
    missing = launch(["/no/such/program", "marker"], marker="marker", log=tmp_path / "log", cwd=tmp_path)
    assert missing.wait_gone(120)


def test_a_remembered_port_is_kept_while_it_is_free_and_given_up_when_taken() -> None:
    port = free_port()
    assert free_port(remembered=port) == port
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert answers(port)
        assert free_port(remembered=port) != port
    assert free_port(remembered=port, avoid={port}) != port


def test_a_port_that_was_drawn_is_drawn_by_nobody_else_before_its_server_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    program = (
        "import sys; from touchline_devstack.embedded import ports\n"
        "ports._LOWEST = ports._HIGHEST = int(sys.argv[1])\n"
        "try:\n print(ports.free_port())\nexcept OSError as error:\n print(error)"
    )
    other = subprocess.run([sys.executable, "-c", program, str(port)], capture_output=True, text=True, check=True)
    assert other.stdout == f"no free TCP port between {port} and {port} on 127.0.0.1\n"
    monkeypatch.setattr(ports, "_LOWEST", port)
    monkeypatch.setattr(ports, "_HIGHEST", port)
    with pytest.raises(OSError, match="no free TCP port"):
        free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert answers(port), "the claim does not disturb the server"


def test_a_process_keeps_its_latest_claims_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MOST_CLAIMED", 3)
    monkeypatch.setattr(ports, "_claimed", OrderedDict())
    drawn = [free_port() for _ in range(5)]
    assert list(ports._claimed) == drawn[2:]
    while ports._claimed:
        os.close(ports._claimed.popitem()[1])


def test_the_lock_keeps_a_second_out_and_opens_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import sys, time; from pathlib import Path; from touchline_devstack.embedded.locks import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1]), 5):\n print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        read: list[str] = []
        with pytest.raises(FolderBusyError, match="lock"), exclusive_lock(path, 0.3, read.append):
            pass
        assert len(read) == 1
        holder.kill()
        holder.wait()
    with exclusive_lock(path, 5):
        pass


def test_the_state_is_kept_private_and_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    state = StackState(
        ServerState("embedded", "127.0.0.1:1", 1, 2, process=ProcessIdentity(7, 1.5, "marker")),
        ServerState("embedded", "postgresql://a:b@c/d", 3, password="secret"),
    )
    state.save(path)
    assert StackState.load(path) == state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kafka": {}}', '{"kafka": 1, "postgres": 2}'])
def test_a_state_file_that_cannot_be_read_is_an_empty_state(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stack.json"
    path.write_text(text)
    assert StackState.load(path) == StackState()
