"""``touchline-demo``: a simulated company on real Kafka and PostgreSQL."""

import asyncio
import signal
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from touchline_devstack.demo.doors import DoorError
from touchline_devstack.demo.run import DoesNotAddUp, Options, demo
from touchline_devstack.demo.show import Show
from touchline_devstack.demo.site import Site
from touchline_devstack.demo.terminal import alone_at_the_terminal
from touchline_devstack.errors import DevstackError
from touchline_devstack.settings import DevstackSettings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    once: Annotated[bool, typer.Option("--once", help="End by itself and check the sums.")] = False,
    customers: Annotated[int, typer.Option(min=50, max=100_000, help="How many people there are.")] = 3000,
    seed: Annotated[int, typer.Option(help="The same seed makes up the same company.")] = 7,
) -> None:
    """Start everything, let months of touchpoints arrive and then live ones; Ctrl-C ends it and checks the sums.

    Every run begins with nothing: what an earlier one left in the demo's folder is removed first. Exit code 0 when the
    numbers add up, 1 when they don't or something broke.
    """
    console = Console()
    show = Show(console)
    with alone_at_the_terminal():
        _run(Options(once, customers, seed), console, show)


def _run(options: Options, console: Console, show: Show) -> None:
    site = Site(DevstackSettings.from_environment(), show, run=f"{datetime.now(UTC):%Y%m%d%H%M%S}")
    try:
        asyncio.run(_until_told(options, site, show))
    except (DevstackError, DoorError, DoesNotAddUp) as error:
        console.print("[bold red]The demo failed:[/]", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        console.print(f"The services' logs are in {site.logs}", soft_wrap=True)
        raise typer.Exit(1) from None
    except asyncio.CancelledError:
        console.print("Stopped.")
        raise typer.Exit(130) from None


async def _until_told(options: Options, site: Site, show: Show) -> None:
    """Run; the first Ctrl-C ends the live part, and whatever is before it; the second ends everything at once."""
    stop = asyncio.Event()
    running = asyncio.create_task(demo(options, site, show, stop))

    def told() -> None:
        if stop.is_set() or not site.open_to_visitors:
            running.cancel()
        else:
            show.say("Ending: everything under way comes to rest, and the sums are checked. About half a minute.")
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    await running
