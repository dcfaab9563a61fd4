"""Addresses that people copy from a terminal."""

from io import StringIO

import pytest
from rich.console import Console
from touchline_demo import display

ADDRESS = "postgresql://touchline:" + "p" * 32 + "@127.0.0.1:21194/touchline"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_an_address_is_whole_on_a_narrow_terminal(width: int) -> None:
    written = StringIO()
    Console(file=written, width=width).print(display.addresses([("the console: open this first", ADDRESS)]))
    lines = written.getvalue().splitlines()[1:]
    assert "the console: open this first" in lines[0]
    assert "".join(line.strip().removeprefix("the console: open this first").strip() for line in lines) == ADDRESS
