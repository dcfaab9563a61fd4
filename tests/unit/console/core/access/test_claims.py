"""What an identity provider says of a person becomes a name and a role."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_console.core.access.claims import ClaimRules, RoleRule, name_of, parse_roles, role_of
from touchline_console.core.roles import ROLES

DN = "cn=ops,ou=groups,dc=example,dc=org"


def rules(text: str, *claims: str, name: str = "email") -> ClaimRules:
    return ClaimRules(parse_roles(text), name, claims or ("groups",))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("viewer=a", [("viewer", "a")]),
        (" viewer = a b ; Editor=b;operator=c ;", [("viewer", "a b"), ("editor", "b"), ("operator", "c")]),
        (f"operator={DN}; operator=x=y", [("operator", DN), ("operator", "x=y")]),
        ("viewer=*", [("viewer", "*")]),
        ("", []),
    ],
)
def test_roles_are_read(text: str, read: list[tuple[str, str]]) -> None:
    assert parse_roles(text) == tuple(RoleRule(*one) for one in read)


@pytest.mark.parametrize("text", ["admin=a", "viewer", "viewer=", "=a", "viewer:a", "viewer=a; b", "a=viewer"])
def test_a_wrong_part_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="role=group"):
        parse_roles(text)


@given(st.lists(st.sampled_from(["r", "e", "o", "other"])))
def test_the_highest_role_counts_whatever_the_order(groups: list[str]) -> None:
    expected = next((role for role, group in zip(reversed(ROLES), "oer", strict=True) if group in groups), None)
    assert role_of({"groups": groups}, rules("operator=o; viewer=r; editor=e")) == expected


NOT_GROUPS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(NOT_GROUPS)
def test_what_is_no_group_gives_no_role_and_no_fault(value: Any) -> None:
    secret = "a group that no generated text is"
    for claims in ({"groups": value}, {"realm_access": value}, {"realm_access": {"roles": value}}, {}):
        assert role_of(claims, rules(f"operator={secret}", "groups", "realm_access.roles")) is None
    # Everybody is a rule of the operator's, and no group that somebody may be in.
    assert role_of({"groups": ["*", "operator=*"]}, rules(f"operator={secret}")) is None


@pytest.mark.parametrize(
    ("claims", "text", "names", "role"),
    [
        ({"groups": "a"}, "viewer=a", ["groups"], "viewer"),
        ({"groups": ["A"]}, "viewer=a", ["groups"], None),
        ({"realm_access": {"roles": ["a"]}}, "editor=a", ["realm_access.roles"], "editor"),
        ({"https://example.org/groups": ["a"]}, "editor=a", ["https://example.org/groups"], "editor"),
        ({"email": "ada@example.org", "hd": "example.org"}, "viewer=example.org; operator=ada@example.org",
         ["hd", "email"], "operator"),
        ({"email": "ada@example.org", "email_verified": False}, "operator=ada@example.org", ["email"], None),
        ({}, "viewer=*", ["groups"], "viewer"),
    ],
)  # fmt: skip
def test_groups_are_found(claims: dict[str, Any], text: str, names: list[str], role: str | None) -> None:
    assert role_of(claims, rules(text, *names)) == role


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "ada@example.org", "sub": "1"}, "ada@example.org"),
        ({"email": "ada@example.org", "email_verified": True, "sub": "1"}, "ada@example.org"),
        ({"email": "boss@example.org", "email_verified": False, "sub": "1"}, "1"),
        ({"email": "boss@example.org\u202e", "sub": "1"}, "1"),
        ({"email": "a\nb", "sub": "1"}, "1"),
        ({"email": " ", "sub": "1"}, "1"),
        ({"email": ["boss@example.org"], "sub": "1"}, "1"),
        ({"email": "a" * 201, "sub": "1"}, "1"),
        ({"sub": "\x00"}, None),
        ({}, None),
    ],
)
def test_a_name_is_one_that_somebody_vouches_for(claims: dict[str, Any], name: str | None) -> None:
    assert name_of(claims, rules("viewer=*")) == name
