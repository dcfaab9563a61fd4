"""Random lifecycles and random lives: small alphabets and a coarse clock, so that ties and coincidences abound."""

from typing import Any

from hypothesis import strategies as st
from touchline_stage_engine.core.definitions.checks import check
from touchline_stage_engine.core.definitions.compile import CompiledLifecycle, compile_definition
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.folding.facts import Fact, Move, Recovery, Stall
from touchline_stage_engine.core.touchpoint import Touchpoint

HALF_HOUR = 1800 * 10**6
HOURS = 2 * HALF_HOUR
DAY = 24 * HOURS
NAMES = ("a", "b", "c", "d", "e")
OFF_PATH = ("x", "y")
TYPES = ("t0", "t1", "t2", "t3", "cancelled")
VALUES = (0, 1, 2, 2.0, True, False, None, "", "1", "b")
SPANS = ("1h", "2h", "5h", "10h")


def _where() -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.sampled_from([0, 1, 1.5, 2, "1", "b"])
    operators = st.one_of(
        st.sampled_from(VALUES),
        st.sampled_from(["eq", "ne"]).flatmap(lambda name: st.sampled_from(VALUES).map(lambda value: {name: value})),
        st.sampled_from(["lt", "lte", "gt", "gte"]).flatmap(lambda name: bounds.map(lambda value: {name: value})),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=3).map(lambda values: {"in": values}),
        st.booleans().map(lambda value: {"exists": value}),
    )
    return st.dictionaries(st.sampled_from(["properties.n", "properties.deep.s"]), operators, max_size=1)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    when = draw(st.one_of(st.just(["*"]), st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True)))
    condition: dict[str, Any] = {"when": when}
    if draw(st.integers(0, 4)) == 0:
        condition["channel"] = draw(st.lists(st.sampled_from(["web", "sales"]), min_size=1, max_size=2))
    direction = draw(st.sampled_from([None, None, None, "inbound", "outbound", "any"]))
    if direction:
        condition["direction"] = direction
    if where := draw(_where()):
        condition["where"] = where
    if draw(st.booleans()):
        condition["count"] = draw(st.integers(1, 4))
    if draw(st.booleans()):
        condition["within"] = draw(st.sampled_from(SPANS))
    return condition


@st.composite
def rules(draw: st.DrawFn, targets: list[str]) -> dict[str, Any]:
    rule: dict[str, Any]
    if draw(st.integers(0, 2)) == 0:
        rule = {"all": draw(st.lists(conditions(), min_size=1, max_size=3))}
    else:
        rule = draw(conditions())
    return {**rule, "to": draw(st.sampled_from(targets))}


def _targets(path: list[str], off: list[str], cyclic: bool, stage: str) -> list[str]:
    """Where a rule or lapse of a stage may lead, in every way it can be written."""
    found = [name for name in (*path, *off) if name != stage]
    if stage != path[0]:
        found.append("first")
    if stage in path:
        found += ["previous"] if path.index(stage) > 0 else []
        found += ["next"] if path.index(stage) + 1 < len(path) or (cyclic and len(path) > 1) else []
    return found


@st.composite
def lifecycles(draw: st.DrawFn, version: int = 1) -> dict[str, Any]:
    """A definition as its YAML would give it, which `check` lets pass."""
    path = list(NAMES[: draw(st.integers(1, 5))])
    off = list(OFF_PATH[: draw(st.sampled_from([0, 0, 1, 2]))])
    cyclic = draw(st.booleans())

    def stage(name: str) -> dict[str, Any]:
        made: dict[str, Any] = {"name": name}
        targets = _targets(path, off, cyclic, name)
        if draw(st.booleans()):
            levels = sorted(draw(st.sets(st.sampled_from([3, 6, 13, 24, 30, 60]), min_size=1, max_size=3)))
            made["stall"] = {"after": f"{levels[0]}h", "then": [f"{level}h" for level in levels[1:]]}
        if bool(targets) and draw(st.booleans()):
            made["lapse"] = {
                "after": draw(st.sampled_from(["13h", "24h", "30h", "3d"])),
                "to": draw(st.sampled_from(targets)),
            }
        if targets:
            made["rules"] = draw(st.lists(rules(targets), max_size=3))
        return made

    anywhere = [*path, *off] if len(path) + len(off) > 1 else []
    relative = ["next", "previous", "first"] if len(path) > 1 else []
    definition: dict[str, Any] = {
        "lifecycle": "random",
        "version": version,
        "cyclic": cyclic,
        "passive": ["t3"] if draw(st.booleans()) else ["t9"],
        "rules": draw(st.lists(rules(anywhere + relative), max_size=2)) if anywhere else [],
        "stages": [stage(name) for name in path],
        "off_path": [stage(name) for name in off],
    }
    return definition


def compiled(definition: dict[str, Any]) -> CompiledLifecycle:
    """The definition read and compiled, as `read_definition` would have it."""
    model = Definition.model_validate(definition)
    assert check(model) == []
    return compile_definition(model)


@st.composite
def touchpoints(draw: st.DrawFn, longest: int = 25) -> list[Touchpoint]:
    """One customer's touchpoints, in no order, each (source, id) once."""
    made = {}
    for number in range(draw(st.integers(0, longest))):
        kind = draw(st.sampled_from((*TYPES, *TYPES, *TYPES, "stage_set")))
        properties: dict[str, Any] = {}
        if kind == "stage_set":
            properties = {
                "lifecycle": draw(st.sampled_from(["random", "random", "random", "another"])),
                "stage": draw(st.sampled_from((*NAMES, "x", "nowhere"))),
            }
        else:
            if draw(st.booleans()):
                properties["n"] = draw(st.sampled_from((*VALUES, [1], {"a": 1})))
            if draw(st.booleans()):
                properties["deep"] = draw(st.sampled_from([{"s": 1}, {"s": "b"}, {"s": None}, {}, 7]))
        at = draw(st.integers(0, 250)) * HALF_HOUR
        source = draw(st.sampled_from(["s", "s", "s", "s", "z", "notifier"]))
        made[(source, str(number))] = Touchpoint(
            occurred_at=at,
            id=draw(st.sampled_from(["A", "b", "é", "Z", "10", "9"])) + str(number),
            source=source,
            type=kind,
            channel=draw(st.sampled_from(["web", "sales"])),
            direction=draw(st.sampled_from(["inbound", "inbound", "inbound", "outbound"])),
            properties=properties,
            machine=draw(st.integers(0, 9)) == 0,
            backfill=draw(st.integers(0, 5)) == 0,
            received_at=at + draw(st.sampled_from([0, 1, 3, 24, 100])) * HOURS,
        )
    return list(made.values())


def clock() -> st.SearchStrategy[int]:
    """An instant the clock may have fired timers through."""
    return st.integers(0, 400).map(lambda number: number * HALF_HOUR)


def plain(facts: list[Fact]) -> list[tuple[Any, ...]]:
    """Canonical facts in the words of the naive reference."""
    published: list[tuple[Any, ...]] = []
    for fact in facts:
        if isinstance(fact, Move):
            published.append(
                (
                    "move", fact.kind, fact.from_stage, fact.to_stage, fact.occurred_at, fact.reason_kind,
                    fact.touchpoint_id, fact.version, fact.previous_stage_seconds, fact.backfill,
                )
            )  # fmt: skip
        elif isinstance(fact, Stall):
            published.append(("stall", fact.stage, fact.level, fact.since, fact.due_at, fact.backfill))
        else:
            assert isinstance(fact, Recovery)
            published.append(
                ("recovery", fact.stage, fact.stalled_seconds, fact.touchpoint_id, fact.occurred_at, fact.backfill)
            )
    return published
