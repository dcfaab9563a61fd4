from dataclasses import dataclass

import pytest
from touchline_ingest.core.sources.interface import RequestRejection, SourceConfig, Understood
from touchline_ingest.core.sources.registry import build_registry

SHIPPED = {
    *("segment", "cloudevents", "standard-webhooks", "stripe", "hubspot", "sendgrid", "mailgun", "postmark", "ses"),
    *("pipedrive", "salesforce"),
}


class Good:
    kind = "good"

    def check(self, config):
        return []

    def read(self, request, config, now):
        return Understood()


class Failing(Good):
    kind = "failing"

    def check(self, config):
        raise KeyError("x")

    def read(self, request, config, now):
        raise ValueError("boom")


class Confused(Good):
    kind = "confused"

    def read(self, request, config, now):
        return ["touchpoint"]


@dataclass
class PlugIn:
    name: str
    thing: object
    value: str = "somebody.sources:Thing"

    def load(self):
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


def test_every_kind_that_is_promised_ships():
    registry = build_registry()
    assert set(registry.sources) == SHIPPED
    assert registry.broken == {}


def test_a_package_adds_a_kind_by_class_or_by_instance(post, now):
    for thing in (Good, Good()):
        registry = build_registry([PlugIn("good", thing)])
        source = registry.get("good")
        assert source is not None
        assert source.read(post({}), SourceConfig("x", "good"), now) == Understood()


@pytest.mark.parametrize(
    ("name", "thing", "reason"),
    [
        ("gone", ModuleNotFoundError("no module"), "no module"),
        ("good", object(), "no source"),
        ("other", Good, "calls itself 'good'"),
        ("stripe", Good, "ships"),
    ],
)
def test_a_broken_package_says_why_and_takes_nobody_down(name, thing, reason):
    registry = build_registry([PlugIn(name, thing), PlugIn("good2", type("Good2", (Good,), {"kind": "good2"}))])
    assert reason in registry.broken[name].reason
    assert set(registry.sources) == SHIPPED | {"good2"}


def test_two_packages_with_one_name_are_both_out():
    registry = build_registry([PlugIn("good", Good), PlugIn("good", Good, "another:Thing"), PlugIn("good", Good)])
    assert "another:Thing" in registry.broken["good"].reason
    assert registry.get("good") is None


def test_a_sources_file_learns_what_is_wrong_with_a_kind():
    registry = build_registry([PlugIn("gone", ImportError("no such thing"))])
    assert "no such thing" in registry.check(SourceConfig("x", "gone"))[0]
    assert "write one of" in registry.check(SourceConfig("x", "strype"))[0]
    assert registry.check(SourceConfig("x", "stripe", ("whsec_x",))) == []


@pytest.mark.parametrize("thing", [Failing, Confused])
def test_a_package_that_fails_while_reading_asks_the_sender_to_come_again(post, now, thing):
    registry = build_registry([PlugIn(thing.kind, thing)])
    source = registry.get(thing.kind)
    assert source is not None
    refused = source.read(post({}), SourceConfig("x", thing.kind), now)
    assert isinstance(refused, RequestRejection)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "60")
    assert refused.cause
    assert refused.cause not in refused.detail


def test_a_package_that_fails_to_check_is_a_problem_of_the_file():
    registry = build_registry([PlugIn("failing", Failing)])
    assert "KeyError" in registry.check(SourceConfig("x", "failing"))[0]
