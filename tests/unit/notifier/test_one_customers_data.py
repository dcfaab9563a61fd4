"""One customer's data is that customer's matter alone: no endpoint, template or header of others suffers for it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.adapters.http.guarded_client import CantWriteError, written_headers
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.delivery.breaker import Breaker
from touchline_notifier.core.delivery.channel import GaveUp, Retry
from touchline_notifier.core.delivery.conclusion import learn
from touchline_notifier.core.delivery.http_status import judge
from touchline_notifier.core.limits.limits import Circumstances
from touchline_notifier.core.plays.rendering import Templates

from tests.support.notifier.builders import NOON, a_decider, a_history, a_play, a_stall, a_touchpoint

METHODS = [name for name in dir(dict) if not name.startswith("_")]
DUNDERS = ["__class__", "__init__", "__len__", "__doc__", "_x"]


def rendered(template: str, **traits: object) -> tuple[str, str | None]:
    """The outcome of an action with a template as its body, and the text or the reason."""
    history = a_history()
    history.profile.take(a_touchpoint("identified", properties=traits))
    play = a_play(action={"channel": "webhook", "endpoint": "crm", "body": template})
    (decided,) = Decider({play.play: play}, Templates()).decide(a_stall(), history, Circumstances(NOON))
    text = decided.rendered.text if decided.rendered else decided.action.reason
    return decided.action.outcome, text


@pytest.mark.parametrize("name", METHODS)
def test_a_trait_of_any_name_is_the_trait(name: str) -> None:
    assert rendered("{{ traits." + name + " }}", **{name: "mine"}) == ("decided", "mine")
    assert rendered("{{ traits['" + name + "'] }}", **{name: "mine"}) == ("decided", "mine")


@pytest.mark.parametrize("name", [*METHODS, *DUNDERS])
@pytest.mark.parametrize("of", ["traits", "last", "fact"])
def test_a_name_that_is_no_trait_is_nothing_never_a_method_of_python(name: str, of: str) -> None:
    fact = a_stall().data
    if of == "fact" and name in fact:
        return
    for spelt in (f"{of}.{name}", f"{of}['{name}']"):
        outcome, why = rendered("{{ " + spelt + " }}")
        assert outcome == "held"
        assert "built-in" not in (why or "")
        assert rendered("{{ " + spelt + " | default('nothing') }}") == ("decided", "nothing")


@pytest.mark.parametrize("name", [name for name in dir(str) if not name.startswith("_")])
def test_a_method_of_a_text_is_never_printed(name: str) -> None:
    outcome, why = rendered("{{ traits.city." + name + " }}", city="Oslo")
    assert outcome == "held"
    assert "function" in (why or "")


FILTERS = [" | upper", " | trim", " | string", " | urlencode", " | e", " | list | join", " | tojson", " ~ '!'", " ~ 1"]


@pytest.mark.parametrize("after", FILTERS)
@pytest.mark.parametrize("method", ["title", "format", "split"])
def test_a_method_is_no_text_to_a_filter_either(method: str, after: str) -> None:
    """Kind: what only the last step of printing looked at."""
    outcome, why = rendered("{{ traits.city." + method + after + " }}", city="Oslo")
    assert outcome == "held"
    assert "0x" not in (why or "")


@pytest.mark.parametrize(
    "template",
    [
        *("{{ traits | map('upper') }}", "{{ self }}", "{{ range(3) }}", "{{ '%s' % traits.city.title }}"),
        *("{{ [traits.city.title] }}", "{{ [traits.city.title] | string }}", "{{ '{}'.format(traits.city.title) }}"),
    ],
)
def test_nothing_is_printed_as_python_writes_it(template: str) -> None:
    outcome, why = rendered(template, city="Oslo")
    assert outcome == "held"
    assert "action.body: " in (why or "")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ traits.city | default('there') }}", "there"),
        ("{{ last.identified.city | default('there') }}", "there"),
        ("{% if traits.city is defined %}Hi{% else %}Bye{% endif %}", "Bye"),
        ("{{ email }}{{ none }}.", "."),
        ("{{ traits.name.title() }}, {{ traits.name | title }}", "Ada, Ada"),
        ("{{ traits | tojson }}", '{"name": "ada"}'),
        ("{{ traits }}, {{ [none, true] }}", '{"name": "ada"}, [null, true]'),
    ],
)
def test_what_is_null_is_not_there_and_never_printed_as_none(template: str, text: str) -> None:
    assert rendered(template, city=None, name="ada") == ("decided", text)


@pytest.mark.parametrize("given", ["Ada Lovelace", "ada@example.org", "1999-02-30", "0049 30 1234567", "x" * 60])
@pytest.mark.parametrize(
    "template",
    [
        *("{{ traits.v | date }}", "{{ traits.v | time }}", "{{ traits.v | datetime }}", "{{ traits.v | number }}"),
        *("{{ traits.v | money('EUR') }}", "{{ 5 | money(traits.v) }}", "{{ traits.v | percent }}"),
        *(
            "{{ 5 | number(traits.v) }}",
            "{{ fact.since | date(traits.v) }}",
            "{{ fact.since | date(locale=traits.v) }}",
        ),
        *("{{ fact.since | date(time_zone=traits.v) }}", "{{ {}[traits.v] }}", "{{ traits[traits.v] }}"),
        *("{{ last.identified.v | date }}", "{{ 1 + traits.v }}", "{{ traits.v | round }}", "{{ {}[traits.v].x }}"),
    ],
)
def test_the_reason_of_a_hold_repeats_no_value_of_the_customer(template: str, given: str) -> None:
    """Kind: personal data in what is published, which outlives an erasure."""
    outcome, why = rendered(template, v=given)
    assert outcome == "held"
    assert "action.body: " in (why or "")
    assert not any(given[:length] in (why or "") for length in range(5, len(given) + 1))


@given(value=st.text(max_size=200))
def test_any_text_makes_a_header_that_http_can_carry_or_is_refused_by_itself(value: str) -> None:
    try:
        ((name, written),) = written_headers({"x-name": value})
    except CantWriteError:
        return
    assert name == b"x-name"
    assert not any(byte < 0x20 and byte != 0x09 for byte in written)
    assert written.decode() == value.strip(" \t")


@pytest.mark.parametrize("value", ["Zoë", "田中", "🎉", "Ünïcödé O'Brien"])
def test_a_name_in_any_script_is_carried_as_utf_8(value: str) -> None:
    assert written_headers({"X-Name": value}) == [(b"X-Name", value.encode())]


@pytest.mark.parametrize("value", ["a\nb", "a\r\nX-Evil: 1", "a\x00b", "a\x1bb", "a\x7fb", "\ud800"])
def test_what_no_header_can_carry_is_refused(value: str) -> None:
    with pytest.raises(CantWriteError):
        written_headers({"X-Name": value})


@pytest.mark.parametrize("status", [400, 409, 411, 412, 413, 414, 415, 417, 422, 431])
def test_a_payload_that_is_refused_never_opens_the_breaker(status: int) -> None:
    breaker = Breaker()
    for n in range(50):
        attempt = judge(status, None, "no such field", NOON)
        breaker = learn(breaker, attempt, NOON + timedelta(minutes=n), delivery=f"d-{n}")
    assert breaker == Breaker()


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_an_answer_that_is_the_endpoints_fault_does(status: int) -> None:
    breaker = Breaker()
    for n in range(5):
        breaker = learn(breaker, judge(status, None, "", NOON), NOON, delivery=f"d-{n}")
    assert breaker.state == "open"


@pytest.mark.parametrize("attempt", [Retry("answered 500", status=500), Retry("no answer within 20 s")])
def test_the_attempts_of_one_delivery_alone_never_open_it(attempt: Retry) -> None:
    breaker = Breaker()
    for n in range(50):
        breaker = learn(breaker, attempt, NOON + timedelta(hours=n), delivery="the-same")
    assert breaker.state == "closed"
    assert breaker.failures == 1


def test_what_never_reached_the_endpoint_says_nothing_about_it() -> None:
    failing = Breaker(failures=3, failing_since=NOON)
    assert learn(failing, GaveUp("the message is 30000 bytes"), NOON) == failing


def test_one_customers_template_fault_holds_that_customer_back_alone() -> None:
    play = a_play(action={"channel": "webhook", "endpoint": "crm", "body": "Dear {{ traits.name }}"})
    known = a_history()
    known.profile.take(a_touchpoint("identified", properties={"name": "Ada"}))
    decider = a_decider(play)
    outcomes = [
        next(iter(decider.decide(a_stall(), history, Circumstances(NOON)))).action.outcome
        for history in (a_history(), known)
    ]
    assert outcomes == ["held", "decided"]
