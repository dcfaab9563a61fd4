"""Entries of an audit log: who changed what, when, and why."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change.

    Attributes:
        name: of the token that was shown, or `local` where no token is configured.
        role: the token's role.
        request_id: of the request, as its sender named it or as it was assigned.
    """

    name: str
    role: str
    request_id: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change.

    Attributes:
        action: what was done, in the past tense: `lifecycle_published`.
        target: what it was done to: `lifecycle/service-cycle`.
        before, after: what changed, as plain JSON values; None: there was nothing, or there is nothing now.
        reason: as the actor gave it.
    """

    actor: Actor
    action: str
    target: str
    before: Any = None
    after: Any = None
    reason: str | None = None


def request_id_of(header: str | None) -> str:
    """The id that a request names in `X-Request-Id`, if it can be one; else a new one."""
    return header if header is not None and _REQUEST_ID.fullmatch(header) else str(uuid4())
