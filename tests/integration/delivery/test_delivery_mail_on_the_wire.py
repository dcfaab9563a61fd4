"""The kind: what a mailbox provider sees. Raw bytes as a real SMTP server got them, for generated inputs.

Nothing here reads a header through Python's own parser first: it undoes the very faults that are looked for.
"""

import re
from collections.abc import Iterator
from uuid import uuid4

import idna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from touchline_devstack.receivers import MailCatcher
from touchline_notifier.core.delivery.channel import GaveUp, Retry
from touchline_notifier.core.delivery.endpoints import Smtp

from tests.support.notifier.mails import decoded, field, fields, is_sound, send, sent

GENERATED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def catcher() -> Iterator[MailCatcher]:
    """A mail server with SMTPUTF8."""
    with MailCatcher() as running:
        yield running


@pytest.fixture(scope="module")
def old_catcher() -> Iterator[MailCatcher]:
    """A mail server without SMTPUTF8."""
    with MailCatcher(smtputf8=False) as running:
        yield running


words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=60)
sentences = st.lists(words, max_size=12).map(lambda parts: " ".join(" ".join(parts).split()))
paths = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=10, max_size=700)


@GENERATED
@given(token=paths)
def test_the_way_out_leaves_in_one_ascii_line_whatever_its_length(catcher: MailCatcher, token: str) -> None:
    link = f"https://notify.example.org/v1/unsubscribe/{token}"
    mail = sent(catcher, unsubscribe_url=link, subject="Hello")
    is_sound(mail)
    lines = mail.raw.split(b"\r\n")
    assert f"List-Unsubscribe: <{link}>".encode() in lines
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines


@GENERATED
@given(subject=st.one_of(sentences, st.text("abc =?Q", max_size=500)))
def test_any_subject_arrives_whole_in_lines_of_78(catcher: MailCatcher, subject: str) -> None:
    mail = sent(catcher, subject=subject)
    is_sound(mail)
    head = mail.raw.partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert decoded(field(mail, "Subject")) == " ".join(subject.split())


@GENERATED
@given(name=words.filter(lambda text: "<" not in text and ">" not in text))
def test_any_name_of_a_sender_leaves_the_address_alone(catcher: MailCatcher, name: str) -> None:
    name = " ".join(name.replace('"', "").split())
    mail = sent(catcher, endpoint={"sender": f"{name} <care@bücher.example>", "reply_to": f'"{name}" <re@example.org>'})
    is_sound(mail)
    for key, address in (("From", "care@xn--bcher-kva.example"), ("Reply-To", "re@example.org")):
        value = field(mail, key)
        assert value.endswith(f"<{address}>") if name.strip() else value == address
        phrase = value.removesuffix(f"<{address}>").strip()
        quoted = phrase.startswith('"')
        shown = re.sub(r"\\(.)", r"\1", phrase[1:-1]) if quoted else decoded(phrase)
        assert not name.replace("\\", "") or shown.replace("\\", "") == name.replace("\\", "")


@GENERATED
@given(value=st.one_of(sentences, st.text('{}":,abc1', max_size=900)), name=st.sampled_from(["X-SMTPAPI", "X-Tags"]))
def test_any_custom_header_arrives_whole(catcher: MailCatcher, name: str, value: str) -> None:
    mail = sent(catcher, headers={name: value})
    is_sound(mail)
    if not value.split():
        assert name not in dict(fields(mail))
    elif value.isascii() and "=?" not in value:
        assert field(mail, name) == " ".join(value.split()), "ASCII is for programs, and stays as it is"
    else:
        assert decoded(field(mail, name)) == " ".join(value.split())


@GENERATED
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=400))
def test_any_text_leaves_as_seven_bit(catcher: MailCatcher, text: str) -> None:
    mail = sent(catcher, text=text + "ä" * 2000, html=f"<p>{'x' * 3000}</p>")
    is_sound(mail)
    assert "ä" * 2000 in mail.text.replace("\n", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Feedback-ID", "campaign:customer:type:" + "s" * 200),
        ("List-ID", "<news.mail.example.org>"),
        ("References", " ".join(f"<{uuid4()}@mail.example.org>" for _ in range(12))),
        ("In-Reply-To", f"<{uuid4()}@{'sub.' * 20}example.org>"),
        ("List-Help", "<https://example.org/help?" + "q" * 300 + ">, <mailto:help@example.org>"),
    ],
)
def test_structured_headers_leave_as_they_stand_on_one_line(catcher: MailCatcher, name: str, value: str) -> None:
    mail = sent(catcher, headers={name: value})
    is_sound(mail)
    assert f"{name}: {value}".encode() in mail.raw.split(b"\r\n")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"X-Long": "x" * 1200}, "X-Long: has a word of more than 998"),
        ({"Feedback-ID": "Zoë"}, "Feedback-ID: only ASCII"),
        ({"X Y": "1"}, "no header name"),
        ({"X-Ä": "1"}, "no header name"),
    ],
)
def test_a_header_that_no_mail_may_carry_fails_for_good_and_says_which(
    catcher: MailCatcher, headers: dict[str, str], why: str
) -> None:
    before = len(catcher.mails)
    attempt = send(catcher, headers=headers)
    assert isinstance(attempt, GaveUp)
    assert why in attempt.why
    assert len(catcher.mails) == before


def test_a_plays_headers_replace_the_endpoints_but_never_ours(catcher: MailCatcher) -> None:
    mail = sent(
        catcher,
        endpoint={"headers": {"X-Tag": "endpoint", "Content-Type": "text/evil"}},
        headers={"x-tag": "play", "bcc": "eve@example.org", "List-Unsubscribe": "<https://evil.example>"},
    )
    assert field(mail, "x-tag") == "play"
    assert b"evil" not in mail.raw
    assert b"eve@" not in mail.raw


# One mailbox, two spellings

LABELS = st.sampled_from(["bücher", "straße", "пример", "例え", "faß", "mañana", "ÄÖÜ", "bu\u0308cher"])


@GENERATED
@given(label=LABELS, local=st.sampled_from(["ada", "a.b+c", "o'neill"]))
def test_an_internationalised_domain_goes_as_xn_without_smtputf8(
    old_catcher: MailCatcher, label: str, local: str
) -> None:
    domain = idna.encode(f"{label}.example", uts46=True).decode()
    mail = sent(old_catcher, to=f"{local}@{label}.example", subject="Hello")
    is_sound(mail)
    assert mail.envelope_to == [f"{local}@{domain}"]
    assert field(mail, "To") == f"{local}@{domain}"
    assert "SMTPUTF8" not in mail.options


def test_an_internationalised_local_part_goes_by_smtputf8(catcher: MailCatcher) -> None:
    mail = sent(catcher, to="zoë@bücher.example", subject="Grüße")
    assert mail.envelope_to == ["zoë@xn--bcher-kva.example"]
    assert "SMTPUTF8" in mail.options
    assert field(mail, "To") == "zoë@xn--bcher-kva.example"
    assert field(mail, "Subject").isascii()


@pytest.mark.parametrize("to", ["zoë@example.org", "用户@例え.jp", "ñ@bücher.example"])
def test_without_smtputf8_an_internationalised_local_part_fails_for_good_with_the_reason(
    old_catcher: MailCatcher, to: str
) -> None:
    before = len(old_catcher.mails)
    attempt = send(old_catcher, to=to)
    assert isinstance(attempt, GaveUp)
    assert "SMTPUTF8" in attempt.why
    assert to not in attempt.why, "addresses are not for logs"
    assert len(old_catcher.mails) == before


@pytest.mark.parametrize("to", ["a@b@c.org", "a b@c.org", "a@-x.org", "a@x..org", "<a@b.org>", "a@b.org, c@d.org"])
def test_what_is_no_address_fails_for_good(catcher: MailCatcher, to: str) -> None:
    assert isinstance(send(catcher, to=to), GaveUp)


def test_a_server_without_starttls_is_told_of_with_the_setting_to_change(catcher: MailCatcher) -> None:
    smtp = Smtp(host=catcher.host, port=catcher.port, tls="starttls", timeout_seconds=60)
    attempt = send(catcher, endpoint={"smtp": smtp})
    assert isinstance(attempt, Retry)
    assert "STARTTLS" in attempt.why
    assert "smtp.tls: none" in attempt.why
