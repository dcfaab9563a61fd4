"""Alerts and advice name only what there is: metrics that are exported, events that are logged."""

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from touchline_runtime.metrics import Counter, Histogram, declared_in

ROOT = Path(__file__).parents[2]
SERVICES = ("touchline_ingest", "touchline_stage_engine", "touchline_notifier")
MODULES = ("touchline_runtime.http.metrics", *(f"{name}.metrics" for name in SERVICES))
DECLARED = [metric for name in MODULES for metric in declared_in(vars(import_module(name)))]
OF_OTHERS = {"up", "kubelet_volume_stats_available_bytes", "node_filesystem_avail_bytes"}
"""Prometheus' own series, the kubelet's, and node_exporter's."""
RULES = [
    rule
    for path in sorted((ROOT / "deploy/prometheus").glob("*.rules.yaml"))
    for group in YAML(typ="safe").load(path.read_text())["groups"]
    for rule in group["rules"]
]
WORD = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


def exported() -> set[str]:
    """The names of all series that the services export."""
    names: set[str] = set()
    for metric in DECLARED:
        if isinstance(metric, Counter):
            names.add(f"{metric.name}_total")
        elif isinstance(metric, Histogram):
            names |= {f"{metric.name}_{part}" for part in ("sum", "count", "bucket")}
        else:
            names.add(metric.name)
    return names


def logged() -> set[str]:
    """The events that are logged anywhere in the services and the runtime."""
    events: set[str] = set()
    for path in [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/runtime/src/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                events.add(str(node.args[0].value))
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("FaultLog", "EventLog")
            ):
                events |= {str(name.value) for name in node.args[1:2] if isinstance(name, ast.Constant)}
    return events


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert", rule.get("record")))
def test_an_alert_is_about_metrics_that_are_exported(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\btouchline_[a-z_]+", rule["expr"]))
    assert named or any(re.search(rf"\b{name}\b", rule["expr"]) for name in OF_OTHERS)
    assert named <= exported()


RUNBOOK = (ROOT / "docs/runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_section_in_the_runbook(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    parts = re.findall(r"^\*\*(.+?)\*\* \S", SECTIONS[rule["alert"]], re.MULTILINE)
    assert parts == ["What it means.", "How to see it.", "What to do.", "How to know it is over."]


TESTED = (ROOT / "deploy/prometheus/touchline.rules.test.yaml").read_text()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_promtool_tests_that_an_alert_fires(rule: dict[str, Any]) -> None:
    assert f"""- {{labels: 'ALERTS{{alertname="{rule["alert"]}",alertstate="firing",""" in TESTED


def test_the_runbook_has_no_section_without_an_alert() -> None:
    assert set(SECTIONS) == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert", rule.get("record")))
def test_an_alert_s_advice_names_events_that_are_logged(rule: dict[str, Any]) -> None:
    text = " ".join(rule.get("annotations", {}).values())
    known = {metric.name for metric in DECLARED} | exported() | logged()
    assert set(WORD.findall(text)) <= known


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric.name)
def test_a_metric_s_advice_names_events_that_are_logged_where_it_speaks_of_the_log(metric: Any) -> None:
    for sentence in re.split(r"(?<=[.;:]) ", metric.advice):
        if "in the log" in sentence:
            found = {word for word in WORD.findall(sentence) if not word.startswith("touchline_")}
            assert found <= logged()
