"""One of the services' command lines as a subprocess, for tests, the demo and the benches.

    with Service("ingest", [command("touchline-ingest"), "serve"], environment=stack.env(), logs=folder) as ingest:
        ingest.wait_ready()
        httpx.post(f"{ingest.url}/v1/touchpoints", …)
        ingest.kill()               # as kill -9 does
        ingest.start().wait_ready()

It is a child of ours in a session of its own: Ctrl-C on the terminal reaches us alone, and we decide.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from touchline_devstack.embedded.ports import LOOPBACK, free_port
from touchline_devstack.embedded.server import tail
from touchline_devstack.errors import ServiceError


def command(name: str) -> str:
    """Path of a command line that is installed beside the running Python."""
    return str(Path(sys.executable).with_name(name))


class Service:
    """A service's process and its address.

    `arguments` is the whole command line. `environment` is added to ours, from which every TOUCHLINE_… variable is
    taken first, so that a service gets what it is told here and nothing by chance; TOUCHLINE_HTTP_PORT is set to
    `port` (None: a free one, the same for every start of this object). Its output goes to `<logs>/<name>.log`.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        logs: Path,
        port: int | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.port = port if port is not None else free_port()
        self.log = logs / f"{name}.log"
        self._arguments = list(arguments)
        self._cwd = cwd
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
        self._environment = ours | {"TOUCHLINE_HTTP_PORT": str(self.port)} | dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """http://127.0.0.1:port, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """Raises ServiceError when it was never started."""
        return self._started().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs or before the first start; -9 after SIGKILL."""
        return self._process.poll() if self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the process and return at once. Raises ServiceError when it runs already."""
        if self.is_running:
            raise ServiceError(f"{self.name} runs already (pid {self.pid})")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._cwd,
                start_new_session=True,
            )
        return self

    def wait_ready(self, timeout: float = 180.0) -> Self:
        """Return when GET /readyz answers 200. Raises ServiceError, with the log's end, when it ends or doesn't."""
        deadline = time.monotonic() + timeout
        last = "it was not asked yet"
        with httpx.Client(base_url=self.url, timeout=30.0, trust_env=False) as client:
            while True:
                if not self.is_running:
                    raise ServiceError(
                        f"{self.name} ended with {self.exit_code} before it was ready. {self._log_end()}"
                    )
                try:
                    answer = client.get("/readyz")
                except httpx.TransportError as error:
                    last = f"{type(error).__name__}: {error}"
                else:
                    if answer.status_code == httpx.codes.OK:
                        return self
                    last = f"{answer.status_code} {answer.text[:500]}"
                if time.monotonic() > deadline:
                    raise ServiceError(f"{self.name} is not ready after {timeout:g} s ({last}). {self._log_end()}")
                time.sleep(0.05)

    def wait_ended(self, timeout: float = 180.0) -> int:
        """Wait for it to end by itself; its exit code. Raises ServiceError when it doesn't in `timeout` seconds."""
        try:
            return self._started().wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServiceError(f"{self.name} did not end in {timeout:g} s. {self._log_end()}") from None

    def terminate(self, timeout: float = 90.0) -> int:
        """SIGTERM, and wait for the end; its exit code. Raises ServiceError when it doesn't end (it is then killed)."""
        process = self._started()
        process.send_signal(signal.SIGTERM)  # does nothing when it has ended
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServiceError(f"{self.name} did not end {timeout:g} s after SIGTERM. {self._log_end()}") from None

    def kill(self) -> None:
        """SIGKILL to it and to the processes of its session, and wait until they are gone."""
        process = self._started()
        if process.poll() is None:
            # Not reaped yet, so the number is still its process group's.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing, like a process on a frozen machine."""
        self._started().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._started().send_signal(signal.SIGCONT)

    def log_text(self) -> str:
        """Everything it wrote, over all its starts."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it: politely when all went well, else at once."""
        if not self.is_running:
            return
        if kind is None:
            self.resume()  # a paused process would never see SIGTERM
            self.terminate()
        else:
            self.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceError(f"{self.name} was never started")
        return self._process

    def _log_end(self) -> str:
        return f"The end of {self.log}:\n{tail(self.log, 30)}"
