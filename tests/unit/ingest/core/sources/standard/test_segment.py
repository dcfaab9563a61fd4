import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment.analytics.client import Client
from touchline_ingest.core.sources.interface import RequestRejection, Understood
from touchline_ingest.core.sources.standard.segment import MAX_BATCH_BYTES, Segment, write_key_in_body
from touchline_ingest.core.touchpoints.clock_skew import SKEW, corrected
from touchline_notifier.core.profiles.profile import Profile, suppression_of

SOURCE = Segment()
TRACK = {"userId": "u1", "event": "Order Completed", "messageId": "m1", "timestamp": "2026-03-01T11:59:00Z"}


def read(post: Any, configured: Any, now: datetime, body: Any, call: str = "track", **options: Any) -> Any:
    request = post(body, url=f"https://in.example.org/v1/{call}")
    return SOURCE.read(request, configured("segment", **options), now)


def test_a_track_call_becomes_a_touchpoint_of_the_mapped_type(post, configured, now, accepted):
    (touchpoint,) = accepted(read(post, configured, now, TRACK | {"properties": {"total": 12.5}}))
    assert (touchpoint.id, touchpoint.type, touchpoint.channel) == ("m1", "purchased", "commerce")
    assert touchpoint.key == "u1"
    assert touchpoint.occurred_at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    assert touchpoint.properties == {"total": 12.5, "event_name": "Order Completed"}


def test_the_library_of_segment_sends_what_is_read(post, configured, now, accepted):
    client = Client("key", send=False, gzip=False)
    happened = now - timedelta(seconds=20)
    calls = [
        client.track("u1", "Checkout Started", {"total": 3}, timestamp=happened)[1],
        client.identify("u1", {"email": "Ada@Example.org"}, timestamp=happened)[1],
        client.page("u1", "Docs", "Home", {"url": "https://example.org"}, timestamp=happened)[1],
        client.screen("u1", name="Settings", timestamp=happened)[1],
        client.group("u1", "g1", {"plan": "pro"}, timestamp=happened)[1],
        client.alias("old", "u1", timestamp=happened)[1],
    ]
    body = json.loads(json.dumps({"batch": calls, "sentAt": now.isoformat(), "writeKey": "key"}, default=str))
    reading = read(post, configured, now, body, "batch")
    touchpoints = accepted(reading)
    types = ["checkout_started", "identified", "page_viewed", "screen_viewed", "group_joined", "aliased"]
    assert [touchpoint.type for touchpoint in touchpoints] == types
    assert [touchpoint.id for touchpoint in touchpoints] == [call["messageId"] for call in calls]
    assert {touchpoint.occurred_at for touchpoint in touchpoints} == {happened}
    assert touchpoints[1].keys == ["u1", "email:ada@example.org"]
    assert touchpoints[2].properties == {"url": "https://example.org", "name": "Home", "category": "Docs"}
    assert touchpoints[4].properties == {"plan": "pro", "group_id": "g1"}
    assert touchpoints[5].keys == ["u1", "anon:old"]
    assert reading.reply.status == 200
    assert json.loads(reading.reply.body) == {"success": True}


def test_the_write_key_may_be_in_the_body():
    assert write_key_in_body(b'{"writeKey":"abc","batch":[]}') == "abc"
    assert write_key_in_body(b'{"batch":[]}') is None
    assert write_key_in_body(b"\xff") is None


@pytest.mark.parametrize(
    ("previous", "keys"),
    [
        ("device-1", ["u1", "anon:device-1"]),
        ("anon:device-1", ["u1", "anon:device-1"]),
        ("email:Ada@example.org", ["u1", "email:ada@example.org"]),
        ("ext:vendor:deal-9", ["u1", "ext:vendor:deal-9"]),
    ],
)
def test_the_previous_id_of_an_alias_is_anonymous_unless_it_says_what_it_is(
    post, configured, now, accepted, previous, keys
):
    (touchpoint,) = accepted(read(post, configured, now, {"userId": "u1", "previousId": previous}, "alias"))
    assert touchpoint.keys == keys


def test_an_alias_of_an_id_to_itself_links_the_device_alone(post, configured, now, accepted):
    """analytics.js sends it so when an identified visitor is aliased."""
    body = {"userId": "u1", "previousId": "u1", "anonymousId": "a1", "messageId": "m"}
    (touchpoint,) = accepted(read(post, configured, now, body, "alias"))
    assert touchpoint.keys == ["u1", "anon:a1"]


def test_the_previous_id_is_the_calls_and_not_a_property_of_the_senders(post, configured, now, accepted):
    body = {"userId": "u1", "previousId": "u-7", "properties": {"previous_id": "other"}, "messageId": "m"}
    (touchpoint,) = accepted(read(post, configured, now, body, "alias"))
    assert touchpoint.properties["previous_id"] == "u-7"
    assert touchpoint.keys == ["u1", "anon:u-7"]


def test_a_clock_that_is_wrong_by_more_than_five_minutes_is_corrected(post, configured, now, accepted):
    sent = now + timedelta(hours=2)
    body = {
        "sentAt": sent.isoformat(),
        "batch": [TRACK | {"type": "track", "timestamp": (sent - timedelta(seconds=30)).isoformat()}],
    }
    (touchpoint,) = accepted(read(post, configured, now, body, "batch"))
    assert touchpoint.occurred_at == now - timedelta(seconds=30)


def test_a_slow_batch_is_not_taken_for_a_wrong_clock(post, configured, now, accepted):
    sent = now - timedelta(seconds=299)
    body = {"sentAt": sent.isoformat(), "batch": [TRACK | {"type": "track", "timestamp": sent.isoformat()}]}
    (touchpoint,) = accepted(read(post, configured, now, body, "batch"))
    assert touchpoint.occurred_at == sent


def test_the_context_of_the_batch_lies_under_the_context_of_the_event(post, configured, now, accepted):
    body = {
        "context": {"ip": "192.0.2.1", "campaign": {"name": "spring", "source": "mail"}, "library": {"name": "x"}},
        "batch": [TRACK | {"type": "track", "context": {"campaign": {"name": "autumn"}}}],
    }
    (touchpoint,) = accepted(read(post, configured, now, body, "batch"))
    assert touchpoint.properties["context"] == {"ip": "192.0.2.1", "campaign": {"name": "autumn", "source": "mail"}}


def test_a_company_can_map_its_own_event_names(post, configured, now, accepted):
    events = {"Order Completed": "order_paid", "Widget  Twisted": "feature_used"}
    assert accepted(read(post, configured, now, TRACK, events=events))[0].type == "order_paid"
    assert (
        accepted(read(post, configured, now, TRACK | {"event": "widgetTwisted"}, events=events))[0].type
        == "feature_used"
    )
    assert (
        accepted(read(post, configured, now, TRACK | {"event": "Cart Viewed"}, events=events))[0].type == "cart_viewed"
    )


def test_a_broken_event_does_not_hold_up_its_neighbours(post, configured, now):
    good = TRACK | {"type": "track"}
    broken = [{"type": "track", "userId": "u1"}, {"type": "track", "event": "x"}, 7, {"userId": "u1", "event": "x"}]
    reading = read(post, configured, now, {"batch": [good, *broken, good]}, "batch")
    assert isinstance(reading, Understood)
    assert len(reading.touchpoints) == 2
    assert [one.index for one in reading.unreadable] == [1, 2, 3, 4]
    assert json.loads(reading.unreadable[0].body) == broken[0]
    assert "event" in reading.unreadable[0].reason


def test_a_time_without_a_zone_is_refused(post, configured, now):
    reading = read(post, configured, now, TRACK | {"timestamp": "2026-03-01T11:59:00"})
    assert "zone" in reading.unreadable[0].reason


def test_limits_are_those_of_the_protocol(post, configured, now):
    large = TRACK | {"type": "track", "properties": {"text": "x" * 33_000}}
    reading = read(post, configured, now, {"batch": [TRACK | {"type": "track"}, large]}, "batch")
    assert [one.index for one in reading.unreadable] == [1]
    refused = read(post, configured, now, b" " * (MAX_BATCH_BYTES + 1), "batch")
    assert isinstance(refused, RequestRejection)
    assert refused.status == 413


@pytest.mark.parametrize("agent", ["Googlebot/2.1", "python-requests/2.31", "Go-http-client/1.1", "curl/8"])
def test_a_machines_verdict_is_for_anonymous_views_and_not_for_what_is_posted_of_a_known_customer(
    post, configured, now, accepted, agent
):
    context = {"context": {"userAgent": agent}}
    anonymous = {"anonymousId": "a1", "messageId": "m"}
    known = {"userId": "u1", "anonymousId": "a1", "messageId": "m"}
    for call, body, machine in (
        ("page", anonymous, True),
        ("screen", anonymous, True),
        ("track", anonymous | {"event": "Product Viewed"}, True),
        ("track", anonymous | {"event": "Order Completed"}, False),
        ("track", known | {"event": "Order Completed"}, False),
        ("track", known | {"event": "Unsubscribed"}, False),
        ("page", known, False),
        ("identify", known, False),
        ("alias", known | {"previousId": "p"}, False),
    ):
        (touchpoint,) = accepted(read(post, configured, now, body | context, call))
        assert touchpoint.machine is machine, call
    assert not accepted(read(post, configured, now, TRACK))[0].machine


NOBODY = [
    "undefined",
    "null",
    "[object Object]",
    "None",
    "NaN",
    "0",
    0,
    "00000000-0000-0000-0000-000000000000",
    " ",
    {},
]


@pytest.mark.parametrize("nobody", NOBODY)
def test_a_placeholder_is_no_user_id_and_no_alias(post, configured, now, accepted, nobody):
    visitor = {"userId": nobody, "anonymousId": "a1", "event": "x", "messageId": "m"}
    (touchpoint,) = accepted(read(post, configured, now, visitor))
    assert (touchpoint.keys, touchpoint.customer_id) == (["anon:a1"], None)
    traits = {"traits": {"email": "undefined@undefined"}, "messageId": "m"}
    (touchpoint,) = accepted(read(post, configured, now, {"userId": "u1", "anonymousId": nobody} | traits, "identify"))
    assert touchpoint.keys == ["u1"]
    for alias in ({"userId": nobody, "previousId": "p"}, {"userId": "u1", "previousId": nobody}):
        assert len(read(post, configured, now, alias, "alias").unreadable) == 1
    assert len(read(post, configured, now, {"userId": nobody, "event": "x"}).unreadable) == 1


def test_a_key_that_is_null_is_not_there(post, configured, now, accepted):
    nulls = {"originalTimestamp": None, "sentAt": None, "context": None, "properties": None, "traits": None}
    (touchpoint,) = accepted(read(post, configured, now, TRACK | nulls))
    assert touchpoint.occurred_at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    sent = now + timedelta(hours=2)
    happened = (sent - timedelta(seconds=30)).isoformat()
    body = {"sentAt": sent.isoformat(), "batch": [TRACK | {"type": "track", "timestamp": happened, "sentAt": None}]}
    (touchpoint,) = accepted(read(post, configured, now, body, "batch"))
    assert touchpoint.occurred_at == now - timedelta(seconds=30)


@pytest.mark.parametrize("late", [timedelta(days=14), timedelta(minutes=6), timedelta(days=20_000)])
def test_a_time_of_sending_before_the_event_corrects_nothing(post, configured, now, accepted, late):
    stale = {"sentAt": (now - late).isoformat() if late.days < 20_000 else "0001-01-01T00:00:00Z"}
    (touchpoint,) = accepted(read(post, configured, now, TRACK | stale))
    assert touchpoint.occurred_at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)


@given(
    skew=st.timedeltas(timedelta(days=-400), timedelta(days=400)), before=st.timedeltas(timedelta(0), timedelta(days=9))
)
def test_no_correction_leads_into_the_future_of_the_receipt(skew, before):
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    sent = now + skew
    assert corrected(sent - before, sent, now) <= max(now, sent - before if abs(skew) <= SKEW else now)


@pytest.mark.parametrize(
    ("channel", "open_for_mail"),
    [("newsletter", False), ("banner", False), (None, False), ("email", False), ("all", False), ("sms", True)],
)
def test_a_senders_own_channel_beside_an_unsubscribe_does_not_leave_the_address_open(
    post, configured, now, accepted, channel, open_for_mail
):
    body = {"userId": "u1", "event": "Unsubscribed", "properties": {"channel": channel, "list": "weekly"}}
    (touchpoint,) = accepted(read(post, configured, now, body | {"context": {"traits": {"email": "ada@example.org"}}}))
    suppression = suppression_of(touchpoint)
    assert (suppression is None) is open_for_mail
    assert touchpoint.properties["list"] == "weekly"
    if channel in ("newsletter", "banner"):
        assert touchpoint.properties["sender_fields"] == {"channel": channel}


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({}, "unknown"),
        ({"bounce_type": "Hard"}, "hard"),
        ({"bounce": "permanent"}, "hard"),
        ({"bounce": True}, "unknown"),
        ({"type": "soft bounce"}, "soft"),
        ({"severity": "permanent"}, "hard"),
        ({"bounce": "weird"}, "unknown"),
    ],
)
def test_a_bounce_that_a_foreign_sender_does_not_call_hard_is_not(post, configured, now, accepted, properties, kind):
    body = {"userId": "u1", "event": "Email Bounced", "properties": properties}
    (touchpoint,) = accepted(read(post, configured, now, body))
    assert (touchpoint.type, touchpoint.properties["bounce"]) == ("email_bounced", kind)


def test_half_a_surrogate_pair_costs_one_event(post, configured, now):
    body = b'{"batch":[{"type":"track","userId":"u\\ud800"},{"type":"track","userId":"u","event":"x","messageId":"1"}]}'
    reading = read(post, configured, now, body, "batch")
    assert [draft["id"] for draft in reading.touchpoints] == ["1"]


@pytest.mark.parametrize("message_id", ["x" * 129, "with\nbreak"])
def test_an_id_that_does_not_fit_is_replaced_by_one_that_is_always_the_same(
    post, configured, now, accepted, message_id
):
    first, again, other = (
        accepted(read(post, configured, now, TRACK | {"messageId": one}))[0].id
        for one in (message_id, message_id, message_id + "y")
    )
    assert first == again != other


@pytest.mark.parametrize("written", ["traits", "context"])
def test_an_identify_has_its_traits_where_segment_or_where_rudderstack_writes_them(
    post, configured, now, accepted, written
):
    traits = {"email": "ada@example.org", "name": "Ada", "plan": "pro"}
    call: dict[str, Any] = {"userId": "u1", "messageId": "m1", "channel": "web"}
    call |= {"traits": traits} if written == "traits" else {"context": {"traits": traits, "locale": "de"}}
    (touchpoint,) = accepted(read(post, configured, now, call, "identify"))
    profile = Profile()
    profile.take(touchpoint)
    assert profile.traits == traits
    assert profile.email == "ada@example.org"


def test_traits_of_the_call_win_over_those_of_its_context(post, configured, now, accepted):
    call = {"userId": "u1", "traits": {"plan": "pro"}, "context": {"traits": {"plan": "free", "seats": 3}}}
    (touchpoint,) = accepted(read(post, configured, now, call, "identify"))
    assert {name: touchpoint.properties[name] for name in ("plan", "seats")} == {"plan": "pro", "seats": 3}


@pytest.mark.parametrize(
    ("user_id", "key"), [(17, "17"), (17.0, "17"), (17.5, "anon:a"), (1e300, "anon:a"), (0.0, "anon:a")]
)
def test_a_user_id_that_is_a_whole_number_is_an_id(post, configured, now, accepted, user_id, key):
    (touchpoint,) = accepted(read(post, configured, now, TRACK | {"userId": user_id, "anonymousId": "a"}))
    assert touchpoint.key == key
