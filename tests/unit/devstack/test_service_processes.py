"""Services as subprocesses: a small HTTP server stands for one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest
from touchline_devstack.errors import ServiceError
from touchline_devstack.processes import Service, command

READY_AFTER_THREE_QUESTIONS = """
import http.server, os, sys
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        self.send_response(200 if asked >= 3 or self.path != "/readyz" else 503)
        self.end_headers()
        self.wfile.write(repr({k: v for k, v in os.environ.items() if k.startswith("TOUCHLINE_")}).encode())
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["TOUCHLINE_HTTP_PORT"])), Handler).serve_forever()
"""
IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True)\n"


def service(tmp_path: Path, program: str, **environment: str) -> Service:
    return Service("sample", [command("python"), "-c", program], environment=environment, logs=tmp_path)


def test_a_service_is_ready_when_readyz_says_so_and_ends_on_sigterm(tmp_path: Path) -> None:
    with service(tmp_path, READY_AFTER_THREE_QUESTIONS) as sample:
        sample.wait_ready()
        assert sample.is_running
        pid = sample.pid
        assert sample.terminate() == -signal.SIGTERM
    assert not psutil.pid_exists(pid)
    assert "listening" in sample.log_text()


def test_a_service_gets_its_own_settings_and_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHLINE_TOPIC_PREFIX", "from-our-shell")
    with service(tmp_path, READY_AFTER_THREE_QUESTIONS, TOUCHLINE_PARTITIONS="3") as sample:
        text = httpx.get(f"{sample.wait_ready().url}/").text
    assert "'TOUCHLINE_PARTITIONS': '3'" in text
    assert "TOUCHLINE_TOPIC_PREFIX" not in text


def test_a_killed_service_starts_again_on_the_same_port(tmp_path: Path) -> None:
    with service(tmp_path, READY_AFTER_THREE_QUESTIONS) as sample:
        first = sample.wait_ready().pid
        sample.kill()
        assert sample.exit_code == -signal.SIGKILL
        assert sample.start().wait_ready().pid != first


def test_a_paused_service_answers_again_after_it_is_resumed(tmp_path: Path) -> None:
    with service(tmp_path, READY_AFTER_THREE_QUESTIONS) as sample:
        sample.wait_ready()
        sample.pause()
        os.waitpid(sample.pid, os.WUNTRACED)  # until it has stopped
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{sample.url}/", timeout=0.2)
        sample.resume()
        assert httpx.get(f"{sample.url}/", timeout=60).status_code == 200


def test_a_service_that_ends_while_starting_is_told_with_its_log(tmp_path: Path) -> None:
    sample = service(tmp_path, "raise SystemExit('no such setting')").start()
    with pytest.raises(ServiceError, match=r"(?s)ended with 1.*no such setting"):
        sample.wait_ready()


def test_a_service_that_does_not_become_ready_in_time_is_told(tmp_path: Path) -> None:
    with service(tmp_path, "import time; time.sleep(600)") as sample:
        with pytest.raises(ServiceError, match="not ready after"):
            sample.wait_ready(0.2)
        sample.kill()


def test_a_service_deaf_to_sigterm_is_killed_and_told(tmp_path: Path) -> None:
    with service(tmp_path, IGNORES_SIGTERM + READY_AFTER_THREE_QUESTIONS) as sample:
        sample.wait_ready()
        with pytest.raises(ServiceError, match="after SIGTERM"):
            sample.terminate(timeout=0.2)
        assert sample.exit_code == -signal.SIGKILL


def test_a_service_that_was_never_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="never started"):
        service(tmp_path, "").terminate()
