"""What the engine must answer, worked out in memory from the posted touchpoints."""

import random
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from touchline_schemas.times import from_micros, parse_micros, to_wire
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.identity.canonical import canonical_roots
from touchline_stage_engine.core.identity.labels import Weight, weigh
from touchline_stage_engine.core.identity.links import SHARED_KEY_LIMIT
from touchline_stage_engine.core.touchpoint import Touchpoint

from tests.support.engine.world import LIFECYCLE, TYPES, all_keys, key_of, touchpoint


def trial_fold(text: str = LIFECYCLE) -> Fold:
    """The fold of a definition."""
    return Fold(Timeline.of(compile_definition(read_definition(text, "trial.yaml"))))


def read_posted(data: dict[str, Any]) -> Touchpoint:
    """The core's touchpoint of a posted one."""
    return Touchpoint(
        parse_micros(data["occurred_at"]), data["id"], data["source"], data["type"], data["channel"],
        data["direction"], data["properties"], data["machine"], data["backfill"], parse_micros(data["received_at"]),
    )  # fmt: skip


def links_of(posted: Iterable[dict[str, Any]], filed: Collection[str] | None = None) -> list[Weight]:
    """Every link of a set of touchpoints. An alias's previous id is a known customer's if there is one by that id.

    Args:
        filed: the keys that have touchpoints; None: those of the set.
    """
    everything = list(posted)
    if filed is None:
        filed = {key_of(data) for data in everything}
    links = []
    for data in everything:
        first, *others = all_keys(data)
        if data["machine"]:
            continue
        if data["type"] == "aliased":
            previous = data["properties"].get("previous_id")
            stand_in = f"anon:{previous}"
            others = [
                previous if other == stand_in and (previous in filed or previous == first) else other
                for other in others
            ]
        at = parse_micros(data["occurred_at"])
        links += [weigh(at, data["id"], data["source"], first, other) for other in others if other != first]
    return links


def roots_of(
    posted: Iterable[dict[str, Any]], limit: int = SHARED_KEY_LIMIT
) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Kruskal over every link that was posted: key → root, and the refused pairs."""
    return canonical_roots(links_of(posted), limit)


def expected(
    posted: Sequence[dict[str, Any]], fold: Fold, now: int, limit: int = SHARED_KEY_LIMIT
) -> dict[str, dict[str, Any]]:
    """Root → what GET /v1/customers/{root} says of the lifecycle, but for sequence and due time."""
    roots, _ = roots_of(posted, limit)
    sets: dict[str, dict[tuple[str, str], Touchpoint]] = {}
    for data in posted:
        key = key_of(data)
        one = read_posted(data)
        sets.setdefault(roots.get(key, key), {}).setdefault((one.source, one.id), one)
    answer = {}
    for root, found in sets.items():
        ordered = sorted(found.values(), key=lambda one: one.order)
        state, facts = fold.refold(ordered, now)
        answer[root] = {
            "touchpoints": len(ordered),
            "stage": None if state is None else state.stage.name,
            "entered_at": None if state is None else to_wire(from_micros(state.entered_at)),
            "stalled_level": None if state is None else state.level,
            "facts": len(facts),
        }
    return answer


def random_touchpoints(
    seed: random.Random, customers: Sequence[dict[str, str]], each: int, now: datetime
) -> list[dict[str, Any]]:
    """Some months of touchpoints of these customers (each a dict of identifiers), in no order."""
    made = []
    for number, identifiers in enumerate(customers):
        for index in range(each):
            at = now - timedelta(microseconds=seed.randrange(200 * 86_400 * 10**6))
            type_ = seed.choice(TYPES)
            properties = {"score": seed.randrange(11)} if type_ == "survey_answered" else {}
            made.append(
                touchpoint(
                    f"t{number}-{index}", at, type=type_, properties=properties, machine=seed.random() < 0.05,
                    **identifiers,
                )
            )  # fmt: skip
    seed.shuffle(made)
    return made


def assert_sound(facts: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Facts of every customer and lifecycle are numbered without gap or repetition, and moves make one chain.

    Returns the last move of each.
    """
    assert len({fact["ce_id"] for fact in facts}) == len(facts), "a fact was published twice"
    numbers: dict[tuple[str, str, int], int] = {}
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for fact in facts:
        if fact["ce_type"] in ("touchline.customer-merged", "touchline.customer-erased"):
            for key in [key for key in last if key[0] == fact["customer_id"]]:
                last[key] = last[key] | {"to_stage": None}
            if fact["ce_type"] == "touchline.customer-erased":
                last = {key: move for key, move in last.items() if key[0] != fact["customer_id"]}
            continue
        who = (fact["customer_id"], fact["lifecycle"], fact["incarnation"])
        numbers[who] = numbers.get(who, 0) + 1
        assert fact["fact_no"] == numbers[who], fact
        if fact["ce_type"] == "touchline.stage-changed":
            before = last.get(who[:2])
            assert fact["sequence"] == (1 if before is None else before["sequence"] + 1), fact
            assert fact["from_stage"] == (None if before is None else before["to_stage"]), fact
            last[who[:2]] = fact
    return last


def now_micros() -> int:
    """The clock."""
    return time.time_ns() // 1000


def utc_now() -> datetime:
    """The clock, as a datetime."""
    return datetime.now(UTC)
