"""Titles of lifecycles and stages, as their definitions have them."""

from collections.abc import Iterable, Mapping
from typing import Any

from touchline_console.core import formats


class Titles:
    """Looks titles up; a name that is not known becomes a title by itself."""

    def __init__(self, lifecycles: Iterable[Mapping[str, Any]]) -> None:
        self._lifecycles = {one["name"]: one for one in lifecycles}
        self.stages: dict[tuple[str, str], str] = {
            (one["name"], stage["name"]): stage.get("title") or formats.title(stage["name"])
            for one in self._lifecycles.values()
            for stage in (*one["stages"], *one["off_path"])
        }

    def lifecycle(self, name: str) -> str:
        """Title of a lifecycle."""
        known = self._lifecycles.get(name)
        return str(known["title"]) if known else formats.title(name)

    def stage(self, lifecycle: str, name: str | None) -> str:
        """Title of a stage."""
        return self.stages.get((lifecycle, name or ""), formats.title(name))

    def order(self, lifecycle: str) -> list[str]:
        """A lifecycle's stages in order, those beside the order last."""
        known = self._lifecycles.get(lifecycle)
        return [] if known is None else [stage["name"] for stage in (*known["stages"], *known["off_path"])]

    def is_back(self, lifecycle: str, source: str, target: str) -> bool:
        """Whether a move leads to an earlier stage. From the last to the first one of a cycle leads onward."""
        known = self._lifecycles.get(lifecycle)
        order = [] if known is None else [stage["name"] for stage in known["stages"]]
        if known is None or source not in order or target not in order:
            return False
        if known.get("cyclic") and (source, target) == (order[-1], order[0]):
            return False
        return order.index(target) < order.index(source)
