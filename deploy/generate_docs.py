"""Write the generated parts of the documentation anew: ``make docs``. A test fails when they are stale.

What a page says comes from the code it speaks of: the topic registry, settings, metrics, lifecycle definitions.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from touchline_schemas.compatibility import incompatibilities
from touchline_schemas.export import asyncapi, event_models, example, json_schema, published_schema
from touchline_schemas.topics import TOPICS

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = "libs/schemas/src/touchline_schemas/published"


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def topics_page() -> str:
    lines = [
        "# Topics",
        "",
        "CloudEvents 1.0 on Kafka in binary mode: attributes in the headers `ce_specversion ce_id ce_type ce_source "
        "ce_time ce_subject`, JSON in the value. Keys are UTF-8 and partitioned by Kafka's default (murmur2) "
        "partitioner. Read with `isolation.level=read_committed`. Within a version, fields are only added, and "
        "optional; ignore those you don't know. The same as AsyncAPI: [asyncapi.json](asyncapi.json). JSON Schemas: "
        f"[published](../{PUBLISHED}/).",
        "",
        "This page is generated from `touchline_schemas.topics` by `make docs`.",
        "",
    ]
    for topic in TOPICS:
        lines += [
            f"## {topic.full_name()}",
            "",
            topic.about,
            "",
            f"- key: {topic.key}",
            f"- kept: {topic.kept}",
            f"- written by: {', '.join(topic.writers)}",
            f"- read by: {', '.join(topic.readers)}",
            "",
        ]
        if topic.internal:
            lines += ["Internal: its events may change with every release.", ""]
        for event, model in topic.events.items():
            first = " ".join((model.__doc__ or "").split("\n\n")[0].split())
            lines += [f"### {event}", "", first, "", "```json", _json(example(event)).rstrip(), "```", ""]
    return "\n".join(lines)


def pages() -> dict[str, Callable[[], str]]:
    """Path below the root → what should stand there."""
    made: dict[str, Callable[[], str]] = {
        "docs/topics.md": topics_page,
        "docs/asyncapi.json": lambda: _json(asyncapi()),
    }
    for event, model in event_models().items():
        made[f"{PUBLISHED}/{event}.v1.json"] = lambda event=event, model=model: _json(json_schema(model, event))  # type: ignore[misc]
    return made


def main() -> int:
    broken = []
    for event, model in event_models().items():
        if (ROOT / PUBLISHED / f"{event}.v1.json").exists():
            broken += [
                f"{event}: {why}" for why in incompatibilities(published_schema(event), json_schema(model, event))
            ]
    if broken:
        sys.stderr.write("not written: the contract would break for its subscribers\n  " + "\n  ".join(broken) + "\n")
        return 1
    for path, make in pages().items():
        target = ROOT / path
        text = make()
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            sys.stderr.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
