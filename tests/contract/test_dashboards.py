"""Grafana's dashboards: made from the declared metrics, and asking for nothing that no service exports."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from touchline_console import metrics as console
from touchline_ingest import metrics as ingest
from touchline_notifier import metrics as notifier
from touchline_runtime.http import metrics as http_metrics
from touchline_runtime.metrics import Metrics, declared_in
from touchline_stage_engine import metrics as stage_engine

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
MODULES = {
    "http": http_metrics,
    "ingest": ingest,
    "stage-engine": stage_engine,
    "notifier": notifier,
    "console": console,
}
SUFFIX = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def exported(*modules: Any) -> set[str]:
    """Names of series as Prometheus would store them, from the exposition's own TYPE lines."""
    names = set()
    for module in modules:
        text = Metrics(declared_in(vars(module))).exposition().decode()
        for name, kind in re.findall(r"^# TYPE (touchline_\w+) (\w+)$", text, re.MULTILINE):
            names |= {name.removesuffix("_total") + suffix for suffix in SUFFIX[kind]}
    return names


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def asked(dashboard: dict[str, Any]) -> set[str]:
    return {name for expression in expressions(dashboard) for name in re.findall(r"\btouchline_\w+", expression)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dashboard_asks_for_series_that_services_export(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    assert dashboard["panels"]
    assert asked(dashboard) - exported(*MODULES.values()) == set()
    for panel in dashboard["panels"]:
        assert panel["description"]
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))


@pytest.mark.parametrize("service", MODULES)
def test_every_metric_of_a_service_has_a_panel(service: str) -> None:
    dashboard = json.loads((ROOT / f"deploy/grafana/dashboards/{service}.json").read_text())
    families = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in asked(dashboard)}
    assert families == {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in exported(MODULES[service])}
