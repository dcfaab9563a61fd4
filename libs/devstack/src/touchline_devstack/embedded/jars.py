"""Kafka's jars: downloaded once for a user, checked against the lock, then used by every clone, offline too.

    <cache>/kafka-4.3.1-<digest of the lock>/*.jar
    <cache>/kafka-4.3.1-<digest of the lock>/complete.json    written last: without it the folder is incomplete

The jars and their digests are pinned in `kafka_jars.lock`. They come by Maven coordinate through jgo; when jgo can't,
`mvn` is asked.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from touchline_devstack.embedded.locks import exclusive_lock
from touchline_devstack.errors import DownloadError
from touchline_devstack.progress import Narrator

KAFKA_VERSION = "4.3.1"
_COMPLETE = "complete.json"
_ATTEMPTS_PER_JAR = 3
_MVN_TIMEOUT = 600.0  # seconds


@dataclass(frozen=True)
class Jar:
    """One line of the lock."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    def is_at(self, path: Path) -> bool:
        """True when the file at `path` has this jar's bytes."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


@dataclass(frozen=True)
class JarLock:
    """The pinned jars, and a digest over all of them that names the cache's folder."""

    jars: tuple[Jar, ...]
    digest: str

    @classmethod
    def parse(cls, text: str) -> JarLock:
        """Lines of `group:artifact:version size sha256:digest`; `#` begins a comment."""
        jars = []
        for line in text.splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            coordinate, size, digest = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, int(size), digest.removeprefix("sha256:")))
        ordered = tuple(sorted(jars, key=lambda jar: jar.coordinate))
        joined = "\n".join(f"{jar.coordinate} {jar.sha256}" for jar in ordered)
        return cls(ordered, hashlib.sha256(joined.encode()).hexdigest())

    @classmethod
    def of_this_package(cls) -> JarLock:
        return cls.parse(importlib.resources.files(__package__).joinpath("kafka_jars.lock").read_text("utf-8"))


class JarCache:
    """The jars of one lock in one cache folder.

    `repository` is the URL of a Maven repository to use in place of the central one (None: the central one).
    """

    def __init__(self, cache: Path, lock: JarLock, repository: str | None = None) -> None:
        self._lock = lock
        self._repository = repository
        self.folder = cache / f"kafka-{KAFKA_VERSION}-{lock.digest[:12]}"

    def is_complete(self) -> bool:
        """True when the marker is there and each jar has its size; digests were checked before it was written."""
        try:
            marker = json.loads((self.folder / _COMPLETE).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        if not isinstance(marker, dict) or marker.get("lock") != self._lock.digest:
            return False
        return all(_size(self.folder / jar.filename) == jar.size for jar in self._lock.jars)

    def classpath(self) -> str:
        return os.pathsep.join(str(self.folder / jar.filename) for jar in self._lock.jars)

    def ensure(self, narrator: Narrator) -> None:
        """Download what is missing. Does nothing, and needs no network, when the cache is complete.

        Raises DownloadError with what was tried and what to do.
        """
        if self.is_complete():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with exclusive_lock(self.folder / "lock", 900, narrator.say):
                if not self.is_complete():  # another clone may have been faster
                    self._fill(narrator)
        except OSError as error:
            raise DownloadError(
                f"Kafka's jars can't be kept in {self.folder} ({error}). "
                "Make it writable, or set XDG_CACHE_HOME to a folder that is."
            ) from error

    def _fill(self, narrator: Narrator) -> None:
        missing = [jar for jar in self._lock.jars if not jar.is_at(self.folder / jar.filename)]
        partial = self.folder / "partial"
        reasons: list[str] = []
        for name, fetch in (("jgo", self._fetch_with_jgo), ("mvn", self._fetch_with_mvn)):
            missing = [jar for jar in missing if not jar.is_at(self.folder / jar.filename)]
            shutil.rmtree(partial, ignore_errors=True)
            try:
                if missing:
                    fetch(missing, partial, narrator)
                break
            except Exception as error:  # any failure of the first way leads to the second
                reasons.append(f"{name}: {_first_line(error)}")
                narrator.say(f"{name} could not get the jars: {_first_line(error)}")
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        else:
            raise DownloadError(
                f"Apache Kafka {KAFKA_VERSION} could not be downloaded ({'; '.join(reasons)}). The first start needs a "
                "Maven repository in reach; after it, none. To use a mirror, set TOUCHLINE_MAVEN_REPOSITORY. "
                f"Or copy {self.folder} from a machine that has it, or start Docker, or set "
                "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS to a Kafka you have."
            )
        temporary = self.folder / f"{_COMPLETE}.new"
        temporary.write_text(json.dumps({"kafka": KAFKA_VERSION, "lock": self._lock.digest}), "utf-8")
        temporary.replace(self.folder / _COMPLETE)

    def _keep(self, jar: Jar, path: Path) -> None:
        if not jar.is_at(path):
            raise DownloadError(f"{jar.coordinate} came with other bytes than the lock has")
        path.replace(self.folder / jar.filename)

    def _fetch_with_jgo(self, jars: list[Jar], partial: Path, narrator: Narrator) -> None:
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext, PythonResolver

        context = MavenContext(
            resolver=PythonResolver(),
            repo_cache=partial,
            local_repos=[],
            remote_repos={"repository": (self._repository or MAVEN_CENTRAL_URL).rstrip("/")},
            timeout=30,
        )
        with narrator.download(f"downloading Apache Kafka {KAFKA_VERSION}", sum(jar.size for jar in jars)) as advance:
            for jar in jars:
                artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
                self._keep(jar, _with_retries(artifact.resolve, artifact.cached_path))
                advance(jar.size)

    def _fetch_with_mvn(self, jars: list[Jar], partial: Path, narrator: Narrator) -> None:
        mvn = shutil.which("mvn")
        if mvn is None:
            raise FileNotFoundError("not on the PATH")
        narrator.say(f"downloading Apache Kafka {KAFKA_VERSION} with {mvn}")
        target = partial / "jars"
        target.mkdir(parents=True)
        (partial / "pom.xml").write_text(_pom(jars), "utf-8")
        command = [mvn, "--batch-mode", "--quiet", "--file", str(partial / "pom.xml")]
        if self._repository is not None:
            (partial / "settings.xml").write_text(_settings(self._repository), "utf-8")
            command += ["--settings", str(partial / "settings.xml")]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={target}"]
        done = subprocess.run(  # noqa: S603 - our own command line
            command, capture_output=True, text=True, timeout=_MVN_TIMEOUT, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            raise DownloadError(f"exit code {done.returncode}: {done.stdout.strip() or done.stderr.strip()}")
        for jar in jars:
            self._keep(jar, target / jar.filename)


def _with_retries(download: Callable[[], Path], cached: Path | None) -> Path:
    for attempt in range(1, _ATTEMPTS_PER_JAR + 1):
        try:
            return download()
        except Exception:
            if attempt == _ATTEMPTS_PER_JAR:
                raise
            if cached is not None:
                cached.unlink(missing_ok=True)  # half a jar would be taken for a whole one
            time.sleep(0.5 * attempt)
    raise AssertionError("unreachable")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _pom(jars: list[Jar]) -> str:
    """A project whose dependencies are exactly the jars: nothing is resolved, so nothing but the lock decides."""
    dependencies = "".join(
        f"<dependency><groupId>{escape(jar.group)}</groupId><artifactId>{escape(jar.artifact)}</artifactId>"
        f"<version>{escape(jar.version)}</version><exclusions><exclusion><groupId>*</groupId>"
        "<artifactId>*</artifactId></exclusion></exclusions></dependency>"
        for jar in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>touchline</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


def _settings(repository: str) -> str:
    return (
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror><id>touchline</id>'
        f"<url>{escape(repository)}</url><mirrorOf>*</mirrorOf></mirror></mirrors></settings>"
    )
