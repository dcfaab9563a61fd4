"""The API reference pages, from OpenAPI and AsyncAPI descriptions: part of ``make docs``.

The applications are built as the services build them, and never served: nothing connects to Kafka or PostgreSQL.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine
from touchline_ingest import metrics as ingest_metrics
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.bootstrap import application
from touchline_ingest.settings import IngestSettings
from touchline_notifier.adapters.kafka.lifecycles import KafkaLifecycles
from touchline_notifier.adapters.postgres.mail_events import PostgresMailEvents
from touchline_notifier.adapters.postgres.operations import PostgresOperations
from touchline_notifier.adapters.postgres.plays.published import PostgresPlayStore, PostgresPublishedPlays
from touchline_notifier.adapters.postgres.plays.recent_customers import PostgresRecentCustomers
from touchline_notifier.adapters.postgres.plays.testing import PostgresTestLog
from touchline_notifier.adapters.postgres.reads.insights import PostgresInsights
from touchline_notifier.adapters.postgres.reads.queries import PostgresQueries
from touchline_notifier.adapters.postgres.reads.sequences import PostgresSequences
from touchline_notifier.adapters.postgres.suppressions import PostgresConsent, PostgresSuppressions
from touchline_notifier.adapters.postgres.unsubscribe import PostgresSubscriptionStore
from touchline_notifier.adapters.processes.previews import PreviewSubprocesses
from touchline_notifier.application.plays.checking import PlayChecker
from touchline_notifier.application.plays.live import LivePlays
from touchline_notifier.application.plays.testing import PlayTester
from touchline_notifier.application.tracking import MailEventWriter, TrackedMails
from touchline_notifier.application.unsubscribe import UnsubscribeLinks
from touchline_notifier.bootstrap import VERSION
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.tracking.tokens import MailTokens
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens
from touchline_notifier.entrypoints.http.api import Api, build_api
from touchline_notifier.entrypoints.http.plays.previews import PreviewRoutes
from touchline_notifier.entrypoints.http.plays.publishing import PublishingRoutes
from touchline_notifier.entrypoints.http.plays.testing import TestingRoutes
from touchline_notifier.metrics import DECISION_METRICS
from touchline_notifier.settings import NotifierSettings
from touchline_runtime.audit.postgres import PostgresAuditLog
from touchline_runtime.http.app import ROLE_FIELD
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health
from touchline_schemas.publication.export import asyncapi
from touchline_stage_engine import metrics as engine_metrics
from touchline_stage_engine.adapters.postgres.simulations import PostgresSimulations
from touchline_stage_engine.adapters.processes.simulations import SimulationProcesses
from touchline_stage_engine.bootstrap import query_app
from touchline_stage_engine.settings import StageEngineSettings

_METHODS = ("get", "post", "put", "patch", "delete")
_OPERATIONS = ("/healthz", "/readyz", "/metrics")
_SECRET = "a" * 32

Document = dict[str, Any]


def ingest_document() -> Document:
    """The OpenAPI description of ingest."""
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "sources.yaml"
        digest = hashlib.sha256(b"key").hexdigest()
        sources.write_text(f"sources: [{{name: shop, kind: api, key_sha256: {digest}}}]")
        # Without Kafka there are no routes about dead letters.
        settings = IngestSettings(sources_file=sources, kafka_bootstrap_servers="127.0.0.1:9092")
        app, _ = application(settings, MemoryPublisher(), Metrics(ingest_metrics.ALL))
        return app.openapi()


def engine_document() -> Document:
    """The OpenAPI description of the stage engine."""
    engine = create_async_engine("postgresql+asyncpg://127.0.0.1/none")
    pool, metrics = cast(asyncpg.Pool, None), Metrics(engine_metrics.ALL)
    settings, simulations = StageEngineSettings(), SimulationProcesses(PostgresSimulations(pool).fail)
    return query_app(settings, pool, engine, Health(), metrics, frozenset(), simulations).openapi()


def notifier_document() -> Document:
    """The OpenAPI description of the notifier."""
    pool, hashes, settings = cast(asyncpg.Pool, None), Hashes(_SECRET), NotifierSettings()
    unsubscribe = UnsubscribeLinks(
        PostgresSubscriptionStore(pool, hashes, settings.partitions),
        settings.partitions,
        UnsubscribeTokens(_SECRET.encode() * 2),
    )
    mail_events = PostgresMailEvents(pool, settings.partitions)
    mail_links = TrackedMails(MailTokens(_SECRET.encode() * 2), mail_events, MailEventWriter(mail_events))
    live = LivePlays(PostgresPublishedPlays(pool), {}, has_public_url=False)
    checker = PlayChecker(live, KafkaLifecycles(settings).running, None)
    customers, log = PostgresRecentCustomers(pool, hashes), PostgresTestLog(pool, hashes)
    tester = PlayTester({}, customers, log, sending=True, public_url="")
    api = Api(
        queries=PostgresQueries(pool),
        operations=PostgresOperations(pool),
        unsubscribe=unsubscribe,
        mail_links=mail_links,
        plays={},
        endpoints={},
        publishing=PublishingRoutes(PostgresPlayStore(pool), live, checker),
        previews=PreviewRoutes(live, checker, PreviewSubprocesses()),
        tests=TestingRoutes(live, checker, tester, settings.partitions),
        settings=settings,
        insights=PostgresInsights(pool, hashes),
        sequences=PostgresSequences(pool),
        audit=PostgresAuditLog(pool),
        suppressions=PostgresSuppressions(pool, hashes),
        consent=PostgresConsent(pool, hashes, settings.partitions),
    )
    return build_api(api, version=VERSION, health=Health(), metrics=Metrics(DECISION_METRICS)).openapi()


SERVICES = {
    "ingest": (ingest_document, "Post touchpoints"),
    "stage-engine": (engine_document, "Customers, lifecycles and their figures"),
    "notifier": (notifier_document, "Actions, deliveries, plays and endpoints"),
}


def pages() -> dict[str, str]:
    """Path below the root → the page."""
    made = {f"docs/api/{name}.md": _page(name, about, document_of()) for name, (document_of, about) in SERVICES.items()}
    made["docs/api/roles.md"] = _roles_page()
    return made | {"docs/api/topics.md": _topics_page(asyncapi())}


def _page(name: str, about: str, document: Document) -> str:
    title = name.replace("-", " ").capitalize()
    lines = [
        f"# {title} API",
        "",
        f"{about}. A running service has the same at `/docs`, and its OpenAPI description at `/openapi.json`. Errors "
        "are `application/problem+json` (RFC 9457). Every service also answers `GET /healthz`, `GET /readyz` and "
        "`GET /metrics`.",
        "",
        "This page is generated from the service by `make docs`.",
        "",
    ]
    for path, methods in document["paths"].items():
        if path in _OPERATIONS:
            continue
        shared = methods.get("parameters", [])
        for method in _METHODS:
            if method in methods:
                lines += _operation(document, method, path, methods[method], shared)
    return "\n".join(lines)


def _roles_page() -> str:
    """Route × role, over all services."""
    lines = [
        "# Roles by route",
        "",
        "Which role an API token needs for each route. A role includes the ones before it: viewer, editor, operator. "
        "Routes without a role prove their requests themselves (a write key, a signature, a link's token). "
        "`tests/integration/test_roles.py` asks every route with every role.",
        "",
        "This page is generated by `make docs`.",
        "",
        "| service | route | role |",
        "| --- | --- | --- |",
    ]
    for name, (document_of, _) in SERVICES.items():
        for path, methods in document_of()["paths"].items():
            if path not in _OPERATIONS:
                lines += [
                    f"| {name} | `{method.upper()} {path}` | {methods[method].get(ROLE_FIELD, '—')} |"
                    for method in _METHODS
                    if method in methods
                ]
    return "\n".join(lines) + "\n"


def _topics_page(document: Document) -> str:
    """The AsyncAPI description as a page: each topic's messages, field by field."""
    lines = [
        "# Topics API (AsyncAPI)",
        "",
        "Each topic's messages, field by field. The description for tools is [asyncapi.json](../asyncapi.json) "
        f"(AsyncAPI {document['asyncapi']}); [Topics](../topics.md) has keys, retention and an example of each; "
        "[Subscribe to facts](../subscribe.md) shows how to read them.",
        "",
        "This page is generated by `make docs`.",
        "",
        "## Headers of every message",
        "",
        *_fields(document, document["components"]["schemas"]["cloudevents-headers"]),
    ]
    summaries = {
        operation["channel"]["$ref"].rsplit("/", 1)[-1]: operation.get("summary", "")
        for operation in document["operations"].values()
    }
    for name, channel in document["channels"].items():
        lines += [f"## {channel['address']}", "", f"{channel['description']} {summaries.get(name, '')}".strip(), ""]
        for event, reference in channel.get("messages", {}).items():
            message = _resolved(document, reference)
            lines += [
                f"### {event}",
                "",
                _line(message.get("title", "")),
                "",
                *_fields(document, message["payload"], ""),
            ]
    return "\n".join(lines)


def _operation(document: Document, method: str, path: str, operation: Document, shared: list[Any]) -> Iterator[str]:
    yield f"## {method.upper()} {path}"
    yield ""
    if (role := operation.get(ROLE_FIELD)) is not None:
        yield f"Role: `{role}`.\n"
    text = operation.get("description") or operation.get("summary") or ""
    yield from (f"{_line(paragraph)}\n" for paragraph in text.split("\n\n") if paragraph.strip())
    parameters = [_resolved(document, one) for one in [*shared, *operation.get("parameters", [])]]
    if parameters:
        yield "| parameter | in | type | |"
        yield "| --- | --- | --- | --- |"
        for one in parameters:
            schema = one.get("schema", {})
            notes = " ".join(
                part
                for part in (
                    _line(one.get("description") or schema.get("description") or ""),
                    "Required." if one.get("required") and one["in"] != "path" else "",
                    f"Default: `{json.dumps(schema['default'])}`." if schema.get("default") is not None else "",
                )
                if part
            )
            yield f"| `{one['name']}` | {one['in']} | {_type(document, schema)} | {notes} |"
        yield ""
    body = operation.get("requestBody")
    if body is not None:
        contents = _resolved(document, body).get("content", {})
        yield "**Body** " + ", ".join(f"`{kind}`" for kind in contents) + "\n"
        schemas = {
            json.dumps(one.get("schema", {}), sort_keys=True): one.get("schema", {}) for one in contents.values()
        }
        for schema in schemas.values():
            yield from _fields(document, schema)
    yield "| status | answer |"
    yield "| --- | --- |"
    answers: list[Document] = []
    for status, answer in operation.get("responses", {}).items():
        answer = _resolved(document, answer)
        schema = next((one.get("schema", {}) for one in answer.get("content", {}).values()), {})
        shown = _type(document, schema) if schema else ""
        yield f"| {status} | {_line(answer.get('description', ''))} {shown} |"
        if status.startswith("2") and schema not in answers:
            answers.append(schema)
    yield ""
    for schema in answers:
        yield from _fields(document, schema)


def _fields(document: Document, schema: Document, title: str | None = None) -> Iterator[str]:
    """A table of an object's fields, or of the items of a list of objects. ``title`` replaces the object's own."""
    found = _resolved(document, schema)
    if found.get("type") == "array":
        found = _resolved(document, found.get("items", {}))
    properties = found.get("properties")
    if not properties:
        return
    required = set(found.get("required", []))
    title = found.get("title", "") if title is None else title
    if title:
        yield f"`{title}`:\n"
    yield "| field | type | |"
    yield "| --- | --- | --- |"
    for name, one in properties.items():
        about = _line(one.get("description") or _resolved(document, one).get("description") or "")
        optional = "" if name in required else "Optional. "
        yield f"| `{name}` | {_type(document, one)} | {optional}{about} |"
    yield ""


def _resolved(document: Document, schema: Document) -> Document:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        schema = found
    return schema


def _type(document: Document, schema: Document) -> str:
    """A schema in a few words; the name of an object that has one."""
    if "$ref" in schema:
        found = _resolved(document, schema)
        return f"`{schema['$ref'].rsplit('/', 1)[-1]}`" if "properties" in found else _type(document, found)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(document, one) for one in schema[key]))
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return _type(document, schema["allOf"][0])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    if kind == "object" and schema.get("title") and "properties" in schema:
        return f"`{schema['title']}`"
    if isinstance(kind, list):
        return " or ".join(kind)
    form = f" ({schema['format']})" if schema.get("format") else ""
    return f"{kind}{form}"


def _line(text: str) -> str:
    """Text for one line of a table."""
    text = re.sub(r"\s+", " ", text).strip().replace("|", "\\|")
    return re.sub(r"(?<!`)<([^>`]+)>(?!`)", r"&lt;\1&gt;", text)
