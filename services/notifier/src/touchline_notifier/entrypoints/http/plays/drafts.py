"""What the routes that try a play out have in common: its draft, or the play in force, and a customer."""

from typing import Annotated

from pydantic import Field
from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.http.problems import Problem
from touchline_runtime.publishing.answers import faulty
from touchline_runtime.yaml.positions import FaultyDocumentError

from touchline_notifier.application.plays.checking import PlayChecker
from touchline_notifier.application.plays.live import LivePlays
from touchline_notifier.core.plays.play import Play
from touchline_notifier.entrypoints.http.plays.publishing import accept

CustomerId = Annotated[str | None, Field(min_length=1, max_length=1000), WITHOUT_NUL]


async def checked_text(live: LivePlays, checker: PlayChecker, name: str, definition: str | None) -> tuple[str, Play]:
    """The text of a draft, or of the play in force, that passes the check; and its play.

    Raises:
        Problem: there is no such play, or the text is wrong.
    """
    source = live.in_force.sources.get(name)
    if definition is None and source is None:
        raise Problem(404, f"no play {name!r} is in force: send its text as `definition`", type="not-found")
    text = definition if definition is not None else source.text if source is not None else ""
    checked = await checker.check(text, try_templates=False)
    try:
        return text, accept(checked, name)
    except FaultyDocumentError as error:
        raise faulty(error) from None
