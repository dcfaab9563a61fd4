"""A process: starts, stops in good order, and says why it can't."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from touchline_runtime.process import logs
    from touchline_runtime.process.health import Health
    from touchline_runtime.http.app import build_app
    from touchline_runtime.metrics import Metrics
    from touchline_runtime.process.run import listen, main, run
    from touchline_runtime.config.settings import ServiceSettings, read_settings

    class Worker:
        name = "worker"
        async def run(self, stopping):
            if "fail" in sys.argv:
                raise RuntimeError("the worker broke")
            await stopping.wait()
            print("drained", flush=True)

    async def go(settings):
        app = build_app("t", version="1", about="", health=Health(), metrics=Metrics([]))
        @app.get("/slow")
        async def slow():
            print("accepted", flush=True)
            await asyncio.sleep(0.5)
            return "finished"
        sock = listen(settings.http_host, settings.http_port)
        print(sock.getsockname()[1], flush=True)
        return await run(app, sock, [Worker()], settings=settings)

    logs.configure("t", format="json")
    main(go(read_settings(ServiceSettings)))
    """
)


def start(*arguments: str, port: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TOUCHLINE_HTTP_PORT": str(port)},
        cwd=Path(__file__).parent,
    )


def test_what_was_accepted_is_finished_before_the_components_stop() -> None:
    with start() as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        request = subprocess.Popen(
            [sys.executable, "-c",
             f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/slow').read())"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline() == "accepted\n"
        process.send_signal(signal.SIGTERM)
        answered, _ = request.communicate(timeout=180)
        rest, _ = process.communicate(timeout=180)
    assert "finished" in answered
    assert rest == "drained\n"
    assert process.returncode == 0


def test_a_component_that_breaks_ends_the_process_with_a_code_and_a_log_line() -> None:
    with start("fail") as process:
        _, logged = process.communicate(timeout=180)
    assert process.returncode == 1
    assert '"event":"component_ended"' in logged
    assert "the worker broke" in logged


def test_a_port_in_use_is_said_without_a_traceback() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with start(port=other.getsockname()[1]) as process:
            _, message = process.communicate(timeout=180)
    assert process.returncode == 2
    assert "is in use by another process" in message
    assert "TOUCHLINE_HTTP_PORT" in message
    assert "Traceback" not in message


def test_it_serves_health_from_the_start() -> None:
    with start() as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=180) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=180)
    assert process.returncode == 0


def test_started_with_few_files_allowed_it_takes_as_many_as_it_may() -> None:
    lowered = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))\n{PROGRAM}"
    environment = os.environ | {"TOUCHLINE_HTTP_PORT": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", lowered], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        url = f"http://127.0.0.1:{port}/healthz"
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.send_signal(signal.SIGTERM)
    (files,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert files.split()[3:5] == ["4096", "4096"]
