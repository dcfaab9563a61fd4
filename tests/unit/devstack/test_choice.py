"""Which servers a folder gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from touchline_devstack.choice import Choice, choose
from touchline_devstack.embedded.state import Kind, ServerState, StackState
from touchline_devstack.settings import DevstackSettings


def settings(**given: str) -> DevstackSettings:
    return DevstackSettings.from_environment({"HOME": "/home/somebody", **given})


KAFKA = {"TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": "broker:9092"}
DATABASE = {"TOUCHLINE_DATABASE_URL": "postgresql://somewhere/touchline"}


def must_not_be_asked() -> bool:
    raise AssertionError("the engine does not matter here")


def test_given_servers_come_first_and_docker_is_not_even_asked() -> None:
    assert choose(settings(**KAFKA, **DATABASE), StackState(), must_not_be_asked) == Choice("given", "given")


@pytest.mark.parametrize(("engine", "kind"), [(True, "docker"), (False, "embedded")])
def test_without_given_servers_the_engine_decides(engine: bool, kind: Kind) -> None:
    assert choose(settings(), StackState(), lambda: engine) == Choice(kind, kind)


def test_one_given_server_leaves_the_other_to_us() -> None:
    assert choose(settings(**KAFKA), StackState(), lambda: False) == Choice("given", "embedded")
    assert choose(settings(**DATABASE), StackState(), lambda: True) == Choice("docker", "given")


def test_the_engine_is_asked_once() -> None:
    asked: list[bool] = []
    choose(settings(), StackState(), lambda: bool(asked.append(True)))  # type: ignore[func-returns-value]
    assert asked == [True]


def test_a_folder_keeps_the_kind_that_has_its_data() -> None:
    known = StackState(
        ServerState(kind="embedded", address="127.0.0.1:20001"), ServerState(kind="docker", address="postgresql://x/y")
    )
    assert choose(settings(), known, must_not_be_asked) == Choice("embedded", "docker")


def test_a_folder_that_was_only_looked_at_has_not_chosen() -> None:
    looked_at = StackState(ServerState(kind="embedded"), ServerState(kind="embedded"))
    assert choose(settings(), looked_at, lambda: True) == Choice("docker", "docker")


def test_addresses_that_the_folder_itself_printed_do_not_make_it_a_stranger() -> None:
    known = StackState(
        ServerState(kind="embedded", address="broker:9092"),
        ServerState(kind="embedded", address="postgresql://elsewhere/touchline"),
    )
    assert choose(settings(**KAFKA, **DATABASE), known, must_not_be_asked) == Choice("embedded", "given")


def test_settings_come_from_the_environment_and_empty_means_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = settings(TOUCHLINE_DATABASE_URL="", XDG_CACHE_HOME="")
    assert plain.folder == tmp_path.resolve() / ".touchline"
    assert plain.cache == Path("/home/somebody/.cache/touchline")
    assert plain.database_url is None
    read = settings(TOUCHLINE_DEVSTACK_DIR="/there", XDG_CACHE_HOME="/caches", TOUCHLINE_MAVEN_REPOSITORY="http://m/")
    assert (read.folder, read.cache, read.maven_repository) == (
        Path("/there"),
        Path("/caches/touchline"),
        "http://m/",
    )
