"""A worker process is started again when it ends, ended with its parent, and its metrics are told as its own."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_stage_engine.entrypoints.worker_processes import Worker, Workers


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


async def test_one_that_ends_is_started_again_and_stopped_when_told(sock: socket.socket, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    text = (
        "import pathlib, sys, time\n"
        f"file = pathlib.Path({str(starts)!r})\n"
        "file.write_text((file.read_text() if file.exists() else '') + '.')\n"
        "time.sleep(60) if len(file.read_text()) > 1 else sys.exit(1)\n"
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(Workers([Worker(0, script(text), sock)]).run(stopping))
    async with asyncio.timeout(120):
        while not starts.exists() or len(starts.read_text()) < 2:  # noqa: ASYNC110  (another process's file)
            await asyncio.sleep(0.05)
        stopping.set()
        await running


async def test_one_that_is_configured_wrongly_ends_them_all(sock: socket.socket) -> None:
    with pytest.raises(ConfigurationError, match="worker 3"):
        await Workers([Worker(3, script("raise SystemExit(2)"), sock)]).run(asyncio.Event())


async def test_one_that_does_not_answer_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        worker = Worker(1, [], closed)
    with pytest.raises(Unavailable, match="worker 1"):
        await Workers([worker]).check()


def test_metrics_of_all_are_told_with_whose_they_are(sock: socket.socket) -> None:
    workers = [Worker(index, [], sock) for index in range(2)]
    for index, worker in enumerate(workers):
        worker.metrics = (
            f'# TYPE touchline_lag_records gauge\ntouchline_lag_records{{partition="{index}"}} {index + 5}.0\n'
            "# TYPE python_info gauge\npython_info 1.0\n"
        )
    (family,) = list(Workers(workers).collect())
    assert {(sample.labels["worker"], sample.labels["partition"], sample.value) for sample in family.samples} == {
        ("0", "0", 5.0),
        ("1", "1", 6.0),
    }
