"""The example of a package that adds a source: built as a wheel, installed, found by its entry point."""

import hashlib
import hmac
import importlib
import json
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from touchline_ingest.core.sources.interface import RequestRejection, SourceConfig
from touchline_ingest.core.sources.registry import ENTRY_POINT_GROUP, build_registry

EXAMPLE = Path(__file__).parents[5] / "docs/examples/touchline-source-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the example installed as an installer would leave it: package and dist-info side by side."""
    made, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(build, cwd=EXAMPLE, check=True, capture_output=True)
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


@pytest.fixture
def source(installed, monkeypatch):
    monkeypatch.syspath_prepend(str(installed))
    importlib.invalidate_caches()
    found = [
        entry_point
        for distribution in distributions(path=[str(installed)])
        for entry_point in distribution.entry_points
        if entry_point.group == ENTRY_POINT_GROUP
    ]
    registry = build_registry(found)
    assert registry.broken == {}
    yield registry.get("pollbox")
    sys.modules.pop("touchline_source_example", None)


def test_an_installed_package_adds_its_source(source, post, now, accepted):
    answer = {"id": "a1", "respondent": "Ada@example.org", "answered_at": "2026-03-01T11:00:00Z", "score": 9}
    body = json.dumps([answer]).encode()
    signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    config = SourceConfig("surveys", "pollbox", ("secret",))
    (touchpoint,) = accepted(source.read(post(body, x_pollbox_signature=signature), config, now))
    assert (touchpoint.type, touchpoint.key) == ("survey_answered", "email:ada@example.org")
    assert touchpoint.properties["score"] == 9
    refused = source.read(post(body, x_pollbox_signature="00"), config, now)
    assert isinstance(refused, RequestRejection)


def test_an_installed_package_checks_its_own_settings(source):
    assert source.check(SourceConfig("surveys", "pollbox"))[0].startswith("secret:")


def test_an_installed_package_keeps_what_it_cannot_read(source, post, now):
    config = SourceConfig("surveys", "pollbox", ("secret",))
    for body in (b'[{"id":"a1"}]', b"[7]", b"not json"):
        signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
        reading = source.read(post(body, x_pollbox_signature=signature), config, now)
        assert len(reading.unreadable) == 1
