"""``touchline-ingest``: receives touchpoints and publishes them to Kafka."""

import typer
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process import gc_tuning
from touchline_runtime.process import run as process
from touchline_runtime.process.command_line import Host, Port, start

from touchline_ingest.entrypoints.cli import dead_letters as cli_dead_letters
from touchline_ingest.entrypoints.cli import import_history as cli_import
from touchline_ingest.entrypoints.cli import keys as cli_keys
from touchline_ingest.settings import IngestSettings

_OBJECTS_AT_MOST = 2_000_000
"""Far above what is in progress at once: a touchpoint is about ten objects until it is acknowledged."""

app = typer.Typer(
    no_args_is_help=True, help="Receive touchpoints and publish them to Kafka.", pretty_exceptions_enable=False
)


app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_dead_letters.app, name="dead-letters")
app.command("import")(cli_import.import_file)


@app.callback()
def main() -> None:
    """Receive touchpoints and publish them to Kafka."""


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Serve the HTTP endpoints until SIGTERM or Ctrl-C; accepted requests are finished first."""
    process.main(_serve(start(IngestSettings, "ingest", host, port)))


async def _serve(settings: IngestSettings) -> process.Failed | None:
    from touchline_ingest import bootstrap

    service = bootstrap.build(settings)
    gc_tuning.limit_collections(_OBJECTS_AT_MOST)
    sock = process.listen(settings.http_host, settings.http_port)
    failed = await process.run(service.app, sock, [*service.components, gc_tuning.IdleCollector()], settings=settings)
    if failed is not None and isinstance(failed.error, ConfigurationError):
        raise failed.error
    return failed
