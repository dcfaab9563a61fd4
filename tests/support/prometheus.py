"""A real Prometheus that scrapes services under test every second, with the alerts that operators get."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from tests.support.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/touchline.rules.yaml"
CONFIGURATION = ROOT / "deploy/prometheus/prometheus.yaml"
SHORTENED = 30
"""Thresholds in seconds are divided by this in tests."""


def shortened_rules(text: str) -> str:
    """The alerts with shorter times, so that a test can wait for them. Nothing else of an expression changes.

    - ``for:`` becomes 1 s.
    - The age from which something is too old (``…_seconds) > 300``) is divided by 30.
    - ``predict_linear`` looks at a value for every second of the last 15 minutes, not for every minute.
    """
    text = re.sub(r"^(\s+for:) \w+$", r"\1 1s", text, flags=re.MULTILINE)
    text = re.sub(r"(_seconds\) > )(\d+)\b", lambda found: f"{found[1]}{int(found[2]) / SHORTENED:g}", text)
    return text.replace("[15m:1m]", "[15m:1s]")


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], targets: int) -> None:
        self._process = process
        self._targets = targets
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=60, trust_env=False)

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now: ``[{"metric": labels, "value": [time, text]}]``.

        Raises:
            AssertionError: Prometheus rejects the expression.
            httpx.HTTPStatusError: Prometheus is not ready.
        """
        answer = self._http.post("/query", data={"query": expression})
        if answer.status_code >= 500:  # it starts
            answer.raise_for_status()
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        found = self._http.get("/alerts").raise_for_status().json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

    async def ready(self) -> None:
        """Wait until every target was scraped twice, so that a counter's rise is seen, and every rule evaluated."""
        await wait_until(self._evaluated, "Prometheus has evaluated its rules")

    def _evaluated(self) -> bool:
        assert self._process.poll() is None, "Prometheus has ended; see prometheus.log in its folder"
        try:
            return self._all_evaluated()
        except (httpx.TransportError, httpx.HTTPStatusError):  # it starts
            return False

    def _all_evaluated(self) -> bool:
        scraped = self.query("sum_over_time(up[1m]) >= 2")
        groups = self._http.get("/rules").raise_for_status().json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        evaluated = (rule["health"] == "ok" and not rule["lastEvaluation"].startswith("0001") for rule in rules)
        return bool(rules) and len(scraped) == self._targets and all(evaluated)


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, int]) -> Iterator[Prometheus]:
    """Start a Prometheus with an empty database.

    Args:
        folder: for its data; made when missing.
        targets: job, as in deploy/prometheus/prometheus.yaml → port on this machine.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is missing; on Debian and Ubuntu: apt-get install prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / "shortened.rules.yaml"
    rules.write_text(shortened_rules(RULES.read_text()))
    yaml = YAML(typ="safe")
    configuration = yaml.load(CONFIGURATION.read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(rules)]
    configuration["scrape_configs"] = [job for job in configuration["scrape_configs"] if job["job_name"] in targets]
    assert {job["job_name"] for job in configuration["scrape_configs"]} == set(targets)
    for job in configuration["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{targets[job['job_name']]}"]}]
    with (folder / "prometheus.yaml").open("w") as file:
        yaml.dump(configuration, file)
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    running = Prometheus(f"http://127.0.0.1:{port}", process, len(targets))
    try:
        yield running
    finally:
        running.close()
        process.kill()
        process.wait()
