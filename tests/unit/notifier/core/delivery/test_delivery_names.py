"""Names and tokens: stable across retries, and not to be forged."""

import base64
import hashlib
import re
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.delivery.message_ids import envelope_sender, mail_message_id, webhook_id
from touchline_notifier.core.unsubscribe.public_url import LONGEST, BadPublicUrlError, parse_public_url
from touchline_notifier.core.unsubscribe.sealing import BadTokenError
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens, key_of

DELIVERY = UUID("0192f7a0-0000-7000-8000-000000000001")


def test_a_deliverys_names_are_the_same_every_time() -> None:
    assert webhook_id(DELIVERY) == webhook_id(str(DELIVERY)) == "msg_0192f7a0000070008000000000000001"
    assert mail_message_id(DELIVERY, "mail.example.org") == "<0192f7a0000070008000000000000001@mail.example.org>"


def test_the_envelope_sender_names_the_delivery_where_the_endpoint_says_so() -> None:
    address = envelope_sender("bounce+{delivery}@mail.example.org", DELIVERY)
    assert address == "bounce+0192f7a0000070008000000000000001@mail.example.org"
    assert len(address.partition("@")[0]) <= 64  # RFC 5321 §4.5.3.1.1
    assert envelope_sender("bounces@example.org", DELIVERY) == "bounces@example.org"


ids = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=256)
channels = st.from_regex(r"[a-z][a-z0-9_-]{0,63}", fullmatch=True)
KEY = key_of("a secret")


@given(customer_id=ids, channel=channels)
def test_a_token_brings_back_who_it_was_made_for_and_stays_short(customer_id: str, channel: str) -> None:
    token = UnsubscribeTokens(KEY).make(customer_id, channel)
    found = UnsubscribeTokens(KEY).read(token)
    assert found.channel == channel
    if found.customer_id is None:
        assert found.digest == hashlib.sha256(customer_id.encode()).digest()
    else:
        assert found.customer_id == customer_id
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert len(token) < 998 - LONGEST - len("List-Unsubscribe: </v1/unsubscribe/>")
    if len(customer_id.encode()) > 3:
        bare = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        assert customer_id.encode() not in bare, "the token is opaque"


@given(cut=st.integers(0, 30), bit=st.integers(0, 5))
def test_a_changed_or_foreign_token_is_refused(cut: int, bit: int) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = UnsubscribeTokens(KEY).make("c-1", "email")
    changed = letters[letters.index(token[cut]) ^ (1 << bit)]
    foreign = UnsubscribeTokens(key_of("b")).make("c-1", "email")
    for bad in (token[:cut], token[:cut] + changed + token[cut + 1 :], token[1:], "", ".", "é", "A" * 5000, foreign):
        with pytest.raises(BadTokenError):
            UnsubscribeTokens(KEY).read(bad)


@pytest.mark.parametrize("end", [".", ">", ")", "=", ",", " ", '"'])
def test_what_mail_programs_leave_at_a_links_end_is_no_part_of_the_token(end: str) -> None:
    tokens = UnsubscribeTokens(KEY)
    assert tokens.read(tokens.make("c-1", "email") + end).customer_id == "c-1"


def test_under_a_new_key_old_links_still_work() -> None:
    old = UnsubscribeTokens(key_of("old")).make(str(uuid4()), "email")
    rotated = UnsubscribeTokens(key_of("new"), [key_of("old")])
    assert rotated.read(old).channel == "email"
    assert UnsubscribeTokens(key_of("new")).read(rotated.make("c-1", "email")).customer_id == "c-1"


@pytest.mark.parametrize(
    ("given_url", "root"),
    [
        ("https://notify.example.org/", "https://notify.example.org"),
        (" https://Notify.Example.org:8443/a b/ ", "https://notify.example.org:8443/a%20b"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://127.0.0.1:8082", "http://127.0.0.1:8082"),
        ("http://localhost:8082/", "http://localhost:8082"),
        ("http://[::1]:8082", "http://[::1]:8082"),
    ],
)
def test_a_public_address_is_https_or_this_machine(given_url: str, root: str) -> None:
    assert parse_public_url(given_url) == root
    assert root.isascii()


@pytest.mark.parametrize(
    "given_url",
    [
        *("http://notify.example.org", "http://10.0.0.7:8082", "http://192.168.1.4", "http://0.0.0.0:8082"),
        *("ftp://notify.example.org", "notify.example.org", "https://", "https://user@notify.example.org"),
        *("https://notify.example.org?a=1", "https://notify.example.org#x", "https://x:99999", "https://a..b"),
        "https://notify.example.org/" + "x" * 400,
    ],
)
def test_any_other_public_address_is_refused(given_url: str) -> None:
    with pytest.raises(BadPublicUrlError):
        parse_public_url(given_url)
