"""Kind: an id that no customer can have. Its request would be a dead letter, and its receipt never complete."""

import pytest
from touchline_runtime.http.problems import Problem
from touchline_stage_engine.entrypoints.cli.main import app
from touchline_stage_engine.entrypoints.http.parameters import customer
from typer.testing import CliRunner

IMPOSSIBLE = ["", "x" * 1101, "ä" * 551, "caf\udce9"]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_erase_refuses_it_before_it_asks_anybody(name: str) -> None:
    done = CliRunner().invoke(app, ["erase", name])
    assert done.exit_code == 2, done.output
    assert "is not a customer id" in " ".join(done.output.split())
    assert "receipt" not in done.output


@pytest.mark.parametrize("name", [*IMPOSSIBLE, "a\x00b"])
def test_the_api_answers_404(name: str) -> None:
    with pytest.raises(Problem) as caught:
        customer(name)
    assert caught.value.status == 404


@pytest.mark.parametrize("name", ["c-17", "email:Ada@Example.org", "ext:crm:" + "ä" * 256, "x" * 1100])
def test_the_api_takes_whatever_can_be_a_key(name: str) -> None:
    assert customer(name).lower() == name.lower()
