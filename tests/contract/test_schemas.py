"""The contract holds: examples fit their models and schemas, and no change breaks a subscriber."""

import copy
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from touchline_schemas.publication.compatibility import incompatibilities
from touchline_schemas.publication.export import event_models, example, json_schema, published_schema

ROOT = Path(__file__).parents[2]
EVENTS = event_models()


@pytest.mark.parametrize("event", EVENTS)
def test_the_golden_example_is_read_and_written_back_unchanged(event: str) -> None:
    model = EVENTS[event].model_validate(example(event))
    assert model.model_dump(mode="json", exclude_unset=True) == _without_fractions(example(event))


@pytest.mark.parametrize("event", EVENTS)
def test_the_golden_example_fits_the_published_schema(event: str) -> None:
    jsonschema.Draft202012Validator(
        published_schema(event), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(example(event))


@pytest.mark.parametrize("event", EVENTS)
def test_what_is_written_today_is_understood_by_yesterdays_subscribers(event: str) -> None:
    assert incompatibilities(published_schema(event), json_schema(EVENTS[event], event)) == []


@pytest.mark.parametrize("event", EVENTS)
def test_a_field_of_a_later_version_is_ignored(event: str) -> None:
    with_more = example(event) | {"added_in_a_later_version": {"deep": [1]}}
    assert EVENTS[event].model_validate(with_more) == EVENTS[event].model_validate(example(event))


def _stage_changed() -> dict[str, Any]:
    return copy.deepcopy(published_schema("touchline.stage-changed"))


def test_a_removed_field_is_incompatible() -> None:
    changed = _stage_changed()
    del changed["properties"]["from_stage"]
    assert incompatibilities(_stage_changed(), changed) == ["$.from_stage was removed"]


def test_a_changed_type_is_incompatible() -> None:
    changed = _stage_changed()
    changed["properties"]["sequence"]["type"] = "string"
    assert incompatibilities(_stage_changed(), changed) == ["$.sequence may now be string"]


def test_a_new_kind_of_move_is_incompatible() -> None:
    changed = _stage_changed()
    changed["properties"]["move"]["enum"].append("teleport")
    assert incompatibilities(_stage_changed(), changed) == ["$.move may now be 'teleport'"]


def test_a_field_that_may_now_be_missing_is_incompatible() -> None:
    changed = _stage_changed()
    changed["required"].remove("to_stage")
    assert incompatibilities(_stage_changed(), changed) == ["$.to_stage was always there and now may be missing"]


def test_a_new_optional_field_is_compatible() -> None:
    changed = _stage_changed()
    changed["properties"]["mood"] = {"type": "string"}
    assert incompatibilities(_stage_changed(), changed) == []


def test_generated_pages_are_current() -> None:
    pages = runpy.run_path(str(ROOT / "deploy/generate_docs.py"))["pages"]()
    stale = [path for path, make in pages.items() if (ROOT / path).read_text() != make()]
    assert stale == [], "run: make docs"


def _without_fractions(value: Any) -> Any:
    """Times as we write them: no trailing zeros are kept apart."""
    if isinstance(value, dict):
        return {name: _without_fractions(item) for name, item in value.items()}
    if isinstance(value, str) and value.endswith("Z") and "." in value:
        whole, fraction = value[:-1].split(".")
        return f"{whole}.{fraction.ljust(6, '0')}Z"
    return value
