"""Addresses as mail servers accept them, and the spellings of one mailbox."""

import pytest
from touchline_notifier.core.profiles.mailbox import NotAnAddressError, parse_mailbox, same_mailbox


@pytest.mark.parametrize(
    ("address", "written", "smtputf8"),
    [
        (" ada@example.org ", "ada@example.org", False),
        ("ada@b\u00fccher.example", "ada@xn--bcher-kva.example", False),
        ("ada@EXAMPLE.org", "ada@example.org", False),
        ("zo\u00eb@example.org", "zo\u00eb@example.org", True),
        ("zoe\u0308@example.org", "zo\u00eb@example.org", True),
        ('"a b"@example.org', '"a b"@example.org', False),
        ("ada@[192.0.2.1]", "ada@[192.0.2.1]", False),
        ("ada@localhost", "ada@localhost", False),
        ("ada@mail.corp.local", "ada@mail.corp.local", False),
        ("a+b=c@example.org", "a+b=c@example.org", False),
    ],
)
def test_an_address_is_parsed_and_its_domain_is_ascii(address: str, written: str, smtputf8: bool) -> None:
    mailbox = parse_mailbox(address)
    assert (str(mailbox), mailbox.needs_smtputf8) == (written, smtputf8)


@pytest.mark.parametrize(
    "address",
    ["", "@", "ada", "ada@", "@example.org", "a b@example.org", "ada@exa mple.org", "ada@-x.example",
     "a\u200bda@example.org",
          "ada\r\nBcc: eve@example.org", "ada@example.org\r\nBcc: eve@example.org", "Ada <ada@example.org>",
     "a..b@example.org",
     "a" * 65 + "@example.org", "\u00eb" * 33 + "@example.org", "ada@" + "a" * 64 + ".example",
     "ada@" + "a." * 130 + "org"],
)  # fmt: skip
def test_what_is_no_address_is_an_error_that_does_not_repeat_it(address: str) -> None:
    with pytest.raises(NotAnAddressError) as caught:
        parse_mailbox(address)
    for part in address.strip().split("@"):
        assert len(part) < 3 or part not in str(caught.value)


@pytest.mark.parametrize("other", ["Ada@B\u00dcCHER.example", "ada@xn--bcher-kva.example", " ada@b\u00fccher.example."])
def test_spellings_of_one_mailbox_are_one(other: str) -> None:
    assert same_mailbox(other) == same_mailbox("ada@b\u00fccher.example")


def test_what_is_no_address_is_kept_in_lower_case() -> None:
    assert same_mailbox(" Not An Address ") == "not an address"
