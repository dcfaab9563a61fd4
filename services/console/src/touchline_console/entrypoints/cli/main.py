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


@app.command("new-key")
def new_key() -> None:
    """Print a new key pair: the console signs with it for people who signed in by OpenID Connect.

    The first line is a secret of the console. The second is for ingest, the stage engine and the notifier.
    """
    from touchline_runtime.console_tokens.keys import new_key, private_text, public_text

    key = new_key()
    typer.echo(f"TOUCHLINE_CONSOLE_KEY={private_text(key)}\nTOUCHLINE_CONSOLE_PUBLIC_KEYS={public_text(key)}")


async def _serve(settings: ConsoleSettings) -> process.Failed | None:
    from touchline_console import bootstrap

    sock = process.listen(settings.http_host, settings.http_port)
    console = bootstrap.build(settings)
    return await process.run(console.app, sock, console.components, settings=settings)


if __name__ == "__main__":
    app()
