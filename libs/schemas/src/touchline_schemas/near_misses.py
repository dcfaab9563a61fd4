"""Touchpoint types that look like misspelt standard ones.

The set of types is open, so ``signd_up`` is a type like any other: a source may post it, a rule may wait for it. What
was meant is ``signed_up``, though, so each place that reads a type warns about it.
"""

import difflib
from functools import lru_cache

from touchline_schemas.mail_events import CONSENT_GIVEN, EMAIL_SUPPRESSED
from touchline_schemas.touchpoint_types import STAGE_SET, STANDARD_TYPES

_CUTOFF = 0.8
# Not in the table of standard types, yet types that some part of Touchline gives a meaning.
_KNOWN = frozenset((*STANDARD_TYPES, *CONSENT_GIVEN, EMAIL_SUPPRESSED, STAGE_SET, "identified", "aliased"))


@lru_cache(maxsize=4096)
def near_miss(type_name: str) -> str | None:
    """The standard type that a type was probably meant to be; None when it is one, or looks like none."""
    if type_name in _KNOWN:
        return None
    plain = type_name.strip().lower().replace("-", "_").replace(" ", "_")
    found = difflib.get_close_matches(plain, sorted(_KNOWN), 1, cutoff=_CUTOFF)
    return found[0] if found else None


def is_standard(type_name: str) -> bool:
    """Whether Touchline gives a type a meaning by itself."""
    return type_name in _KNOWN
