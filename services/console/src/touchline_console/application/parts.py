"""Pages are made of parts, each from one service. A part whose service is away does not take the others with it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from touchline_console.application.ports import TITLES, Computing, NotFound, RequestRejected, ServiceFault, Unreachable

T = TypeVar("T")


@dataclass(frozen=True)
class Part(Generic[T]):
    """A value, or the reason why it is missing."""

    value: T | None = None
    fault: ServiceFault | None = None

    @property
    def ok(self) -> bool:
        """Whether the value is there."""
        return self.fault is None

    @property
    def missing(self) -> dict[str, str] | None:
        """The message for the reader where the value is missing: title, detail, and the remedy."""
        return None if self.fault is None else explain(self.fault)

    def get(self, name: str, default: Any = None) -> Any:
        """A member of a JSON object; the default where the part is missing."""
        return self.value.get(name, default) if isinstance(self.value, dict) else default

    @property
    def items(self) -> list[Any]:
        """The items of a list's page; none where the part is missing."""
        return list(self.get("items") or [])


def explain(fault: ServiceFault) -> dict[str, str]:
    """A fault in words."""
    service = TITLES.get(fault.service, fault.service)
    if isinstance(fault, Unreachable):
        return {
            "kind": "away",
            "title": f"{service} does not answer",
            "detail": f"What it knows is missing here. ({fault.detail})",
        }
    if isinstance(fault, Computing):
        return {
            "kind": "computing",
            "title": "Being computed",
            "detail": "The figures of all customers are being computed. They appear in a moment.",
        }
    if isinstance(fault, NotFound):
        return {"kind": "unknown", "title": "Not found", "detail": fault.detail}
    return {"kind": "refused", "title": f"{service} rejected the request", "detail": fault.detail}


async def part(work: Awaitable[T]) -> Part[T]:
    """Await one part. A rejected token is no missing part: the reader has to sign in again."""
    try:
        return Part(await work)
    except RequestRejected:
        raise
    except ServiceFault as fault:
        return Part(fault=fault)


async def parts(**works: Awaitable[Any]) -> dict[str, Part[Any]]:
    """Await several parts at once, by name."""
    found = await asyncio.gather(*(part(work) for work in works.values()))
    return dict(zip(works, found, strict=True))
