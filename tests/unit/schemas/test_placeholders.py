"""Kind: an identifier that says that there is none (a printed absence, zeros, an unfilled template) is no key."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from touchline_schemas import placeholders
from touchline_schemas.identity import keys_of
from touchline_schemas.placeholders import WORDS, is_placeholder, is_placeholder_email
from touchline_schemas.touchpoint import PostedTouchpoint

PLACEHOLDERS = [
    "undefined", "null", "[object Object]", "None", "NaN", "0", "00000000-0000-0000-0000-000000000000", "000000", "0.0",
    "NULL", "nil", "<nil>", "(null)", "N/A", "-", "--", "...", "true", "False", "unknown", "anonymous", "(not set)",
    "{{ user.id }}", "{{customer_id}}", "${userId}", "{% user_id %}", "<%= user.id %>", "%%EMAILADDR%%", "*|UNIQID|*",
    "{user_id}", "#{id}", "[[id]]", ' "undefined" ', "'null'", "{}", "[]", "0x0", "-1",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "[object HTMLInputElement]", "[object Map]", "[object  Object]",
    "[OBJECT DATE]",
    "undefined-undefined", "null,null", "None None", "undefined:null", "undefinedundefined", "NaN_0",
    "\u200bundefined", "null\ufeff", "\u3000nil", "%USER_ID%", "$user_id", "$userId", ":id", ":user_id", "<user_id>",
    "<customerId>", "\\N", "%5Bobject%20Object%5D", "%7B%7Bid%7D%7D", "%20", "undefined@undefined.com",
    "null@null", "n.a.", "Not Provided", "[object Object],[object Object]", "user_undefined", "Customer null",
    "userId:[object Object]", "id=NaN", "anon-undefined", "(anonymous)", "Anonymous User", "guest_user", "nobody",
    "lmy47d", "Optional.empty", "Optional(nil)", "<no value>", "%!s(<nil>)", "%s", "function () { [native code] }",
    "[Function: id]", "Symbol()", "null.", "NULL;", "null,", "_undefined_", "__undefined__", "[USER_ID]", "__USER_ID__",
    "@@userId", "[EMAIL]", "#REF!", "#VALUE!", "#DIV/0!", "no-id", "not logged in", "NOT_LOGGED_IN", "logged-out",
    "unknown-user", "[ ]", "ｎｕｌｌ", "０００", "void 0", "n\\a", "no-email@no-email.com", "[undefined].",
]  # fmt: skip
IDENTIFIERS = [
    "c-17", "1", "10", "100", "u-0", "0a1b", "00000000-0000-0000-0000-000000000001", "nullson", "Nona", "undefined-7",
    "object-4", "{1}x", "ada", "a{b}", "-12", "0x1f", "guest-17", "00-9", "anonymous-3f2a", "日本", "ñ",
    "nonesuch", "nullnonsense", "nil-7", "100%", "50%25", "$RCAnonymousID:3f2a", ":david", "$ada", "<ada>", "@ada",
    "ada@null",    "null@example.org", "%41da", "[object", "objects", "nan-nan-nancy", "undefined.ada",
    "user-0", "customer_00", "john.null", "user-nullson", "users_null", "functional-4", "function-7", "nobody-7", "s",
    "d", "n", "ｃ－１７", "[ada]", "no-7", "logged-out-7", "id-7",
]  # fmt: skip


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_a_placeholder_is_no_key_under_any_field(value: str) -> None:
    assert is_placeholder(value)
    names = {"customer_id": value, "anonymous_id": value, "email": None, "external_id": value}
    assert keys_of(**names, source="crm") == []
    for prefixed in ("anon:" + value, "ext:crm:" + value):
        assert keys_of(customer_id=prefixed, anonymous_id="a", email=None, external_id=None, source="s") == ["anon:a"]


@pytest.mark.parametrize("value", IDENTIFIERS)
def test_what_merely_looks_like_a_placeholder_is_a_key(value: str) -> None:
    assert not is_placeholder(value)
    assert keys_of(customer_id=value, anonymous_id=None, email=None, external_id=None, source="s") == [value]


@given(word=st.sampled_from(sorted(WORDS)), case=st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
       around=st.sampled_from(["", " ", '"', "'", "\t"]))  # fmt: skip
def test_case_blanks_and_quotes_do_not_make_a_placeholder_an_id(word: str, case, around: str) -> None:  # type: ignore[no-untyped-def]
    assert is_placeholder(around + case(word) + around)


@given(st.from_regex(r"[0\-. ]{1,40}", fullmatch=True))
def test_nothing_but_zeros_is_a_placeholder(value: str) -> None:
    assert is_placeholder(value)


@given(
    st.text("abnuilNUL0123456789_- ", max_size=12)
    | st.sampled_from(PLACEHOLDERS + IDENTIFIERS)
    | st.tuples(
        st.sampled_from(["user", "id", "c"]), st.sampled_from("-_"), st.sampled_from(["null", "NaN", "n1", "7"])
    ).map("".join)
)
def test_the_quick_way_out_for_ordinary_ids_changes_no_verdict(value: str) -> None:
    if placeholders._ORDINARY(value) is not None:
        assert is_placeholder(value) is placeholders._is_printed(value)


@given(st.uuids(version=4))
def test_a_random_id_is_no_placeholder(value: object) -> None:
    assert not is_placeholder(str(value))


def test_an_address_is_a_placeholder_where_both_its_halves_are() -> None:
    assert is_placeholder_email("null@null.com")
    assert is_placeholder_email("undefined@undefined")
    assert is_placeholder_email("{{ user.email }}")
    assert is_placeholder_email("${user}@example.org")
    assert is_placeholder_email("[object Object]@example.org")
    assert is_placeholder_email("\u200bnull@null.com")
    assert not is_placeholder_email("@")
    assert not is_placeholder_email("none@example.org")
    assert not is_placeholder_email("ada@null.example")


def test_the_next_identifier_is_the_key_where_the_first_is_a_placeholder() -> None:
    assert keys_of(customer_id="undefined", anonymous_id="a1", email="Ada@x.org", external_id="0", source="crm") == [
        "anon:a1", "email:ada@x.org",
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["undefined", "0", "{{ id }}"])
def test_a_touchpoint_that_names_placeholders_alone_is_rejected_with_the_value(value: str) -> None:
    with pytest.raises(ValidationError, match="placeholder") as raised:
        PostedTouchpoint(type="page_viewed", customer_id=value, occurred_at=datetime.now(UTC))
    assert repr(value) in str(raised.value)
