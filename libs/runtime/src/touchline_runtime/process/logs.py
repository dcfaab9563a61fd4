"""Structured logs: a constant event name and fields; JSON lines in production, readable on a terminal.

Use ``structlog.get_logger()`` with a constant event name in snake_case and identifiers as fields::

    log.info("batch_folded", partition=3, touchpoints=812)

Never put a touchpoint's properties, an address or a secret into a log line. What looks like an e-mail address is masked
all the same: errors of libraries and servers may repeat one.
"""

import logging
import os
import re
import sys
import time
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import Processor

from touchline_runtime.config.env_vars import known_variables, unknown_variables

_UNREACHABLE_EVERY = 60.0
_ADDRESS = re.compile(
    r"""(?:\\"[^"\\]{1,64}\\"|[\w.!#$%&'*+=?^`{|}~-]{1,128})(?:@|%40|=40)(?:[\w-]+(?:\.[\w-]+)+|\[[\w.:]+\])"""
)


def configure(
    service: str,
    *,
    format: Literal["auto", "json", "console"] = "auto",  # noqa: A002
    level: str = "INFO",
) -> None:
    """Send all logs of this process, the libraries' too, to standard error in one format.

    First warns about ``TOUCHLINE_…`` variables that nothing reads.
    """
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if as_json:
        render: list[Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=lambda value, **_: orjson.dumps(value, default=str).decode()),
        ]
    else:
        # Without the variables on the stack: among them are addresses with passwords.
        traceback = structlog.dev.RichTracebackFormatter(show_locals=False)
        render = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=traceback)]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, _mask_addresses],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("aiokafka", "httpx", "httpcore", "uvicorn.access", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # Every rebalance and lost connection is reported by our own code, with what it means.
    logging.getLogger("aiokafka").setLevel(max(logging.ERROR, root.level))
    # So is a database that is away; the pool would add a traceback for each connection it can't restore.
    logging.getLogger("asyncpg").setLevel(max(logging.ERROR, root.level))
    structlog.contextvars.bind_contextvars(service=service)
    chatter = logging.getLogger("aiokafka")
    if not any(isinstance(one, _Unreachable) for one in chatter.filters):  # else this was done before
        chatter.addFilter(_Unreachable())
        _warn_about_unknown_variables()


def _mask_addresses(logger: Any, method: str, line: Any) -> str:
    """The last step: the line as it is written, without e-mail addresses."""
    return _ADDRESS.sub("<address>", str(line))


def _warn_about_unknown_variables() -> None:
    log = structlog.get_logger(__name__)
    for name, nearest in unknown_variables(os.environ, known_variables()):
        hint = {"did_you_mean": nearest} if nearest else {}
        log.warning("unknown_variable", variable=name, **hint)


class _Unreachable(logging.Filter):
    """Passes one of aiokafka's errors about unreachable brokers a minute.

    aiokafka logs each attempt at each broker, twice a second while we wait for them; our own code reports the wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reported_at = -_UNREACHABLE_EVERY

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if not str(record.msg).startswith(("Unable connect to ", "Unable to update metadata from ")):
            return True
        if str(record.msg).startswith('Unable connect to "'):
            return False  # of a client that starts: `StartupRetry` reports that it waits, and for how long
        now = time.monotonic()
        if now - self._reported_at < _UNREACHABLE_EVERY:
            return False
        self._reported_at = now
        return True
