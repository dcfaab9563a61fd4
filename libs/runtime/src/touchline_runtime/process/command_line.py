"""What the services' command lines have in common: the options of a server, and the start of a command."""

from typing import Annotated, TypeVar

import typer

from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.process import logs
from touchline_runtime.process.run import explained

Host = Annotated[str | None, typer.Option(help="Address to listen on (TOUCHLINE_HTTP_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (TOUCHLINE_HTTP_PORT).")]

S = TypeVar("S", bound=ServiceSettings)


def start(model: type[S], service: str, host: str | None = None, port: int | None = None) -> S:
    """Read a service's settings and configure its logs. Wrong settings end the process with exit code 2.

    Args:
        host, port: from the command line; None: as the settings say.
    """
    with explained():
        settings = read_settings(model, http_host=host, http_port=port)
    logs.configure(service, format=settings.log_format, level=settings.log_level)
    return settings
