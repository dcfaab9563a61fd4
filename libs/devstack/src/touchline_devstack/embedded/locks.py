"""A lock file that the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from touchline_devstack.errors import FolderBusyError


@contextmanager
def exclusive_lock(path: Path, timeout: float, say: Callable[[str], None] = lambda _text: None) -> Iterator[None]:
    """Hold `path` alone; wait up to `timeout` seconds for the process that holds it. Raises FolderBusyError after that.

    `say` is told, once, when there is somebody to wait for.

    The file stays behind: removing it would let two holders in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    told = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FolderBusyError(
                        f"another process has held {path} for {timeout:.0f} s. If it hangs, end it and try again."
                    ) from None
                if not told:
                    say(f"waiting for another process that is at work on {path.parent}")
                    told = True
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)
