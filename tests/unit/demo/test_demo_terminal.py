"""Ctrl-C at a terminal reaches the demo, and not the make that started it."""

import os
import pty
import signal
import sys

import pytest

# The parent stands for make: Ctrl-C ends it, whatever its child does.
CHILD = """
import signal, sys
from touchline_demo.terminal import alone_at_the_terminal
def told(*_):
    print("told", flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, told)
with alone_at_the_terminal():
    print("running", flush=True)
    signal.pause()
"""
PARENT = f"""
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
code = subprocess.call([sys.executable, "-c", {CHILD!r}])
print("and the terminal is mine again:", input(), flush=True)
sys.exit(code)
"""


@pytest.mark.timeout(300)
def test_ctrl_c_ends_the_demo_and_leaves_who_started_it_alone() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", PARENT])
    try:
        assert b"running" in read_until(terminal, b"running")
        os.write(terminal, b"\x03")
        read_until(terminal, b"told")
        os.write(terminal, b"yes\n")
        assert b"mine again: yes" in read_until(terminal, b"again: yes")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What is written to the terminal, up to something."""
    seen = b""
    while wanted not in seen:
        try:
            some = os.read(terminal, 1024)
        except OSError:  # Linux's way of saying that nobody is there any more
            some = b""
        assert some, f"ended before {wanted!r}: {seen!r}"
        seen += some
    return seen
