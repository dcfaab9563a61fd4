"""The page on plays and the schema for editors say what the code does."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from touchline_notifier.adapters.files.play_files import shipped_plays
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.hold_reasons import (
    CancelCode,
    FailCode,
    FinalHoldCode,
    HeldOutCode,
    TemporaryHoldCode,
)
from touchline_notifier.core.plays.built_in_lifecycles import BUILT_IN
from touchline_notifier.core.plays.parse import check_lifecycles, read_plays
from touchline_notifier.core.plays.parts import Utm
from touchline_notifier.core.plays.play import Limits, json_schema
from touchline_notifier.core.plays.rendering import Templates
from touchline_runtime.yaml.text import read_document

from tests.support.notifier.builders import NOON, a_stall

DOCS = Path(__file__).parents[5] / "docs"
PAGE = (DOCS / "plays.md").read_text()


def test_the_schema_in_the_docs_is_the_code_s() -> None:
    written = json.loads((DOCS / "play.schema.json").read_text())
    assert written == json_schema(), "run: touchline-notifier schema > docs/play.schema.json"


@pytest.mark.parametrize("name", shipped_plays())
def test_shipped_plays_meet_the_schema(name: str) -> None:
    path, text = shipped_plays()[name]
    jsonschema.validate(read_document(text, path).value, json_schema())


def test_the_schema_refuses_what_is_misspelt() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            {"play": "p", "when": {"fact": "customer-stalled"}, "action": {}, "limit": {}}, json_schema()
        )


def test_the_play_on_the_page_is_sound() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    parsed = read_plays([("docs/plays.md", text)])
    assert parsed.faults == []
    assert parsed.warnings == []
    assert check_lifecycles(parsed, BUILT_IN) == []
    jsonschema.validate(read_document(text, "docs/plays.md").value, json_schema())


def test_the_mail_on_the_page_is_sound_and_becomes_the_text_on_it() -> None:
    page = (DOCS / "mail-texts.md").read_text()
    (text, *_), (plain, *_) = (re.findall(f"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("yaml", "text"))
    parsed = read_plays([("docs/mail-texts.md", text)])
    assert (parsed.faults, parsed.warnings) == ([], [])
    jsonschema.validate(read_document(text, "docs/mail-texts.md").value, json_schema())
    (play,) = parsed.plays.values()
    fact = a_stall(stage="retention", data={"since": "2026-02-01T23:30:00Z"})
    action = Action("a", play.play, fact, "c-1", "email", "mail", 0, "decided", NOON)
    customer: dict[str, Any] = {"customer_id": "c-1", "email": None, "locale": None, "last": {}, "traits": {}}
    link = "https://notify.example.org/v1/unsubscribe/…"
    assert Templates(lambda *_: link).render(play, action, customer).text == plain.rstrip()


def test_the_languages_on_the_page_are_sound() -> None:
    page = (DOCS / "mail-texts.md").read_text()
    whole = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if text.startswith("play:")]
    assert len(whole) == 2
    for text in whole:
        parsed = read_plays([("docs/mail-texts.md", text)])
        assert (parsed.faults, parsed.warnings) == ([], [])
        jsonschema.validate(read_document(text, "docs/mail-texts.md").value, json_schema())


def test_the_page_on_mails_names_every_utm_parameter() -> None:
    page = (DOCS / "mail-texts.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("  utm:")]
    assert [name for name in Utm.model_fields if not re.search(rf"\b{name}\b", line)] == []


def test_the_page_names_every_limit() -> None:
    assert [name for name in Limits.model_fields if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize(
    ("outcome", "codes"),
    [
        ("`held` permanently", FinalHoldCode),
        ("`held`, decided again later", TemporaryHoldCode),
        ("`cancelled`", CancelCode),
        ("`held_out`", HeldOutCode),
        ("`failed`", FailCode),
    ],
)
def test_the_page_names_every_code_of_a_reason_and_no_other(outcome: str, codes: object) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {outcome}")]
    assert set(re.findall(r"`([a-z_]+)`", row.split("|")[2])) == names_in(codes)


def names_in(codes: object) -> set[str]:
    """The strings of a Literal, or of a union of some."""
    return {name for part in get_args(codes) for name in ([part] if isinstance(part, str) else names_in(part))}
