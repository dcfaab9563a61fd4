"""Structured logs: a constant event name and fields; JSON lines in production, readable on a terminal.

Use ``structlog.get_logger()`` with a constant event name in snake_case and identifiers as fields::

    log.info("batch_folded", partition=3, touchpoints=812)

Never put a touchpoint's properties, an address or a secret into a log line.
"""

import logging
import sys
from typing import Literal

import orjson
import structlog
from structlog.typing import Processor


def configure(
    service: str,
    *,
    format: Literal["auto", "json", "console"] = "auto",  # noqa: A002
    level: str = "INFO",
) -> None:
    """Send all logs of this process, the libraries' too, to standard error in one format."""
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
        render = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("aiokafka", "httpx", "httpcore", "uvicorn.access", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # Every rebalance and lost connection is reported by our own code, with what it means.
    logging.getLogger("aiokafka").setLevel(max(logging.ERROR, root.level))
    structlog.contextvars.bind_contextvars(service=service)
