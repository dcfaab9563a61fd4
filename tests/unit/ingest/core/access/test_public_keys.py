"""The kind: a key that stands in pages says nothing that somebody gains by making it up, by any door and field."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.access.public_keys import PublicTerms
from touchline_schemas.mail_events import CONSENT_GIVEN
from touchline_schemas.touchpoint_types import OUTBOUND, STANDARD_TYPES

SECRET = "identity-secret"
MORE = """
  - {{name: verified, kind: web, key_sha256: {verified}, identity_secret: {{value: identity-secret}}}}
  - {{name: shown, kind: segment, key_sha256: {shown}, public: true, identity_secret: {{value: identity-secret}}}}
  - {{name: trusting, kind: web, key_sha256: {trusting}, trust_pages: true}}
  - {{name: till, kind: web, key_sha256: {till}, types: [purchased, page_viewed]}}
"""
ANYBODY = {"occurred_at": "2026-03-01T12:00:00Z", "anonymous_id": "a-1", "type": "page_viewed"}


def signed(who: str) -> str:
    return hmac.new(SECRET.encode(), who.encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def post(ingest: Any) -> Callable[..., Any]:
    """Posts one touchpoint by the beacon, and gives the answer."""
    names = ("verified", "shown", "trusting", "till")
    hashes = {name: f'"{hashlib.sha256(name.encode()).hexdigest()}"' for name in names}
    ingest.sources_file.write_text(ingest.sources_file.read_text() + MORE.format(**hashes))
    assert ingest.watch.check()

    async def send(key: str = "key-of-page", **fields: Any) -> Any:
        return await ingest.post(ANYBODY | fields, path=f"/v1/beacon?key={key}", key=None)

    return send


FORBIDDEN: list[dict[str, Any]] = [
    *({"type": name} for name in ("email_complained", "email_bounced", "unsubscribed", "subscribed", "resubscribed")),
    *({"type": name} for name in ("email_suppressed", "subscription_changed", "email_unsubscribed", "email_sent")),
    *({"type": name} for name in ("purchased", "refunded", "renewed", "cancelled", "deal_won", "meeting_held")),
    *({"type": name} for name in sorted(OUTBOUND)),
    {"type": "stage_set", "properties": {"lifecycle": "x", "stage": "y"}},
    {"type": "aliased"},
    {"direction": "outbound"},
    {"backfill": True},
    {"backfill": 1},
    {"email": "victim@example.org"},
    {"email": "victim@example.org", "customer_id": "c-1"},
    {"customer_id": "email:victim@example.org"},
    {"external_id": "crm-5"},
    {"customer_id": "ext:crm:5"},
    {"type": "identified", "customer_id": "c-1", "properties": {"email": "evil@example.org"}},
    {"type": "identified", "properties": {"name": "you won https://evil.example"}},
    {"properties": {"traits": {"email": "evil@example.org"}}},
    {"properties": {"context": {"traits": {"email": "evil@example.org"}}}},
    {"properties": {"consent": {"email": True}}},
]


@pytest.mark.parametrize("fields", FORBIDDEN, ids=str)
async def test_a_public_key_may_not(ingest: Any, post: Any, fields: dict[str, Any]) -> None:
    answer = await post(**fields)
    assert answer.status_code == 422
    assert answer.json()["results"][0]["status"] == "rejected"
    assert ingest.touchpoints() == []
    # The same from a server is right, so that the refusal is of the key and of nothing else.
    if fields.get("type") != "stage_set" and fields.get("backfill") != 1:
        assert (await ingest.post(ANYBODY | fields)).status_code == 202


@pytest.mark.parametrize("type_name", ["email_complained", "unsubscribed", "purchased"])
async def test_the_pixel_is_held_to_the_same(ingest: Any, type_name: str) -> None:
    query = f"key=key-of-page&type={type_name}&email=victim@example.org"
    assert (await ingest.client.get(f"/v1/pixel.gif?{query}")).status_code == 422
    backfill = "key=key-of-page&type=page_viewed&anonymous_id=a&backfill=true"
    assert (await ingest.client.get(f"/v1/pixel.gif?{backfill}")).status_code == 422


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"customer_id": "c-1"},
        {"type": "feature_used", "properties": {"name": "export"}},
        {"type": "form_submitted", "properties": {"form": "contact"}},
        {"type": "email_opened", "customer_id": "c-1"},
        {"type": "identified", "customer_id": "c-1"},
        {"type": "demo_booked"},
        {"machine": True},
    ],
    ids=str,
)
async def test_it_may_report_what_a_visitor_does(post: Any, fields: dict[str, Any]) -> None:
    assert (await post(**fields)).status_code == 202


NAMING: list[dict[str, Any]] = [
    {"customer_id": "c-1"},
    {"customer_id": "c-1", "email": "ada@example.org"},
    {"customer_id": "c-1", "type": "identified", "properties": {"name": "Ada"}},
    {"customer_id": "c-1", "external_id": "crm-5"},
    {"email": "ada@example.org"},
]


@pytest.mark.parametrize("fields", NAMING, ids=str)
async def test_with_an_identity_secret_who_is_named_has_to_be_proven(
    ingest: Any, post: Any, fields: dict[str, Any]
) -> None:
    right = signed(fields.get("customer_id") or fields["email"])
    for wrong in (None, "", "0" * 64, signed("c-2"), right[:-1], "é", 5, [right], hashlib.sha256(b"c-1").hexdigest()):
        answer = await post("verified", **fields, **({} if wrong is None else {"user_hash": wrong}))
        assert answer.status_code == 422, wrong
        assert "user_hash" in answer.json()["results"][0]["error"]
    assert (await post("verified", **fields, user_hash=right.upper())).status_code == 202
    (taken,) = ingest.touchpoints()
    assert right not in str(taken).lower()
    assert "user_hash" not in str(taken)


async def test_even_a_proven_customer_says_no_consent_and_no_payment_of_others(post: Any) -> None:
    for name in ("unsubscribed", "purchased"):
        answer = await post("verified", type=name, customer_id="c-1", user_hash=signed("c-1"))
        assert answer.status_code == 422


async def test_the_operator_may_list_types_and_trust_pages(post: Any) -> None:
    assert (await post("till", type="purchased")).status_code == 202
    assert (await post("till", type="purchased", email="ada@example.org")).status_code == 422
    assert (await post("trusting", type="signed_up", email="ada@example.org")).status_code == 202
    assert (await post("trusting", type="unsubscribed", email="ada@example.org")).status_code == 422


async def test_a_segment_key_in_pages_is_public_where_the_file_says_so(ingest: Any, post: Any) -> None:
    async def identify(context: dict[str, Any]) -> int:
        call = {"writeKey": "shown", "userId": "c-1", "traits": {"name": "Ada"}, "context": context}
        await ingest.post(call, key=None, path="/v1/identify")
        return len(ingest.touchpoints())

    assert await identify({}) == 0
    assert await identify({"user_hash": signed("c-1"), "locale": "de"}) == 1
    assert "user_hash" not in str(ingest.touchpoints())


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("kind: web, public: false", "use kind api on a server"),
        ("kind: api, identity_secret: {value: s}", "set public: true"),
        ("kind: web, identity_secret: {value: ''}", "is empty"),
        ("kind: web, identity_secret: {value: ' '}", "is empty"),
        ("kind: web, identity_secret: []", "is empty"),
        ("kind: web, identity_secret: {env: NOT_SET_ANYWHERE}", "is not set"),
        ("kind: web, trust_pages: true, identity_secret: {value: s}", "keep one of the two"),
    ],
)
def test_settings_that_could_open_more_than_meant_are_refused(ingest: Any, entry: str, says: str) -> None:
    from touchline_ingest.bootstrap import registry
    from touchline_ingest.core.access.sources_file import SourcesFileError, read_sources
    from touchline_runtime.config.secrets import SecretReader

    text = f"sources:\n  - {{name: site, key_sha256: '{'a' * 64}', {entry}}}\n"
    with pytest.raises(SourcesFileError, match=says):
        read_sources(text, registry=registry(), read_secret=SecretReader({}, lambda path: path))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["traits", "consent", "context", "email", "x"]), inner, max_size=3), max_leaves=8,
)  # fmt: skip
FIELDS = ("type", "customer_id", "email", "external_id", "direction", "backfill", "properties", "anonymous_id")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), JSON, st.booleans())
def test_nothing_that_names_a_person_passes_unproven_whatever_it_looks_like(
    item: dict[str, Any], user_hash: Any, verifying: bool
) -> None:
    refusal = PublicTerms((SECRET,) if verifying else ()).refusal(item, user_hash)
    email = item.get("email")
    if (isinstance(email, str) and email.strip()) or item.get("external_id") is not None:
        assert refusal is not None
    if item.get("backfill") not in (None, False) or str(item.get("type")) in CONSENT_GIVEN:
        assert refusal is not None


def test_every_standard_type_of_sales_commerce_and_company_is_for_servers() -> None:
    for name, meaning in STANDARD_TYPES.items():
        if meaning.channel in ("sales", "commerce", "company") and name != "demo_booked":
            assert PublicTerms().refusal({"type": name}, None), name
