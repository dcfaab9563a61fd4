"""Kind: a signature over another form of the body than the one that is checked: before or after compression."""

import base64
import gzip
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.unit.ingest.entrypoints.http.test_other_endpoints import SECRET as STANDARD_SECRET

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
SOURCES = f"""
  - {{name: mailer, kind: sendgrid, secret: {{value: "{PUBLIC}"}}}}
  - {{name: pay, kind: stripe, secret: {{value: whsec_test}}}}
  - {{name: crm, kind: hubspot, secret: {{value: app-secret}}}}
"""


def mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def by_standard(body: bytes, stamp: str) -> dict[str, str]:
    signature = base64.b64encode(mac(STANDARD_SECRET, f"m1.{stamp}.".encode(), body)).decode()
    return {"webhook-id": "m1", "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature}"}


def by_stripe(body: bytes, stamp: str) -> dict[str, str]:
    return {"stripe-signature": f"t={stamp},v1={mac(b'whsec_test', stamp.encode(), b'.', body).hex()}"}


def by_hubspot(body: bytes, stamp: str) -> dict[str, str]:
    signature = mac(b"app-secret", b"POSThttp://127.0.0.1:8080/v1/webhooks/crm", body, stamp.encode(), b"000")
    return {
        "x-hubspot-request-timestamp": f"{stamp}000",
        "x-hubspot-signature-v3": base64.b64encode(signature).decode(),
    }


def by_sendgrid(body: bytes, stamp: str) -> dict[str, str]:
    signature = KEY.sign(stamp.encode() + body, ec.ECDSA(SHA256()))
    return {
        "x-twilio-email-event-webhook-timestamp": stamp,
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
    }


SIGNERS: dict[str, Callable[[bytes, str], dict[str, str]]] = {
    "hooks": by_standard,
    "pay": by_stripe,
    "crm": by_hubspot,
    "mailer": by_sendgrid,
}
BODY = orjson.dumps([{"event": "open", "email": "ada@example.org", "timestamp": 1_772_366_400, "sg_event_id": "e1"}])


SENT = gzip.compress(BODY, mtime=0)
SIGNED = {
    "what is compressed": (BODY, 200),
    "what is sent": (SENT, 200),
    "another compression of it": (gzip.compress(BODY, 1, mtime=1), 401),
    "compressed twice": (gzip.compress(SENT, mtime=0), 401),
    "nothing": (b"", 401),
}


async def posted(ingest: Any, name: str, signed: bytes, sent: bytes, **headers: str) -> tuple[int, int]:
    """The status, and how many touchpoints and dead letters came of it."""
    ingest.sources_file.write_text(ingest.sources_file.read_text() + SOURCES)
    assert ingest.watch.check()
    headers |= SIGNERS[name](signed, str(int(time.time())))
    answer = await ingest.client.post(f"/v1/webhooks/{name}", content=sent, headers=headers)
    return answer.status_code, len(ingest.touchpoints()) + len(ingest.publisher.published["dead-letters"])


@pytest.mark.parametrize("name", SIGNERS)
@pytest.mark.parametrize("over", SIGNED)
async def test_a_compressed_webhook_may_be_signed_before_or_after_compression(
    ingest: Any, name: str, over: str
) -> None:
    signed, status = SIGNED[over]
    found = await posted(ingest, name, signed, SENT, **{"content-encoding": "gzip"})
    assert found == (status, 1 if status == 200 else 0)


@pytest.mark.parametrize("name", SIGNERS)
@pytest.mark.parametrize(("signed", "sent"), [(BODY, SENT), (SENT, BODY)], ids=["compressed", "plain"])
async def test_without_the_header_only_what_was_sent_is_signed(
    ingest: Any, name: str, signed: bytes, sent: bytes
) -> None:
    assert await posted(ingest, name, signed, sent) == (401, 0)
