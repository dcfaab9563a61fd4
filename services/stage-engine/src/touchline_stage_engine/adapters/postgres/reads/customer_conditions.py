"""The filter of customers as SQL: the list of customers and the members of audiences are found by the same conditions.

Conditions are constants with named parameters (`:stage`). A customer is a row `s` of `customer_summaries`; where the
filter names a lifecycle, `st` is their row of `stages` there.
"""

import re
from typing import Any

import orjson

from touchline_stage_engine.core.analysis.search_terms import after_prefix, search_words
from touchline_stage_engine.core.audiences.customer_filter import SLIPPED_WITHIN, CustomerFilter

_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")

MAX_FOUND = 5000
"""Customers that a search looks at: the first by the longest word."""

RUNS = "EXISTS (SELECT FROM lifecycles l WHERE l.name = st.lifecycle AND l.running)"
_NAMED_ONE_RUNS = "EXISTS (SELECT FROM lifecycles l WHERE l.name = :lifecycle AND l.running)"
LAST_MOVE = """
    FROM history h WHERE h.customer_id = st.customer_id AND h.lifecycle = st.lifecycle AND h.fact = 'move'
    ORDER BY h.no DESC LIMIT 1
"""
_AT_RISK = f"""
    (st.stalled_level > 0
     OR (SELECT h.move IN ('regress', 'lapse') AND h.occurred_at >= :slipped_since {LAST_MOVE}))
"""

# Filter → condition. The conditions are constants.
_CONDITIONS = {
    "min_value": "s.value >= :min_value",
    "max_value": "s.value <= :max_value",
    "seen_since": "coalesce(s.active_at, 0) >= :seen_since",
    "seen_before": "coalesce(s.active_at, 0) < :seen_before",
    "first_channel": "s.first_channel = :first_channel",
    "first_source": "s.first_source = :first_source",
    # The first condition is found by an index; JSON values that are equal may be written in different ways.
    "trait": "s.traits @> ANY (CAST(:trait_forms AS jsonb[])) AND s.traits ->> CAST(:trait AS text) = :trait_value",
}
_OF_STAGE = {
    "lifecycle": "st.lifecycle = :lifecycle",
    "stage": "st.stage = :stage",
    "entered_since": "st.entered_at >= :entered_since",
    "entered_before": "st.entered_at < :entered_before",
}
# Spans: the parameter is the instant a span ago.
_SPANS = {
    "seen_within": "coalesce(s.active_at, 0) > :seen_within",
    "not_seen_for": "coalesce(s.active_at, 0) <= :not_seen_for",
}
_SPANS_OF_STAGE = {
    "entered_within": "st.entered_at > :entered_within",
    "in_stage_for": "st.entered_at <= :in_stage_for",
}


def table_of(wanted: CustomerFilter) -> str:
    """What to select from. A customer has at most one stage in a lifecycle: a join lets PostgreSQL begin there."""
    if wanted.lifecycle is None:
        return "customer_summaries s"
    return "customer_summaries s JOIN stages st ON st.customer_id = s.customer_id AND st.lifecycle = :lifecycle"


def conditions_of(wanted: CustomerFilter) -> tuple[str, dict[str, Any]]:
    """The conditions, which are constants, and their parameters."""
    conditions, parameters = ["true"], {}
    for name, condition in _CONDITIONS.items():
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(condition)
            parameters[name] = value
    if wanted.trait is not None:
        parameters["trait_value"] = wanted.trait_value
        parameters["trait_forms"] = _json_forms(wanted.trait, wanted.trait_value or "")
    conditions += _spans(wanted, _SPANS, parameters)
    of_stage = []
    for name, condition in _OF_STAGE.items():
        value = getattr(wanted, name)
        if value is not None:
            of_stage.append(condition)
            parameters[name] = value
    of_stage += _spans(wanted, _SPANS_OF_STAGE, parameters)
    if wanted.stalled is not None:
        of_stage.append("st.stalled_level > 0" if wanted.stalled else "st.stalled_level = 0")
    if wanted.at_risk:
        of_stage.append(_AT_RISK)
        parameters["slipped_since"] = wanted.span_end(SLIPPED_WITHIN)
    if of_stage and wanted.lifecycle is not None:
        conditions += [_NAMED_ONE_RUNS, *of_stage]
    elif of_stage:
        inner = " AND ".join(["st.customer_id = s.customer_id", RUNS, *of_stage])
        conditions.append(f"EXISTS (SELECT FROM stages st WHERE {inner})")
    for number, word in enumerate(search_words(wanted.q or "")[:5]):
        parameters |= {f"from{number}": word, f"to{number}": after_prefix(word)}
        span = f"t.term >= :from{number} AND t.term < :to{number}"
        if number == 0:
            parameters["most_found"] = MAX_FOUND
            conditions.append(
                f"s.customer_id IN (SELECT t.customer_id FROM customer_terms t WHERE {span}"  # noqa: S608
                " ORDER BY t.term LIMIT :most_found)"
            )
        else:
            conditions.append(f"EXISTS (SELECT FROM customer_terms t WHERE t.customer_id = s.customer_id AND {span})")
    return " AND ".join(conditions), parameters


def _spans(wanted: CustomerFilter, known: dict[str, str], parameters: dict[str, Any]) -> list[str]:
    found = []
    for name, condition in known.items():
        span = getattr(wanted, name)
        if span is not None:
            found.append(condition)
            parameters[name] = wanted.span_end(span)
    return found


def _json_forms(trait: str, value: str) -> list[str]:
    """The JSON objects with a trait whose value PostgreSQL shows as that text: a string, a number, or a boolean."""
    forms = [orjson.dumps({trait: value}).decode()]
    if value in ("true", "false") or _JSON_NUMBER.fullmatch(value):
        forms.append(f"{{{orjson.dumps(trait).decode()}: {value}}}")
    return forms


_NAMED = re.compile(r"(?<![:\w]):([a-z_0-9]+)")


def numbered(statement: str, parameters: dict[str, Any], before: int) -> tuple[str, list[Any]]:
    """A statement with asyncpg's parameters ($1, …) in place of named ones, and the values in their order.

    Args:
        before: how many numbered parameters the statement has already.
    """
    places: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        return f"${places.setdefault(match[1], before + 1 + len(places))}"

    return _NAMED.sub(place, statement), [parameters[name] for name in places]
