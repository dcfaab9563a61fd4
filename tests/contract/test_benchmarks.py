"""Every benchmark that `python -m bench` lists can be run by it."""

import importlib
import inspect

import pytest

from bench import fold
from bench.__main__ import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_takes_quick_and_returns_figures(name: str) -> None:
    run = importlib.import_module(f"bench.{name}").run
    signature = inspect.signature(run, eval_str=True)
    assert list(signature.parameters) == ["quick"]
    assert str(signature.return_annotation).startswith("dict[str")


def test_the_fold_benchmark_measures_every_lifecycle() -> None:
    figures = fold.measure(200, 10)
    assert figures["touchpoints_per_s"].keys() == {*fold.shipped_folds(), "all"}
    assert all(value > 0 for value in (*figures["touchpoints_per_s"].values(), figures["loads_per_s"]))
