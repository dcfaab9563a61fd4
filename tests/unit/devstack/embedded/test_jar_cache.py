"""Kafka's jars: from a Maven repository into the cache, against a repository that is really served over HTTP."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from touchline_devstack.embedded.jars import JarCache, JarLock
from touchline_devstack.errors import DownloadError
from touchline_devstack.progress import Silent

JARS = {"org.example:one:1.0": b"first jar" * 500, "org.example.deep:two_2.13:2.1": b"second jar" * 700}
NOBODY = "http://127.0.0.1:1/maven2"  # port 1: nothing listens there


def lock_of(jars: dict[str, bytes]) -> JarLock:
    return JarLock.parse(
        "# a comment\n\n"
        + "".join(f"{name} {len(data)} sha256:{hashlib.sha256(data).hexdigest()}\n" for name, data in jars.items())
    )


def path_in_repository(coordinate: str) -> str:
    group, artifact, version = coordinate.split(":")
    return f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"


@dataclass
class Repository:
    url: str
    folder: Path
    asked: list[str]

    def offer(self, coordinate: str, data: bytes) -> None:
        path = self.folder / path_in_repository(coordinate)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    folder = tmp_path / "repository"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Repository(f"http://127.0.0.1:{server.server_port}", folder, asked)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def without_mvn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_what_was_downloaded_once_needs_no_repository_again(repository: Repository, tmp_path: Path) -> None:
    for coordinate, data in JARS.items():
        repository.offer(coordinate, data)
    first = JarCache(tmp_path / "cache", lock_of(JARS), repository.url)
    assert not first.is_complete()
    first.ensure(Silent())
    offline = JarCache(tmp_path / "cache", lock_of(JARS), NOBODY)
    assert offline.is_complete()
    offline.ensure(Silent())
    found = [Path(entry).read_bytes() for entry in offline.classpath().split(os.pathsep)]
    assert sorted(found) == sorted(JARS.values())
    assert not (offline.folder / "partial").exists()


def test_only_what_is_missing_or_cut_short_is_downloaded_again(repository: Repository, tmp_path: Path) -> None:
    for coordinate, data in JARS.items():
        repository.offer(coordinate, data)
    cache = JarCache(tmp_path / "cache", lock_of(JARS), repository.url)
    cache.ensure(Silent())
    (cache.folder / "one-1.0.jar").write_bytes(b"first")
    assert not cache.is_complete()
    repository.asked.clear()
    cache.ensure(Silent())
    assert (cache.folder / "one-1.0.jar").read_bytes() == JARS["org.example:one:1.0"]
    assert [path for path in repository.asked if path.endswith(".jar")] == ["/org/example/one/1.0/one-1.0.jar"]


def test_a_folder_without_its_marker_is_not_trusted(repository: Repository, tmp_path: Path) -> None:
    for coordinate, data in JARS.items():
        repository.offer(coordinate, data)
    cache = JarCache(tmp_path / "cache", lock_of(JARS), repository.url)
    cache.ensure(Silent())
    (cache.folder / "one-1.0.jar").write_bytes(b"x" * len(JARS["org.example:one:1.0"]))  # right size, wrong bytes
    (cache.folder / "complete.json").unlink()
    cache.ensure(Silent())
    assert (cache.folder / "one-1.0.jar").read_bytes() == JARS["org.example:one:1.0"]


@pytest.mark.usefixtures("without_mvn")
def test_an_unreachable_repository_is_told_with_every_way_out(tmp_path: Path) -> None:
    cache = JarCache(tmp_path / "cache", JarLock.of_this_package(), NOBODY)
    with pytest.raises(DownloadError) as read:
        cache.ensure(Silent())
    text = str(read.value)
    for part in ("jgo:", "mvn: not on the PATH", "TOUCHLINE_MAVEN_REPOSITORY", str(cache.folder), "Docker"):
        assert part in text
    assert "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS" in text
    assert not cache.is_complete()


@pytest.mark.usefixtures("without_mvn")
def test_a_jar_with_other_bytes_than_the_lock_has_is_refused(repository: Repository, tmp_path: Path) -> None:
    for coordinate, data in JARS.items():
        repository.offer(coordinate, data[::-1])
    cache = JarCache(tmp_path / "cache", lock_of(JARS), repository.url)
    with pytest.raises(DownloadError, match="other bytes than the lock has"):
        cache.ensure(Silent())
    assert list(cache.folder.glob("*.jar")) == []


def test_mvn_is_asked_for_what_jgo_could_not_get(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for the program `mvn` copies jars from a shelf; it refuses a pom with what jgo has already got."""
    repository.offer("org.example.deep:two_2.13:2.1", JARS["org.example.deep:two_2.13:2.1"])
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "one-1.0.jar").write_bytes(JARS["org.example:one:1.0"])
    mvn = tmp_path / "bin" / "mvn"
    mvn.parent.mkdir()
    mvn.write_text(
        "#!/bin/sh\nfor word; do case $word in -DoutputDirectory=*) out=${word#*=};; *pom.xml) pom=$word;; esac; done\n"
        f'grep -q "<artifactId>two_2.13</artifactId>" "$pom" && exit 3\ncp {shelf}/*.jar "$out"\n'
    )
    mvn.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mvn.parent}:/usr/bin:/bin")
    cache = JarCache(tmp_path / "cache", lock_of(JARS), repository.url)
    cache.ensure(Silent())
    assert cache.is_complete()


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match="XDG_CACHE_HOME"):
        JarCache(tmp_path / "cache", lock_of(JARS), NOBODY).ensure(Silent())


def test_the_lock_of_the_package_pins_kafka_and_every_jar_once() -> None:
    lock = JarLock.of_this_package()
    assert "org.apache.kafka:kafka_2.13:4.3.1" in {jar.coordinate for jar in lock.jars}
    assert len({jar.filename for jar in lock.jars}) == len(lock.jars)
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in lock.jars)


def test_another_lock_means_another_folder(tmp_path: Path) -> None:
    changed = {**JARS, "org.example:one:1.0": b"other"}
    assert JarCache(tmp_path, lock_of(JARS)).folder != JarCache(tmp_path, lock_of(changed)).folder
