"""Which connection makes room for a new one: the model of a list, beside the real thing."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from touchline_runtime.process.connection_limit import SLOW_SECONDS, ConnectionLimit

MOST = 4


@dataclass(eq=False)
class Connection:
    """One that remembers whether it was closed."""

    number: int
    state: str = "new"
    since: int = 0
    slow_at: float = 0.0
    given: list[int] = field(default_factory=list)

    def give_way(self) -> None:
        self.given.append(self.number)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["open", "busy", "kept", "new", "slow", "closed", "wait"]), st.integers(0, 9)),
    max_size=60,
)


def next_to_go(there: list[Connection], newest: Connection, now: float) -> Connection | None:
    """Who gives way, as the module's text has it."""
    groups: dict[str, list[Connection]] = {"new": [], "kept": [], "slow": []}
    for one in sorted(there, key=lambda one: one.since):
        if one is not newest and (one.state in ("new", "kept") or (one.state == "slow" and now - one.slow_at > 10)):
            groups[one.state].append(one)
    larger = groups["new"] if len(groups["new"]) >= len(groups["kept"]) else groups["kept"]
    return next(iter(larger or groups["slow"]), None)


@given(ACTIONS)
def test_the_one_that_has_waited_longest_gives_way_and_a_busy_one_never(actions: list[tuple[str, int]]) -> None:
    limit, now, turn = ConnectionLimit(MOST), 0.0, 0
    there: list[Connection] = []
    made: list[Connection] = []
    for name, number in actions:
        turn += 1
        if name == "wait":
            now += SLOW_SECONDS * 1.5
            continue
        if name == "open":
            fresh = Connection(len(made), since=turn)
            made.append(fresh)
            there.append(fresh)
            room = limit.opened(fresh, now)
            while len(there) > MOST and (gone := next_to_go(there, fresh, now)) is not None:
                there.remove(gone)
                assert gone.given == [gone.number]
            assert room == (len(there) <= MOST)
            assert len(limit) == len(there)
            assert all(not one.given for one in there)
            continue
        if not there:
            continue
        one = there[number % len(there)]
        if name == "closed":
            limit.closed(one)
            there.remove(one)
        elif name == "busy":
            limit.busy(one)
            one.state = "busy"
        elif name == "slow":
            limit.slow(one, now)
            if one.state != "slow":
                one.state, one.since, one.slow_at = "slow", turn, now
        else:
            limit.idle(one, kept=name == "kept")
            one.state, one.since = name, turn


def test_what_was_closed_is_not_counted_again() -> None:
    limit, one = ConnectionLimit(1), Connection(0)
    assert limit.opened(one, 0.0)
    limit.closed(one)
    limit.idle(one, kept=True)
    limit.slow(one, 0.0)
    limit.busy(one)
    assert len(limit) == 0
    assert limit.opened(Connection(1), 1.0)
    assert one.given == []
