"""The kind: words that disagree. One name for each state, in APIs, command lines, pages, logs, metrics and docs."""

import ast
import re
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from rich.console import Console
from touchline_console.core import words
from touchline_notifier.adapters.metrics.deliveries import MeteredDeliveries
from touchline_notifier.adapters.postgres.delivery_queue import _ENDS
from touchline_notifier.core.decisions.hold_reasons import REASON_CODES
from touchline_notifier.core.delivery import conclusion
from touchline_notifier.core.delivery.breaker import State
from touchline_notifier.entrypoints.cli import output
from touchline_notifier.metrics import DELIVERY_ATTEMPTS, DELIVERY_SECONDS, ENDPOINT_BREAKER
from touchline_runtime.metrics import Metrics
from touchline_schemas.events.actions import Outcome

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "services/console/src/touchline_console/web/templates"
PAGES = {str(path.relative_to(TEMPLATES)): path.read_text() for path in sorted(TEMPLATES.rglob("*.html"))}
GLOSSARY = (ROOT / "docs/glossary.md").read_text()
DELIVERY = (ROOT / "docs/delivery.md").read_text()
API = (ROOT / "services/notifier/src/touchline_notifier/entrypoints/http/api.py").read_text()
MIGRATIONS = "\n".join(
    path.read_text()
    for path in sorted((ROOT / "services/notifier/src/touchline_notifier/migrations/versions").glob("*.py"))
)


def listed(name: str) -> set[str]:
    """The values that a filter of the notifier's API takes."""
    (found,) = re.findall(rf"{name}: Literal\[([^\]]+)\] \| None", API)
    return set(re.findall(r'"(\w+)"', found))


def meaning(term: str) -> str:
    """A term's line in the glossary."""
    (line,) = [line for line in GLOSSARY.splitlines() if line.startswith(f"| **{term}**")]
    return line


def test_outcomes_of_actions() -> None:
    outcomes = set(get_args(Outcome))
    assert set(words.OUTCOMES) == outcomes == listed("outcome")
    assert outcomes <= set(re.findall(r"`(\w+)`", meaning("action")))


def test_states_of_deliveries() -> None:
    (stored,) = re.findall(r"CHECK \(status IN \(([^)]+)\)", MIGRATIONS)
    states = set(re.findall(r"'(\w+)'", stored))
    assert set(words.STATUSES) == states == listed("status")
    assert states == set(re.findall(r"`(\w+)`", meaning("delivery")))


def test_a_state_that_actions_and_deliveries_share_has_one_label() -> None:
    for name in set(words.OUTCOMES) & set(words.STATUSES):
        assert words.OUTCOMES[name] == words.STATUSES[name]


def test_results_of_attempts() -> None:
    (stored,) = re.findall(r"result IN \(([^)]+)\)", MIGRATIONS)
    attempts = set(re.findall(r"'(\w+)'", stored))
    assert set(words.RESULTS) == attempts
    results = set(conclusion.RESULTS)
    assert attempts < results
    assert results - attempts <= set(get_args(Outcome)) | set(REASON_CODES)
    assert [name for name in results if name not in DELIVERY_ATTEMPTS.about] == []
    (paragraph,) = re.findall(r"\*\*A delivery\*\* is .*?\n\n", DELIVERY, re.DOTALL)
    assert results <= set(re.findall(r"`(\w+)`", paragraph))


@pytest.mark.parametrize("kind", get_args(conclusion.Conclusion), ids=lambda kind: kind.__name__)
def test_an_attempts_result_is_what_its_action_becomes(kind: type[Any]) -> None:
    fields = {"status": None, "why": "w", "moment": None, "code": "moved_on"}
    made = kind(**{name: value for name, value in fields.items() if name in kind.__dataclass_fields__})
    result = conclusion.result_of(made)
    if kind in _ENDS:
        outcome, code, _ = _ENDS[kind]
        assert result in (outcome, code)


def test_the_metric_has_every_result_from_the_start() -> None:
    endpoint = SimpleNamespace(type="webhook")
    metrics = Metrics([DELIVERY_ATTEMPTS, DELIVERY_SECONDS])
    MeteredDeliveries(metrics, {"crm": endpoint})  # type: ignore[dict-item]
    shown = set(re.findall(r'_attempts_total\{[^}]*result="(\w+)"', metrics.exposition().decode()))
    assert shown == set(conclusion.RESULTS)


def test_states_of_breakers() -> None:
    states = set(get_args(State))
    assert set(words.BREAKERS) == states
    assert states == set(re.findall(r"`(\w+)`", meaning("circuit breaker")))
    assert [state for state in states if state not in ENDPOINT_BREAKER.about] == []
    assert [state for state in states if f"`{state}`" not in DELIVERY] == []


@pytest.mark.parametrize("state", get_args(State))
def test_the_command_line_shows_the_breaker_by_its_name_and_says_what_it_means(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = StringIO()
    monkeypatch.setattr(output, "Console", lambda **_: Console(file=written, width=400))
    row = {
        "endpoint": "crm", "type": "webhook", "breaker": state, "disabled_at": None, "disabled_reason": None,
        "retry_after": None, "pending": 3, "last_error": None, "last_error_at": None,
    }  # fmt: skip
    output.show_endpoints([row])
    table, _, footer = written.getvalue().rpartition("closed: ")
    assert f" {state} " in table
    for other, text in words.BREAKERS.items():
        assert f"{other}: {text.split(' until ')[0]}" in f"closed: {footer}"


def test_every_code_of_a_reason_has_words_and_no_other() -> None:
    assert set(words.REASONS) == set(REASON_CODES)


@pytest.mark.parametrize("code", REASON_CODES)
def test_a_reason_reads_as_words_with_or_without_its_text(code: str) -> None:
    for text in (code, f"{code}: some text"):
        shown = words.reason(text)
        assert code not in shown or "_" not in code
        assert shown.startswith((words.REASONS[code], "some text"))


RETIRED = {
    "moved back": "slipped back (a customer), left backward (a stage), moves back (moves)",
    "tried again later": "retry",
    "send again": "enable (an endpoint), lift the suppression (an address)",
    "came back": "returned",
}
"""Words that pages used beside the right ones."""


@pytest.mark.parametrize("word", RETIRED)
def test_no_page_uses_a_second_word(word: str) -> None:
    found = [name for name, text in PAGES.items() if word in text.lower()]
    assert found == [], f"write: {RETIRED[word]}"


def test_the_glossary_says_what_at_risk_and_slipped_back_are() -> None:
    assert "stalled or slipped back" in meaning("at risk")
    assert all(f"`{move}`" in meaning("slipped back") for move in ("regress", "lapse"))
    said = [words.slipped({"slipped_by": move}) for move in ("regress", "lapse")]
    assert said == ["slipped back", "slipped back by time"]


SOURCES = [
    path
    for folder in ("libs", "services")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "rich.console import Console" in path.read_text()
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.parent.parent.name}-{path.stem}")
def test_no_command_line_writes_emoji_for_what_data_says(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console":
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert given.get("emoji") == "False", f"line {node.lineno}: `localhost:abc:` would become another text"
