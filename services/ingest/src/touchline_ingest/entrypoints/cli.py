"""``touchline-ingest``: every door a touchpoint comes through."""

from typing import Annotated

import typer
from touchline_runtime import collector, logs, process
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.settings import read_settings

from touchline_ingest.entrypoints import cli_dead_letters, cli_import, cli_keys
from touchline_ingest.settings import IngestSettings

_OBJECTS_AT_MOST = 2_000_000
"""A touchpoint is about ten objects until it is acknowledged: so many are never under way."""

app = typer.Typer(no_args_is_help=True, help="Every door a touchpoint comes through.", pretty_exceptions_enable=False)


app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_dead_letters.app, name="dead-letters")
app.command("import")(cli_import.import_file)


@app.callback()
def main() -> None:
    """Every door a touchpoint comes through."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (TOUCHLINE_HTTP_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (TOUCHLINE_HTTP_PORT).")] = None,
) -> None:
    """Serve every door until SIGTERM or Ctrl-C; what was accepted by then is finished first."""
    with process.explained():
        settings = read_settings(IngestSettings, http_host=host, http_port=port)
    logs.configure("ingest", format=settings.log_format, level=settings.log_level)
    process.main(_serve(settings))


async def _serve(settings: IngestSettings) -> process.Failed | None:
    from touchline_ingest import bootstrap

    service = bootstrap.build(settings)
    collector.quiet(_OBJECTS_AT_MOST)
    sock = process.listen(settings.http_host, settings.http_port)
    failed = await process.run(service.app, sock, [*service.components, collector.Collector()], settings=settings)
    if failed is not None and isinstance(failed.error, ConfigurationError):
        raise failed.error
    return failed
