"""Names of people in tokens, logs and audit logs. Pure."""

MOST_NAME = 200


def is_name(text: str) -> bool:
    """Whether a text can be a person's name: printable, not blank, and not too long."""
    return bool(text.strip()) and len(text) <= MOST_NAME and text.isprintable()
