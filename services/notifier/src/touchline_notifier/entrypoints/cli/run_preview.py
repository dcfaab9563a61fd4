"""``touchline-notifier run-preview``: the process of one preview that was asked for through the API."""

import os
import signal
import sys

import orjson
import uvloop
from touchline_runtime.config.settings import read_settings
from touchline_runtime.process import logs
from touchline_runtime.process.run import explained

from touchline_notifier.application.plays.previewing import MOST_SECONDS, PreviewOrder
from touchline_notifier.settings import NotifierSettings

_NICENESS = 5


def run_preview() -> None:
    """Read an order (JSON) from standard input, and write the preview (JSON) to standard output."""
    from touchline_notifier import bootstrap_commands

    # It ends by itself where the process that started it could not end it: that was killed.
    signal.alarm(int(MOST_SECONDS) + 5)
    os.nice(_NICENESS)  # deciding goes first
    with explained():
        settings = read_settings(NotifierSettings)
        logs.configure("notifier", format=settings.log_format, level=settings.log_level)
        order = PreviewOrder.from_json(orjson.loads(sys.stdin.buffer.read()))
        result = uvloop.run(bootstrap_commands.previewed_play(settings, order))
        sys.stdout.buffer.write(orjson.dumps(result))
