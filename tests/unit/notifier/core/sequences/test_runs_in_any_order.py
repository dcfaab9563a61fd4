"""Whatever comes in whatever order, late or twice: each step is done once at most, and exits are honoured."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from touchline_notifier.core.sequences.program import program
from touchline_schemas.touchpoint import Touchpoint

from tests.support.notifier.builders import NOON, a_move, a_touchpoint
from tests.support.notifier.sequences import Company, a_message, a_sequence

HOUR = timedelta(hours=1)
KINDS = ("demo_booked", "email_clicked", "purchased")

waits = st.integers(1, 60).map(lambda hours: {"wait": f"{hours}h"})
awaits = st.builds(
    lambda kind, hours: {"wait_until": {"touchpoint": [kind], "within": f"{hours}h"}},
    st.sampled_from(KINDS[:2]),
    st.integers(1, 60),
)
moves = st.integers(1, 60).map(lambda hours: {"wait_until": {"move": "advance", "within": f"{hours}h"}})
simple = st.one_of(st.just(a_message("Hello")), waits, awaits, moves)


def branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arms = st.lists(inner, max_size=3)
    conditions = st.sampled_from(["happened", "timed_out", {"history": [{"type": "email_clicked"}]}])
    return st.builds(
        lambda on, then, other: {"branch": {"on": on, "then": then, "else": other}}, conditions, arms, arms
    ).filter(lambda step: bool(step["branch"]["then"] or step["branch"]["else"]))


steps = st.lists(st.recursive(simple, lambda inner: st.one_of(simple, branches(inner)), max_leaves=6), max_size=6)
touchpoints = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 200), st.integers(0, 30)), max_size=12
)  # kind, hour, how many hours later it is read


def some_touchpoints(drawn: list[tuple[str, int, int]]) -> list[tuple[datetime, Touchpoint]]:
    return [
        (NOON + (hour + later) * HOUR, a_touchpoint(kind, NOON + hour * HOUR, f"t-{number}"))
        for number, (kind, hour, later) in enumerate(drawn)
    ]


@settings(max_examples=150, deadline=None)
@given(
    steps,
    touchpoints,
    st.lists(st.integers(0, 220), max_size=4),
    st.booleans(),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_each_step_is_done_once_and_nothing_is_sent_after_an_exit(
    drawn: list[Any], given_touchpoints: Any, hours: list[int], leaves: bool, deliver: bool, random: Any
) -> None:
    play = a_sequence(a_message("First"), *drawn, exit=leaves, goal={"when": ["purchased"], "within": "90d"})
    company = Company([play], deliver=deliver)
    company.fact(a_move())
    events: list[tuple[datetime, Any]] = [*some_touchpoints(given_touchpoints)]
    events += [
        (NOON + hour * HOUR, a_move(number + 2, move="advance", stage=f"stage-{number}", at=NOON + hour * HOUR))
        for number, hour in enumerate(sorted(hours))
    ]
    events += random.sample(events, len(events) // 2)  # read twice
    ended_at: datetime | None = None
    for at, event in sorted(events, key=lambda one: one[0]):
        company.run_until(at)
        if not deliver:
            _conclude(company, at, random)
        before = len(company.sent)
        if isinstance(event, Touchpoint):
            company.touchpoint(event, at)
            if event.type == "purchased" and event.occurred_at > NOON:
                company.wake([run.run_id for run in company.history.running], at)
                assert not company.history.running
        else:
            company.fact(event, at)
        company.wake([run.run_id for run in company.history.running], at)
        ended = company.run.ended
        if ended_at is not None:
            assert len(company.sent) == before
        ended_at = ended.at if ended is not None else None
    _conclude(company, NOON + 400 * HOUR, random)
    company.deliver = True
    company.run_until(NOON + 10000 * HOUR)
    assert len(company.steps) == len(set(company.steps))
    nodes = program(play.steps)
    assert set(company.steps) <= {name for name, node in nodes.items() if node.step.send is not None}
    assert company.run.ended is not None
    visits = list(company.run.visits.values())
    assert all(one.left_at is not None and one.left_at >= one.entered_at for one in visits)
    assert [one.entered_at for one in visits] == sorted(one.entered_at for one in visits)


def _conclude(company: Company, at: datetime, random: Any) -> None:
    for run in company.history.running:
        if run.action is not None and run.action.outcome == "decided":
            outcome, code = random.choice([("sent", None), ("failed", "delivery_failed"), ("cancelled", "too_old")])
            company.deliver_now(run, at, outcome, code)


@settings(max_examples=100, deadline=None)
@given(steps, touchpoints, st.randoms(use_true_random=False))
def test_the_order_in_which_touchpoints_are_read_changes_nothing(
    drawn: list[Any], given_touchpoints: Any, random: Any
) -> None:
    """Of what is read between two looks at the run: partitions are read in no order among each other."""
    paths = []
    play = a_sequence(a_message("First"), *drawn, exit=False)
    for shuffled in (False, True):
        company = Company([play])
        company.fact(a_move())
        for day in range(12):
            start, end = NOON + day * 24 * HOUR, NOON + (day + 1) * 24 * HOUR
            read = [one for at, one in some_touchpoints(given_touchpoints) if start < at <= end]
            if shuffled:
                random.shuffle(read)
                read += random.sample(read, len(read) // 2)
            for touchpoint in read:
                company.touchpoint(touchpoint, end)
            company.run_until(end)
        company.run_until(NOON + 2000 * HOUR)
        paths.append((company.sent, company.run.visits))
    assert paths[0] == paths[1]
