"""``touchline-demo``: a simulated company on real Kafka and PostgreSQL."""

import asyncio
import signal
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from touchline_devstack.errors import DevstackError
from touchline_devstack.settings import DevstackSettings

from touchline_demo.clients.api import ClientError
from touchline_demo.deployment import Deployment
from touchline_demo.display import Display
from touchline_demo.run import Options, TotalsDiffer, demo
from touchline_demo.terminal import alone_at_the_terminal

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    once: Annotated[bool, typer.Option("--once", help="End by itself and check the totals.")] = False,
    customers: Annotated[int, typer.Option(min=50, max=100_000, help="How many people there are.")] = 3000,
    seed: Annotated[int, typer.Option(help="The same seed makes up the same company.")] = 7,
) -> None:
    """Start everything, post months of touchpoints, then live ones. Ctrl-C ends the demo and checks the totals.

    Every run begins with nothing: what an earlier one left in the demo's folder is removed first. Exit code 0 when the
    totals agree, 1 when they do not or when something failed.
    """
    console = Console(emoji=False)
    display = Display(console)
    with alone_at_the_terminal():
        _run(Options(once, customers, seed), console, display)


def _run(options: Options, console: Console, display: Display) -> None:
    deployment = Deployment(DevstackSettings.from_environment(), display, run=f"{datetime.now(UTC):%Y%m%d%H%M%S}")
    try:
        asyncio.run(_run_until_signal(options, deployment, display))
    except (DevstackError, ClientError, TotalsDiffer) as error:
        console.print("[bold red]The demo failed:[/]", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        console.print(f"The services' logs are in {deployment.logs}", soft_wrap=True)
        raise typer.Exit(1) from None
    except asyncio.CancelledError:
        console.print("Stopped.")
        raise typer.Exit(130) from None


async def _run_until_signal(options: Options, deployment: Deployment, display: Display) -> None:
    """Run the demo. The first Ctrl-C ends the live part; a second one ends everything at once."""
    stop = asyncio.Event()
    running = asyncio.create_task(demo(options, deployment, display, stop))

    def on_signal() -> None:
        if stop.is_set() or not deployment.live:
            running.cancel()
        else:
            display.say(
                "Ending: waiting for work in progress, then checking the totals. This takes about half a minute."
            )
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    await running
