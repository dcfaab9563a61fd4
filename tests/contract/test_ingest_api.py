"""Whatever is sent, the doors answer as their API page says, and never with an error of ours."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from touchline_ingest import metrics as declared
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.bootstrap import application
from touchline_ingest.settings import IngestSettings
from touchline_runtime.metrics import Metrics

KEY = "key"
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
DOORS = [
    ("POST", "/v1/touchpoints"),
    ("POST", "/v1/track"),
    ("POST", "/v1/batch"),
    ("POST", "/v1/alias"),
    ("POST", "/v1/cloudevents"),
    ("POST", "/v1/webhooks/{source}"),
    ("POST", "/v1/beacon"),
    ("GET", "/v1/pixel.gif"),
    ("GET", "/v1/touchline.js"),
]


@pytest.fixture(scope="module")
def ingest_page(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The API page of the real application, with a log in memory behind it."""
    sources: Path = tmp_path_factory.mktemp("contract") / "sources.yaml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    sources.write_text(f'sources:\n  - {{name: any, kind: api, key_sha256: "{digest}"}}\n')
    app, _ = application(IngestSettings(sources_file=sources), MemoryPublisher(), Metrics(declared.ALL))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize(("method", "path"), DOORS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_door_answers_as_its_page_says(ingest_page: Any, method: str, path: str, data: st.DataObject) -> None:
    case = data.draw(ingest_page[path][method].as_strategy())
    case.headers = {**dict(case.headers or {}), "Authorization": f"Bearer {KEY}"}
    if "key" in (case.query or {}):
        case.query = {**case.query, "key": KEY}
    case.call_and_validate(checks=CHECKS)
