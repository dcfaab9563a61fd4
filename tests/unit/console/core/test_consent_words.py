"""The kind: a figure that says something else than what is sent."""

from typing import Any

from touchline_console.core import words


def test_the_consent_figure_names_what_is_sent() -> None:
    messages: list[dict[str, Any]] = [
        {"topic": "email", "channel": "email", "sent": False, "reason": "suppressed: the address is suppressed: x"},
        {"topic": "product-news", "channel": "email", "sent": True, "reason": None},
        {"topic": "product-news", "channel": None, "sent": True, "reason": None},
    ]
    found = words.consent({"email": True}, [{"reason": "email_bounced"}], messages)
    assert found.value == "Product news"
    assert found.hint == "1 suppressed address"
    assert words.consent({"email": True}, [], messages[:1]).value == "None"


def test_without_a_play_that_asks_for_consent_it_names_what_was_said() -> None:
    assert words.consent({"email": True, "sms": False}, []).value == "Email"
    assert words.consent({}, []).value == "Never asked"
