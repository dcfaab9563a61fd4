"""What happens, one line each: facts of the engine's stream and of its list of recent ones."""

from collections.abc import Mapping
from typing import Any

from touchline_console.core import formats

KINDS = {
    "touchline.stage-changed": "move",
    "touchline.customer-stalled": "stall",
    "touchline.customer-recovered": "recovery",
    "touchline.customer-merged": "merge",
    "touchline.customer-erased": "erasure",
}


def happening(kind: str, data: Mapping[str, Any], titles: Mapping[tuple[str, str], str]) -> dict[str, Any] | None:
    """A row of the live list; None for an event that it does not show. ``titles``: (lifecycle, stage) → title."""
    fact = KINDS.get(kind, kind)
    lifecycle = str(data.get("lifecycle") or "")

    def stage(name: Any) -> str:
        return titles.get((lifecycle, str(name)), formats.title(str(name)))

    row = {
        "at": str(data.get("occurred_at") or data.get("decided_at") or ""),
        "customer_id": str(data.get("customer_id")),
    }
    if fact == "move":
        reason = data.get("reason") or {}
        text = f"entered {stage(data['to_stage'])}"
        if data.get("from_stage"):
            text = f"{stage(data['from_stage'])} → {stage(data['to_stage'])}"
        return row | {"text": text, "reason": reason.get("text"), "word": data["move"], "kind": data["move"]}
    if fact == "stall":
        level = data.get("level", 1)
        return row | {
            "at": str(data.get("due_at") or row["at"]),
            "text": f"stalled in {stage(data['stage'])}",
            "reason": f"level {level}",
            "word": "stall",
            "kind": "stall",
        }
    if fact == "recovery":
        return row | {
            "text": f"recovered in {stage(data['stage'])}",
            "reason": f"after {formats.duration(data.get('stalled_seconds'))}",
            "word": "recovery",
            "kind": "recovery",
        }
    if fact == "merge":
        return row | {"text": "was merged into another customer", "reason": None, "word": "merge", "kind": "accent"}
    return None
