"""What an identity provider says of a person, in Touchline's words: a name and a role. Pure.

Roles come from groups, by ``TOUCHLINE_OIDC_ROLES``::

    viewer=marketing; editor=growth; editor=crm; operator=cn=platform,ou=groups,dc=example

Each part is a role, ``=``, and the whole name of one group; ``viewer=*`` is everybody who can sign in. A person
in groups of several roles has the highest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from touchline_runtime.console_tokens.names import is_name

from touchline_console.core.roles import ROLES

EVERYBODY = "*"
_EMAIL = "email"


@dataclass(frozen=True)
class RoleRule:
    """Members of a group have a role."""

    role: str
    group: str


@dataclass(frozen=True)
class ClaimRules:
    """Where names and groups are, and what the groups may do.

    Attributes:
        name_claim: the claim with a person's name.
        group_claims: the claims with groups.
    """

    roles: Sequence[RoleRule]
    name_claim: str
    group_claims: Sequence[str]


def parse_roles(text: str) -> tuple[RoleRule, ...]:
    """The rules of ``TOUCHLINE_OIDC_ROLES``.

    Raises:
        ValueError: a part is not ``role=group``.
    """
    rules = []
    for part in filter(None, map(str.strip, text.split(";"))):
        role, separator, group = part.partition("=")
        role, group = role.strip().lower(), group.strip()
        if role not in ROLES or not separator or not group:
            raise ValueError(f"{part!r} is not role=group: write {', '.join(ROLES)}, then = and the name of one group")
        rules.append(RoleRule(role, group))
    return tuple(rules)


def role_of(claims: Mapping[str, Any], rules: ClaimRules) -> str | None:
    """The highest role that a person's groups give; None when they give none."""
    groups = {group for claim in rules.group_claims for group in _groups(claims, claim)}
    given = {rule.role for rule in rules.roles if rule.group == EVERYBODY or rule.group in groups}
    return max(given, key=ROLES.index, default=None)


def name_of(claims: Mapping[str, Any], rules: ClaimRules) -> str | None:
    """The name for logs: the name claim, or the subject where that is missing, not usable or not verified.

    None: not even the subject is usable.
    """
    for claim in (rules.name_claim, "sub"):
        value = _found(claims, claim)
        if isinstance(value, str) and is_name(value.strip()) and _is_verified(claims, claim):
            return value.strip()
    return None


def lacks_groups(claims: Mapping[str, Any], rules: ClaimRules) -> bool:
    """Whether a claim with groups is missing, so that it is worth asking elsewhere."""
    return any(_found(claims, claim) is None for claim in rules.group_claims)


def _groups(claims: Mapping[str, Any], claim: str) -> Iterator[str]:
    value = _found(claims, claim)
    if not _is_verified(claims, claim):
        return
    for group in value if isinstance(value, list) else [value]:
        if isinstance(group, str) and group and group != EVERYBODY:
            yield group


def _is_verified(claims: Mapping[str, Any], claim: str) -> bool:
    """An address that somebody typed says nothing about who they are."""
    return claim != _EMAIL or claims.get("email_verified", True) in (True, "true")


def _found(claims: Mapping[str, Any], claim: str) -> Any:
    """A claim by its name, or by a path such as ``realm_access.roles``."""
    if claim in claims:
        return claims[claim]
    value: Any = claims
    for step in claim.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value
