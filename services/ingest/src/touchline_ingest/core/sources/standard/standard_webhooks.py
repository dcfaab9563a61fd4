"""Standard Webhooks 1.0: any tool that signs so (and Svix's older header names).

The signature is over ``{id}.{timestamp}.{body}``: ``v1`` is HMAC-SHA256 under the bytes of ``whsec_…``, ``v1a`` is
ed25519 under ``whpk_…``. A header may list several, while the sender rotates. The body is a touchpoint's fields, an
array of such, or the specification's own payload ``{"type", "timestamp", "data"}``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from touchline_ingest.core.mapping.event_names import EventNames, check_events, shipped_event_names
from touchline_ingest.core.sources.interface import ReadResult, Request, RequestRejection, SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.proofs import (
    any_matches,
    check_secret,
    check_tolerance,
    from_base64,
    hmac_sha256,
    not_genuine,
    tolerance_of,
    wrong_age,
)
from touchline_ingest.core.sources.standard.general_events import draft_of, looks_like_touchpoint, type_of
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_object,
    fitting_id,
    from_rfc3339,
    from_unix,
    parse_json,
    required_time,
    understand,
    unreadable_whole,
    without_none,
)

_SYMMETRIC = "whsec_"
_PUBLIC = "whpk_"
# A sender that rotates secrets lists two or three; more would be an attack on CPU time.
_MAX_SIGNATURES = 16


class StandardWebhooks:
    """Reads requests signed by Standard Webhooks."""

    kind = "standard-webhooks"

    def __init__(self, names: EventNames | None = None) -> None:
        self._names = names or shipped_event_names()

    def check(self, config: SourceConfig) -> Sequence[str]:
        """Every secret must be a ``whsec_`` or ``whpk_`` key."""
        problems = check_secret(config, "the sender's signing secret (whsec_…)")
        for secret in config.secrets:
            if secret.startswith(_PUBLIC):
                if len(from_base64(secret[len(_PUBLIC) :]) or b"") != 32:
                    problems.append("secret: after whpk_ there must be 32 bytes of base64 (an ed25519 public key)")
            elif secret and not from_base64(secret.removeprefix(_SYMMETRIC)):
                problems.append("secret: after whsec_ there must be base64, as the sender shows it")
        return [*problems, *check_tolerance(config), *check_events(config.options.get("events"))]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check the signature and its age, then read the body."""
        message_id = _header(request, "id")
        refusal = _refusal(request, config, message_id, now)
        if refusal:
            return refusal
        try:
            body = parse_json(request.body)
        except UnreadableError as reason:
            return unreadable_whole(request.body, f"body {reason}")
        single = not isinstance(body, list)
        numbered = enumerate([body] if single else body)

        def read_event(event: Any) -> TouchpointDraft:
            index, content = event
            event_id = fitting_id(message_id if single else f"{message_id}:{index}")
            return self._draft(as_object(content), event_id, config.options.get("events"))

        return understand(numbered, read_event, whole=request.body)

    def _draft(self, event: Mapping[str, Any], event_id: str | None, overrides: Any) -> TouchpointDraft:
        events = overrides if isinstance(overrides, Mapping) else None
        name = event.get("type")
        if "data" in event and not looks_like_touchpoint(event):
            if not isinstance(name, str) or not name:
                raise UnreadableError("has no type")
            return draft_of(
                event["data"],
                event_id=event_id,
                event_type=type_of(self._names, name, events, event["data"]),
                occurred_at=required_time(from_rfc3339(event.get("timestamp")), "timestamp"),
            )
        draft = without_none({**event, "id": event.get("id") or event_id})
        if isinstance(name, str) and name:
            draft["type"] = type_of(self._names, name, events, event.get("properties"))
        return draft


def _header(request: Request, name: str) -> str:
    return request.headers.get(f"webhook-{name}") or request.headers.get(f"svix-{name}") or ""


def _refusal(request: Request, config: SourceConfig, message_id: str, now: datetime) -> RequestRejection | None:
    timestamp, signatures = _header(request, "timestamp"), _header(request, "signature")
    if not (message_id and timestamp and signatures):
        return not_genuine("The headers webhook-id, webhook-timestamp and webhook-signature are needed.")
    before = f"{message_id}.{timestamp}.".encode(errors="replace")
    signed = [before + body for body in request.signed_bodies]
    given: dict[str, list[bytes]] = {"v1": [], "v1a": []}
    for signature in signatures.split()[:_MAX_SIGNATURES]:
        version, _, text = signature.partition(",")
        plain = from_base64(text)
        if plain and version in given:
            given[version].append(plain)
    symmetric = [s for s in config.secrets if s and not s.startswith(_PUBLIC)]
    keys = [from_base64(secret.removeprefix(_SYMMETRIC)) for secret in symmetric]
    genuine = any_matches((hmac_sha256(key, one) for key in keys if key for one in signed), given["v1"])
    for secret in config.secrets:
        if secret.startswith(_PUBLIC):
            key = from_base64(secret[len(_PUBLIC) :]) or b""
            genuine |= any(_signed_by(key, given["v1a"], one) for one in signed)
    if not genuine:
        return not_genuine(
            "No signature in webhook-signature matches the body under this source's secret: check that the secret is "
            "the one the sender shows, and that nothing on the way rewrites the body."
        )
    return wrong_age(from_unix(timestamp) if timestamp.isdigit() else None, now, tolerance_of(config))


def _signed_by(public_key: bytes, signatures: Sequence[bytes], signed: bytes) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError:
        return False
    for signature in signatures:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            continue
        return True
    return False
