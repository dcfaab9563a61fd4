"""Names and tokens: stable across retries, and not to be forged."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.delivery.message_id import envelope_sender, mail_message_id, webhook_id
from touchline_notifier.core.delivery.unsubscribe import BadTokenError, UnsubscribeTokens, Unsubscription

DELIVERY = UUID("0192f7a0-0000-7000-8000-000000000001")


def test_a_deliverys_names_are_the_same_every_time() -> None:
    assert webhook_id(DELIVERY) == webhook_id(str(DELIVERY)) == "msg_0192f7a0000070008000000000000001"
    assert mail_message_id(DELIVERY, "mail.example.org") == "<0192f7a0000070008000000000000001@mail.example.org>"


def test_the_envelope_sender_names_the_delivery_where_the_endpoint_says_so() -> None:
    address = envelope_sender("bounce+{delivery}@mail.example.org", DELIVERY)
    assert address == "bounce+0192f7a0000070008000000000000001@mail.example.org"
    assert len(address.partition("@")[0]) <= 64  # RFC 5321 §4.5.3.1.1
    assert envelope_sender("bounces@example.org", DELIVERY) == "bounces@example.org"


@given(customer_id=st.text(min_size=1, max_size=256), channel=st.sampled_from(["email", "webhook"]))
def test_a_token_brings_back_who_it_was_made_for(customer_id: str, channel: str) -> None:
    tokens = UnsubscribeTokens("a secret")
    who = Unsubscription(customer_id, channel)
    token = tokens.make(who)
    assert tokens.read(token) == who
    assert all(character.isalnum() or character in "-_." for character in token)


def test_a_changed_or_foreign_token_is_refused() -> None:
    token = UnsubscribeTokens("a secret").make(Unsubscription("c-1", "email"))
    for bad in (token[:-1], token[1:], "", ".", "é", UnsubscribeTokens("b").make(Unsubscription("c-1", "email"))):
        with pytest.raises(BadTokenError):
            UnsubscribeTokens("a secret").read(bad)


def test_after_a_rotation_old_links_still_work() -> None:
    old = UnsubscribeTokens("old").make(Unsubscription(str(uuid4()), "email"))
    rotated = UnsubscribeTokens("new", "old")
    assert rotated.read(old).channel == "email"
    assert UnsubscribeTokens("new").read(rotated.make(Unsubscription("c-1", "email"))).customer_id == "c-1"


def test_without_a_secret_there_are_no_tokens() -> None:
    with pytest.raises(ValueError, match="TOUCHLINE_UNSUBSCRIBE_SECRET"):
        UnsubscribeTokens("")
