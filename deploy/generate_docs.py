"""Write the generated parts of the documentation anew: ``make docs``. A test fails when they are stale.

What a page says comes from the code it speaks of: the topic registry, settings, metrics, lifecycle definitions.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from touchline_ingest import metrics as ingest_metrics
from touchline_ingest.settings import IngestSettings
from touchline_notifier import metrics as notifier_metrics
from touchline_notifier.core.play import json_schema as play_schema
from touchline_notifier.settings import NotifierSettings
from touchline_runtime.metrics import declared_in
from touchline_runtime.settings import ServiceSettings
from touchline_runtime.variables import KNOWN_FILE, PREFIX
from touchline_schemas.compatibility import incompatibilities
from touchline_schemas.export import asyncapi, event_models, example, json_schema, published_schema
from touchline_schemas.topics import TOPICS
from touchline_schemas.touchpoint_types import PASSIVE_TYPES, STAGE_SET, STANDARD_TYPES
from touchline_stage_engine import builtin
from touchline_stage_engine import metrics as stage_engine_metrics
from touchline_stage_engine.core.definition import json_schema as lifecycle_schema
from touchline_stage_engine.core.mermaid import page
from touchline_stage_engine.core.reading import read_definition
from touchline_stage_engine.settings import StageEngineSettings

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = "libs/schemas/src/touchline_schemas/published"
SERVICES: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("ingest", IngestSettings),
    ("stage engine", StageEngineSettings),
    ("notifier", NotifierSettings),
)
TOOLS = {
    "TOUCHLINE_DEVSTACK_DIR": ("`.touchline`", "Where `touchline-devstack` keeps data, logs and what it started."),
    "TOUCHLINE_MAVEN_REPOSITORY": ("Maven Central", "URL of a mirror to take Kafka's jars from."),
}
"""Variables of the embedded stack: default, meaning."""
OF_TESTS = ("TOUCHLINE_EXAMPLES", "TOUCHLINE_TEST_EXAMPLES", "TOUCHLINE_TESTS_FORBID_SKIPS")


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


def lifecycles_page() -> str:
    return page([read_definition(builtin.text_of(name), builtin.file_of(name)) for name in builtin.NAMES])


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "Environment variables. A wrong one fails at start, with its name and the remedy; one that nothing reads (a "
        "misspelt name) is told in the log as `unknown_variable`, with the name that was probably meant. This page is "
        "generated from the services' settings by `make docs`.",
        "",
        "## All services",
        "",
        *_settings_table(ServiceSettings.model_fields, {}),
    ]
    for title, model in SERVICES:
        lines += [f"## {title}", "", *_settings_table(model.model_fields, ServiceSettings.model_fields)]
    lines += [
        "## The embedded stack",
        "",
        "| variable | default | meaning |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {default} | {meaning} |" for name, (default, meaning) in TOOLS.items()),
        "",
    ]
    return "\n".join(lines)


def known_variables() -> str:
    """Every variable that anything here reads: a service warns of others, which are misspelt."""
    ours = {PREFIX + name.upper() for _, model in SERVICES for name in model.model_fields}
    return "\n".join(sorted({*ours, *TOOLS, *OF_TESTS})) + "\n"


def touchpoint_types_page() -> str:
    lines = [
        "# Standard touchpoint types",
        "",
        "What a touchpoint's `channel` and `direction` are when its sender leaves them out. The set of types is open: "
        "one that is not listed has channel `other` and direction `inbound`. Rules of lifecycles and goals of plays name "
        "types of either kind.",
        "",
        "*Passive* types are inbound and yet no sign of life: they don't restart a customer's patience.",
        "",
        "This page is generated from `touchline_schemas.touchpoint_types` by `make docs`.",
        "",
        "| type | channel | direction | |",
        "| --- | --- | --- | --- |",
    ]
    for name, (channel, direction) in STANDARD_TYPES.items():
        lines.append(f"| `{name}` | `{channel}` | {direction} | {'passive' if name in PASSIVE_TYPES else ''} |")
    lines += [
        "",
        f"`{STAGE_SET}` is a manual move: properties `lifecycle`, `stage` and `reason`, from sources with `may_set_stage` "
        "alone.",
        "",
    ]
    return "\n".join(lines)


def _settings_table(fields: Mapping[str, FieldInfo], shared: Mapping[str, FieldInfo]) -> list[str]:
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in fields.items():
        if name in shared and shared[name].default == field.default:
            continue
        default = field.get_default(call_default_factory=True)
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        shown = "" if default in (None, "", (), frozenset()) else f"`{default}`"
        about = (field.description or "").replace("|", "\\|").replace("\n", " ")
        lines.append(f"| `TOUCHLINE_{name.upper()}` | {shown} | {about} |")
    return [*lines, ""]


def metrics_page() -> str:
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` of each service, in Prometheus' text format. Each has a line on what to do when it looks wrong. "
        "This page is generated from the services' `metrics.py` by `make docs`.",
        "",
    ]
    for title, module in (
        ("ingest", ingest_metrics),
        ("stage engine", stage_engine_metrics),
        ("notifier", notifier_metrics),
    ):
        lines += [
            f"## {title}",
            "",
            "| metric | type | labels | what it says | what to do |",
            "| --- | --- | --- | --- | --- |",
        ]
        for metric in declared_in(vars(module)):
            kind = type(metric).__name__.lower()
            name = f"{metric.name}_total" if kind == "counter" else metric.name
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{name}` | {kind} | {labels} | {metric.about} | {metric.advice} |")
        lines.append("")
    return "\n".join(lines)


def pages() -> dict[str, Callable[[], str]]:
    """Path below the root → what should stand there."""
    made: dict[str, Callable[[], str]] = {
        "docs/topics.md": topics_page,
        "docs/asyncapi.json": lambda: _json(asyncapi()),
        "docs/settings.md": settings_page,
        "docs/play.schema.json": lambda: _json(play_schema()),
        "docs/lifecycle.schema.json": lambda: _json(lifecycle_schema()),
        "docs/lifecycles.md": lifecycles_page,
        "docs/metrics.md": metrics_page,
        "docs/touchpoint-types.md": touchpoint_types_page,
        f"libs/runtime/src/touchline_runtime/{KNOWN_FILE}": known_variables,
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
