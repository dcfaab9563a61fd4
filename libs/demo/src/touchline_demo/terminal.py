"""Ctrl-C for the demo alone.

A terminal sends Ctrl-C to every process of its foreground group. Under ``make`` that is make too, which then fails
whatever its child makes of it: a demo that ends as it should would be reported as interrupted. So the demo, when it is
not a group of its own already (as started by a shell), becomes one, and takes the foreground for as long as it runs.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def alone_at_the_terminal() -> Iterator[None]:
    """Be the terminal's foreground group inside; give it back afterwards. Does nothing without a terminal."""
    starter = os.getpgrp()
    try:
        terminal = sys.stdin.fileno()
        is_ours = os.tcgetpgrp(terminal) == starter != os.getpid()
    except (OSError, ValueError):
        is_ours = False
    if not is_ours:
        yield
        return
    # A background process that changes the foreground group is stopped unless it ignores the signal. Nobody would see
    # a Ctrl-Z, because the shell waits for the group it started.
    ignored = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTTOU, signal.SIGTSTP)}
    os.setpgid(0, 0)
    os.tcsetpgrp(terminal, os.getpid())
    try:
        yield
    finally:
        with suppress(OSError):
            os.tcsetpgrp(terminal, starter)
            os.setpgid(0, starter)
        for number, handler in ignored.items():
            signal.signal(number, handler)
