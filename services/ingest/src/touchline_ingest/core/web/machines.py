"""Of which touchpoints it is asked who did it: a human, or a machine (:mod:`touchline_runtime.user_agents`)?

The verdict is for what a machine does by itself: opens, clicks and views by nobody known. An opt-out or a complaint
counts whichever program delivered it (a mailbox provider posts a one-click unsubscribe by itself), and what a server
posts of a known customer is the company's own word, whatever its HTTP client is called.
"""

from collections.abc import Mapping
from typing import Any

from touchline_schemas.identity import ANONYMOUS

from touchline_ingest.core.sources.values import as_identifier

_ACTS = frozenset({"email_opened", "email_clicked"})
_ANONYMOUS_ACTS = ("_viewed", "_clicked")


def is_judged(touchpoint_type: str, draft: Mapping[str, Any]) -> bool:
    """Whether the verdict may be given of a touchpoint: an open, a click in a mail, or an anonymous view or click.

    Args:
        draft: the touchpoint's identifiers, among other fields.
    """
    if touchpoint_type in _ACTS:
        return True
    named = (as_identifier(draft.get(name)) for name in ("customer_id", "email", "external_id"))
    anonymous = all(one is None or one.startswith(ANONYMOUS) for one in named)
    return anonymous and touchpoint_type.endswith(_ANONYMOUS_ACTS)
