"""``touchline-console``: the web application for people."""

import typer
from touchline_runtime.process import run as process
from touchline_runtime.process.command_line import Host, Port, start

from touchline_console.settings import ConsoleSettings

app = typer.Typer(no_args_is_help=True, help="The web application for people.", pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """The web application for people: a client of the three services' HTTP APIs."""


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Serve the console until SIGTERM or Ctrl-C."""
    process.main(_serve(start(ConsoleSettings, "console", host, port)))


async def _serve(settings: ConsoleSettings) -> process.Failed | None:
    from touchline_console import bootstrap

    sock = process.listen(settings.http_host, settings.http_port)
    console = bootstrap.build(settings)
    return await process.run(console.app, sock, console.components, settings=settings)


if __name__ == "__main__":
    app()
