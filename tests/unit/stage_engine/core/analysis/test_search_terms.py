"""What a customer is found by."""

from hypothesis import given
from hypothesis import strategies as st
from touchline_stage_engine.core.analysis.search_terms import (
    MAX_TERM_LENGTH,
    after_prefix,
    normalise,
    search_words,
    terms_of,
)
from touchline_stage_engine.core.identity.traits import read_all


def test_a_customer_is_found_by_id_alias_address_name_and_external_id() -> None:
    terms = terms_of(["c-17", "anon:Visitor-9", "ext:crm:4711"], "Ada@Example.org", "Ada  Lovelace")
    for searched in ("c-17", "anon:visitor-9", "visitor-9", "ext:crm:4711", "4711", "ada@example.org", "lovelace"):
        assert any(term.startswith(searched) for term in terms), searched


@given(st.text(max_size=300), st.text(max_size=5))
def test_every_word_of_a_name_is_found_by_its_beginning(name: str, other: str) -> None:
    terms = terms_of(["c-1"], None, f"{name} {other}")
    for word in search_words(f"{name} {other}"):
        assert any(term.startswith(word[: MAX_TERM_LENGTH // 2]) for term in terms) or len(terms) == 60


prefixes = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)


@given(prefixes, st.text(st.characters(exclude_categories=["Cs"]), max_size=10), prefixes)
def test_the_span_of_a_prefix_holds_what_begins_with_it_and_nothing_else(prefix: str, rest: str, other: str) -> None:
    assert prefix <= prefix + rest < after_prefix(prefix)
    assert (prefix <= other < after_prefix(prefix)) == other.startswith(prefix)


def test_an_address_is_found_by_either_spelling_of_its_domain() -> None:
    assert search_words("ada@xn--bcher-kva.example") == terms_of(["email:ada@bücher.example"], None, None)[1:]


@given(st.text())
def test_terms_hold_nothing_that_postgresql_refuses(text: str) -> None:
    assert "\x00" not in normalise(text)


def test_the_latest_name_and_traits_stand_and_odd_values_are_left_out() -> None:
    message = read_all(
        [
            ("c", "signed_up", "web", {"name": "Old\x00", "deep": {"a": 1}}, {"email": "A@x"}),
            ("c", "page_viewed", "web", {"name": "a page"}, {}),
            ("c", "identified", "web", {"traits": {"first_name": "New", "last_name": "Name", "plan": "pro"}}, {}),
        ]
    )["c"]
    assert (message.name, message.email) == ("New Name", "a@x")
    assert message.traits == {"name": "Old", "first_name": "New", "last_name": "Name", "plan": "pro"}
