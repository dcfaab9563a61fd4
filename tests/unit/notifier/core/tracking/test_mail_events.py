"""The verdict: what a human does in a mail, and what scanners and proxies do, as requests that were generated."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.tracking.events import (
    BURST,
    PROMPT,
    UNDER_WAY,
    Kind,
    MailAction,
    MailEvent,
    done_by_machine,
    touchpoint_of,
    window_of,
)
from touchline_schemas.touchpoint import Touchpoint

from tests.support.notifier.builders import NOON

ACTION_ID = str(UUID(int=7))


def action(accepted_at: datetime | None = None) -> MailAction:
    return MailAction("c-1", "win-back", "service-cycle", "retention", "mail", accepted_at)


def event(kind: Kind = "clicked", after: float = 0, number: int = 1, *, machine: bool = False) -> MailEvent:
    at = NOON + timedelta(seconds=after)
    if kind == "opened":
        return MailEvent(ACTION_ID, kind, at, machine)
    return MailEvent(ACTION_ID, kind, at, machine, number, "book", f"https://e.org/{number}")


def clicks(*found: tuple[int, float]) -> list[tuple[int, datetime]]:
    return [(number, NOON + timedelta(seconds=after)) for number, after in found]


@pytest.mark.parametrize(
    ("others", "machine"),
    [
        ([(1, 0)], False),
        ([(1, 0), (2, 1)], False),
        ([(1, 0), (2, 1), (3, 2)], True),
        ([(1, 0), (2, -2), (3, -4)], True),
        ([(1, 0), (2, 2.5), (3, -2.5)], True),
        ([(1, 0), (2, 3), (3, -3)], False),
        ([(1, 0), (1, 1), (1, 2), (2, 3)], False),
        ([(1, 0), (2, 1), (3, 5.1)], False),
        # Another program's burst, a while before.
        ([(1, 0), (1, -20), (2, -20), (3, -19)], False),
    ],
)
def test_three_links_at_once_are_a_scanner(others: list[tuple[int, float]], machine: bool) -> None:
    assert done_by_machine(event(), action(), clicks(*others)) is machine


@given(times=st.lists(st.tuples(st.integers(1, 5), st.floats(-30, 30)), max_size=12))
def test_the_verdict_does_not_depend_on_the_order_and_all_of_a_burst_get_it(
    times: list[tuple[int, float]],
) -> None:
    found = clicks(*times)
    verdicts = {
        one: done_by_machine(MailEvent(ACTION_ID, "clicked", one[1], False, one[0]), action(), found) for one in found
    }
    assert verdicts == {
        one: done_by_machine(MailEvent(ACTION_ID, "clicked", one[1], False, one[0]), action(), reversed(found))
        for one in found
    }
    for _, first in found:
        burst = [one for one in found if timedelta(0) <= one[1] - first <= BURST]
        if len({one[0] for one in burst}) >= 3:
            assert all(verdicts[one] for one in burst)
    for one, machine in verdicts.items():
        alone = [other for other in found if abs(other[1] - one[1]) <= 2 * BURST]
        if len({number for number, _ in alone}) < 3:
            assert not machine, "two links are a human's"


@pytest.mark.parametrize("kind", ["opened", "clicked"])
@pytest.mark.parametrize(
    ("after", "machine"),
    [
        (PROMPT.total_seconds(), True),
        (PROMPT.total_seconds() + 0.001, False),
        (-1, True),
        (-UNDER_WAY.total_seconds(), True),
        # An earlier attempt's mail had arrived, though its answer had not.
        (-UNDER_WAY.total_seconds() - 1, False),
    ],
)
def test_nobody_reads_a_mail_the_moment_it_is_accepted(kind: Kind, after: float, machine: bool) -> None:
    one = event(kind, after)
    assert done_by_machine(one, action(NOON), clicks((1, after))) is machine
    assert done_by_machine(one, action(None), clicks((1, after))) is False


def test_what_the_request_says_itself_counts() -> None:
    assert done_by_machine(event(machine=True), action(), [])
    assert done_by_machine(event("opened", machine=True), action(), [])


def test_an_open_amid_a_scanner_s_clicks_is_the_scanner_s() -> None:
    burst = clicks((1, 1), (2, 2), (3, 3))
    assert done_by_machine(event("opened"), action(), burst)
    assert not done_by_machine(event("opened", -60), action(), burst)


@given(after=st.integers(0, 10**14))
def test_a_window_is_a_piece_of_the_clock(after: int) -> None:
    at = NOON + timedelta(microseconds=after)
    for kind, seconds in (("opened", 3600), ("clicked", 60)):
        begin = window_of(kind, at)  # type: ignore[arg-type]
        assert timedelta(0) <= at - begin < timedelta(seconds=seconds)
        assert begin.timestamp() % seconds == 0


def test_the_touchpoint_is_the_customer_s_and_its_id_follows_from_what_was_done() -> None:
    touchpoint = touchpoint_of(event(), action(), machine=False)
    assert Touchpoint.model_validate_json(touchpoint.to_json()) == touchpoint
    assert (touchpoint.type, touchpoint.channel, touchpoint.direction) == ("email_clicked", "email", "inbound")
    assert (touchpoint.source, touchpoint.machine, touchpoint.key) == ("mail-tracking", False, "c-1")
    assert touchpoint.occurred_at == NOON
    assert touchpoint.properties == {
        "action_id": ACTION_ID, "play": "win-back", "lifecycle": "service-cycle", "stage": "retention",
        "endpoint": "mail", "link": "book", "link_number": 1, "url": "https://e.org/1",
    }  # fmt: skip
    opened = touchpoint_of(event("opened"), action(), machine=True)
    assert (opened.type, opened.machine) == ("email_opened", True)
    assert not {"link", "link_number", "url"} & set(opened.properties)

    def ident(one: MailEvent, *, machine: bool = False) -> str:
        return touchpoint_of(one, action(), machine=machine).id

    assert ident(event(after=59)) == ident(event())
    assert ident(event("opened", 3599)) == ident(event("opened"))
    several = [event(), event(after=60), event(number=2), event("opened"), event("opened", 3600)]
    assert len({ident(one, machine=machine) for one in several for machine in (False, True)}) == 10
