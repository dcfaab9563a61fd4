"""Kind: an address that is nobody's must not take the place of the customer's in the list of customers."""

from typing import Any

import pytest
from touchline_stage_engine.core.identity.traits import Profile


@pytest.mark.parametrize(
    "stated", ["null@null.com", "undefined@undefined", "{{ user.email }}@x.org", "", "a b@x.org", 7]
)
def test_a_placeholder_replaces_no_address(stated: Any) -> None:
    profile = Profile()
    profile.add("identified", "web", {}, {"email": "Ada@Example.org"})
    profile.add("identified", "web", {"email": stated}, {})
    profile.add("page_viewed", "web", {"traits": {"email": stated}}, {})
    if isinstance(stated, str):
        profile.add("page_viewed", "web", {}, {"email": stated})
    assert profile.email == "ada@example.org"


def test_the_last_address_that_is_one_stays() -> None:
    profile = Profile()
    profile.add("identified", "web", {"email": "old@example.org"}, {})
    profile.add("identified", "web", {"email": "Ada <new@example.org>"}, {})
    assert profile.email == "new@example.org"
