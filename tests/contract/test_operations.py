"""What operators are given: alerts that promtool accepts, over metrics that exist; a lock without addresses."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from touchline_ingest import metrics as ingest
from touchline_notifier import metrics as notifier
from touchline_runtime.http import metrics as http_metrics
from touchline_runtime.metrics import Counter, Histogram, Metrics, declared_in
from touchline_stage_engine import metrics as stage_engine

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/touchline.rules.yaml"
SERVICES = {"http": http_metrics, "ingest": ingest, "stage engine": stage_engine, "notifier": notifier}


def promtool(*arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is missing; on Debian and Ubuntu: apt-get install prometheus")
    return subprocess.run([path, *arguments], input=given, capture_output=True, timeout=60, check=False)


def series_of_all_services() -> set[str]:
    names = set()
    for module in SERVICES.values():
        for metric in declared_in(vars(module)):
            if isinstance(metric, Counter):
                names.add(f"{metric.name}_total")
            elif isinstance(metric, Histogram):
                names |= {f"{metric.name}_{part}" for part in ("bucket", "count", "sum")}
            else:
                names.add(metric.name)
    return names


def test_alerts_speak_of_metrics_that_exist() -> None:
    spoken_of = set(re.findall(r"touchline_[a-z_]+", " ".join(re.findall(r"expr: (.*)", RULES.read_text()))))
    assert spoken_of
    assert spoken_of - series_of_all_services() == set()


def test_alert_rules_hold_what_they_promise() -> None:
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stderr.decode()
    tested = promtool("test", "rules", str(RULES.with_name("touchline.rules.test.yaml")))
    assert tested.returncode == 0, (tested.stdout + tested.stderr).decode()


@pytest.mark.parametrize("service", SERVICES)
def test_promtool_finds_nothing_wrong_with_the_exposition(service: str) -> None:
    exposition = Metrics(declared_in(vars(SERVICES[service]))).exposition()
    checked = promtool("check", "metrics", given=exposition)
    # Names that come from the Prometheus client library itself are not ours to change.
    complaints = [line for line in checked.stderr.decode().splitlines() if line.startswith("touchline_")]
    assert complaints == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_metric_has_a_line_of_advice(service: str) -> None:
    lacking = [metric.name for metric in declared_in(vars(SERVICES[service])) if not metric.advice or not metric.about]
    assert lacking == []


def test_the_lock_file_pins_with_hashes_and_names_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    pins = re.findall(r"^([a-z0-9][^\s=<>]*)==", text, re.MULTILINE)
    assert len(pins) > 100
    unhashed = [block for block in re.split(r"\n(?=\S)", text) if "==" in block and "--hash=sha256:" not in block]
    assert unhashed == []
