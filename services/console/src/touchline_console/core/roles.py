"""Who may do what in the console. A role includes the ones before it."""

VIEWER, EDITOR, OPERATOR = "viewer", "editor", "operator"
ROLES = (VIEWER, EDITOR, OPERATOR)


def may(role: str, needed: str) -> bool:
    """Whether a role includes another."""
    return ROLES.index(role) >= ROLES.index(needed)
