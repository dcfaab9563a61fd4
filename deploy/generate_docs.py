"""Generates parts of the documentation: ``make docs``. A test fails when they are out of date.

What a page says comes from the code it speaks of: the topic registry, settings, metrics, lifecycle definitions.
"""

import json
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from touchline_console import metrics as console_metrics
from touchline_console.core.figures import DEFINITIONS as FIGURES
from touchline_console.settings import ConsoleSettings
from touchline_ingest import metrics as ingest_metrics
from touchline_ingest.settings import IngestSettings
from touchline_notifier import metrics as notifier_metrics
from touchline_notifier.core.plays.play import json_schema as play_schema
from touchline_notifier.settings import NotifierSettings
from touchline_runtime.config.env_vars import KNOWN_FILE, PREFIX
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.http import metrics as http_metrics
from touchline_runtime.metrics import Declared, declared_in
from touchline_schemas.publication.compatibility import incompatibilities
from touchline_schemas.publication.export import asyncapi, event_models, example, json_schema, published_schema
from touchline_schemas.topics import TOPICS
from touchline_schemas.touchpoint_types import PASSIVE_TYPES, STAGE_SET, STANDARD_TYPES
from touchline_stage_engine import builtin
from touchline_stage_engine import metrics as stage_engine_metrics
from touchline_stage_engine.core.definitions.diagram import page
from touchline_stage_engine.core.definitions.model import json_schema as lifecycle_schema
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.settings import StageEngineSettings

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = "libs/schemas/src/touchline_schemas/published"
SERVICES: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("ingest", IngestSettings),
    ("stage engine", StageEngineSettings),
    ("notifier", NotifierSettings),
    ("console", ConsoleSettings),
)
CHART_FILES = "deploy/helm/touchline/files"
TOOLS = {
    "TOUCHLINE_DEVSTACK_DIR": ("`.touchline`", "Where `touchline-devstack` keeps data, logs and what it started."),
    "TOUCHLINE_MAVEN_REPOSITORY": ("Maven Central", "URL of a mirror to take Kafka's jars from."),
}
"""Variables of the embedded stack: default, meaning."""
OF_TESTS = ("TOUCHLINE_EXAMPLES", "TOUCHLINE_TEST_EXAMPLES", "TOUCHLINE_TESTS_FORBID_SKIPS", "TOUCHLINE_TESTS_PATIENCE")


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
        "`libs/schemas/src/touchline_schemas/published/`.",
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
        "Settings are environment variables. A wrong value ends the start with its name and the remedy. Unknown names are "
        "logged as `unknown_variable`, with the most similar known name. This page is "
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
        "The default `channel` and `direction` of a touchpoint by type. The set of types is open: "
        "a type that is not listed has channel `other` and direction `inbound`. Rules of lifecycles and goals of plays name "
        "types of both kinds.",
        "",
        "*Passive* types are inbound and no activity: they do not restart the timers of stalls and lapses.",
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


def _is_a(kind: str, metric: Declared) -> bool:
    return any(base.__name__.lower() == kind for base in type(metric).__mro__)


def metrics_page() -> str:
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` of each service, in Prometheus text format, with advice for the operator. "
        "This page is generated from the services' `metrics.py` by `make docs`.",
        "",
    ]
    for title, module in (
        ("all services", http_metrics),
        ("ingest", ingest_metrics),
        ("stage engine", stage_engine_metrics),
        ("notifier", notifier_metrics),
        ("console", console_metrics),
    ):
        lines += [
            f"## {title}",
            "",
            "| metric | type | labels | what it says | what to do |",
            "| --- | --- | --- | --- | --- |",
        ]
        for metric in declared_in(vars(module)):
            kind = next(kind for kind in ("counter", "histogram", "gauge") if _is_a(kind, metric))
            name = f"{metric.name}_total" if kind == "counter" else metric.name
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{name}` | {kind} | {labels} | {metric.about} | {metric.advice} |")
        lines.append("")
    return "\n".join(lines)


def figures_page() -> str:
    lines = [
        "# Figures",
        "",
        "What each figure of the console and of the query API means. The console shows the same words beside each figure. "
        "[Query API](query-api.md) says where to get the numbers.",
        "",
        "This page is generated from the console's `core/figures.py` by `make docs`.",
        "",
    ]
    for name, meaning in FIGURES.items():
        lines += [f"## {name.replace('_', ' ').capitalize()}", "", meaning, ""]
    return "\n".join(lines)


def chart_topics() -> str:
    """The topics as the chart's KafkaTopic resources need them; Helm reads no files outside of the chart."""
    return _json(
        [
            {"name": topic.full_name("")[1:], "one_partition": topic.one_partition, "config": topic.config()}
            for topic in TOPICS
        ]
    )


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
        "docs/figures.md": figures_page,
        "docs/touchpoint-types.md": touchpoint_types_page,
        f"libs/runtime/src/touchline_runtime/{KNOWN_FILE}": known_variables,
        f"{CHART_FILES}/topics.json": chart_topics,
        f"{CHART_FILES}/touchline.rules.yaml": lambda: (ROOT / "deploy/prometheus/touchline.rules.yaml").read_text(),
    }
    dashboards = runpy.run_path(str(ROOT / "deploy/generate_dashboards.py"))["dashboards"]
    for name, text in dashboards().items():
        made[f"deploy/grafana/dashboards/{name}"] = lambda text=text: text  # type: ignore[misc]
    for name, text in runpy.run_path(str(ROOT / "deploy/generate_api_docs.py"))["pages"]().items():
        made[name] = lambda text=text: text  # type: ignore[misc]
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
